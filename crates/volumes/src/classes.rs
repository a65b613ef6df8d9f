//! Classes of storage.

use std::cmp::Reverse;

use k8s_openapi::api::storage::v1::StorageClass;

use crate::annotations;

/// The provisioner of classes whose volumes are made by people alone.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// The class of claims that name none: of several the newest.
pub fn default_class<C: AsRef<StorageClass>>(classes: impl IntoIterator<Item = C>) -> Option<C> {
    let defaults = classes.into_iter().filter(|class| is_default(class.as_ref()));
    defaults.min_by_key(|class| {
        let metadata = &class.as_ref().metadata;
        (Reverse(metadata.creation_timestamp.as_ref().map(|time| time.0)), metadata.name.clone())
    })
}

fn is_default(class: &StorageClass) -> bool {
    let notes = class.metadata.annotations.as_ref();
    annotations::DEFAULT_CLASS
        .iter()
        .any(|name| notes.and_then(|notes| notes.get(*name)).is_some_and(|value| value == "true"))
}

/// Whether claims of the class wait until a pod uses them.
pub fn waits_for_consumer(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_default_is_the_default() {
        let class = |name: &str, day: u8, default: &str| -> Arc<StorageClass> {
            let class = json!({"provisioner": "x", "metadata": {
                "name": name, "creationTimestamp": format!("2026-01-{day:02}T00:00:00Z"),
                "annotations": {annotations::DEFAULT_CLASS[0]: default},
            }});
            Arc::new(serde_json::from_value(class).unwrap())
        };
        let check = |classes: &[Arc<StorageClass>], expected: Option<&str>| {
            let found = default_class(classes.iter().cloned());
            assert_eq!(found.and_then(|class| class.metadata.name.clone()).as_deref(), expected);
        };
        check(&[class("a", 1, "true"), class("b", 2, "true"), class("c", 3, "false")], Some("b"));
        check(&[class("b", 1, "true"), class("a", 1, "true")], Some("a"));
        check(&[class("a", 1, "false")], None);
    }
}
