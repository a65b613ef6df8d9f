//! Objects that are not kept, but made of how the parts of the control plane are.

use skiff_machinery::{Namespace, Object, keys};
use skiff_store::{Entry, Revision};

use super::call::Call;
use super::codec;
use crate::services::Parts;

/// All objects of the call's kind, as if they were stored at `revision`.
pub(crate) fn entries(call: &Call, parts: &Parts, revision: Revision) -> Vec<Entry> {
    let made = call.kind.strategy.made(&parts()).into_iter();
    let entry = |object: Object| Entry {
        key: keys::object(&call.kind, Namespace::new(object.namespace()), object.name()),
        value: codec::encode(&object).into(),
        created: revision,
        modified: revision,
    };
    made.map(entry).collect()
}
