//! Bodies of writes: read, defaulted, checked, printed. What was taken once is taken again.

use crate::{context, kind};
use skiff_kinds::honour;
use skiff_machinery::strict;

pub(crate) fn run(data: &[u8]) {
    let Some((kind, body)) = kind(data) else { return };
    let Ok(decoded) = strict::decode(body, &kind.root) else { return };
    let mut object = decoded.object;
    let (strategy, cx) = (&kind.strategy, context());
    strategy.default(&mut object);
    let old = object.clone();
    strategy.prepare_create(cx, &mut object);
    let errors = strategy.validate(cx, &object);
    strategy.warnings(&object, None);
    honour::warnings(&kind.root, &object);
    kind.print.row(&object, cx.now);
    kind.selectable.iter().for_each(|field| drop(field.value(&object)));
    strategy.validate_update(cx, &object, &old);
    strategy.validate_status(cx, &object, &old);
    if errors.is_empty() {
        let text = serde_json::to_vec(object.as_map()).expect("a JSON tree is written");
        let again = strict::decode(&text, &kind.root).expect("what was accepted can be read again");
        assert!(strategy.validate(cx, &again.object).is_empty(), "what was accepted is accepted again");
    }
}
