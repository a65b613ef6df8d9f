//! Server-side apply over an object: kind, object, zero byte, configuration. Applying twice changes nothing more.

use crate::{context, halves, kind};
use skiff_machinery::managed::{self, Writer};
use skiff_machinery::strict;

pub(crate) fn run(data: &[u8]) {
    let Some((kind, rest)) = kind(data) else { return };
    let Some((live, config)) = halves(rest) else { return };
    let (Ok(mut live), Ok(config)) = (strict::decode(live, &kind.root), strict::decode(config, &kind.root))
    else {
        return;
    };
    let writer =
        |manager| Writer { manager, subresource: "", now: context().now, settled: &[], keeps_nulls: false };
    managed::track_update(&mut live.object, None, &kind.root, &writer("first"));
    let apply = |live| managed::apply(Some(live), &config.object, &kind.root, &writer("second"), true);
    if let Ok(once) = apply(&live.object) {
        let twice = apply(&once).expect("what was applied can be applied again");
        assert_eq!(once, twice, "the second time changes nothing");
    }
}
