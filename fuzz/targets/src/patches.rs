//! A patch of each type, of an object: kind, object, zero byte, patch.

use crate::{halves, kind};
use skiff_machinery::{patch, strict};

pub(crate) fn run(data: &[u8]) {
    let Some((kind, rest)) = kind(data) else { return };
    let Some((object, change)) = halves(rest) else { return };
    let Ok(decoded) = strict::decode(object, &kind.root) else { return };
    let outcomes = [
        patch::json(&decoded.object, change),
        patch::merge(&decoded.object, change),
        patch::strategic(&decoded.object, change, &kind.root),
    ];
    for changed in outcomes.into_iter().flatten() {
        drop(strict::prune(changed.into_value(), &kind.root));
    }
}
