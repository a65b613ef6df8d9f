//! Objects that are not kept, but made of how the parts of the control plane are.

use skiff_machinery::{Namespace, Object, keys};
use skiff_store::Entry;

use super::call::Call;
use super::codec;
use crate::registry::Registry;

/// All objects of the call's kind, as if they were stored now.
pub(crate) fn entries(registry: &Registry, call: &Call) -> Vec<Entry> {
    let revision = registry.store.revision();
    let made = call.kind.strategy.made(&(registry.parts)()).into_iter();
    let entry = |object: Object| Entry {
        key: keys::object(&call.kind, Namespace::new(object.namespace()), object.name()),
        value: codec::encode(&object).into(),
        created: revision,
        modified: revision,
    };
    made.map(entry).collect()
}
