//! Small readings of object metadata that many controllers share.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

/// A label or annotation map.
pub(crate) type Strings = BTreeMap<String, String>;

/// Whether an equality selector selects `labels`. An empty selector selects nothing, as controllers need it.
pub(crate) fn selects(selector: &Strings, labels: &Strings) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The owner that controls the object.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// A reference that makes `owner` the controller of another object, which delays its foreground deletion.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The UID of the object, empty when it has none yet.
pub(crate) fn uid(meta: &ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_selector_selects_nothing() {
        let labels = Strings::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
        assert!(selects(&Strings::from([("a".into(), "1".into())]), &labels));
        assert!(!selects(&Strings::from([("a".into(), "2".into())]), &labels));
        assert!(!selects(&Strings::new(), &labels));
    }
}
