//! DefaultStorageClass and DefaultIngressClass: claims and Ingresses that name no class get the one that is marked as
//! default, of several the newest.

use skiff_kinds::{networking, storage};
use skiff_machinery::Object;

use super::review::{Review, Write};
use crate::errors::ApiError;
use crate::plugins::Plugin;

/// The annotation by which claims named their class once.
const CLAIM_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// What one of the plugins fills in.
pub(super) struct Filled {
    pub(super) plugin: Plugin,
    field: &'static str,
    /// What else may name the class.
    annotation: &'static str,
    group: &'static str,
    classes: &'static str,
    is_default: fn(&Object) -> bool,
}

const CLAIMS: Filled = Filled {
    plugin: Plugin::DefaultStorageClass,
    field: "storageClassName",
    annotation: CLAIM_CLASS,
    group: "storage.k8s.io",
    classes: "storageclasses",
    is_default: storage::is_default_class,
};

const INGRESSES: Filled = Filled {
    plugin: Plugin::DefaultIngressClass,
    field: "ingressClassName",
    annotation: networking::INGRESS_CLASS,
    group: "networking.k8s.io",
    classes: "ingressclasses",
    is_default: networking::is_default_class,
};

/// What is filled in for such a write, if that is on.
pub(super) fn filled(review: &Review<'_>) -> Option<Filled> {
    if review.write != Write::Create || !review.subresource.is_empty() {
        return None;
    }
    let filled = if review.is_core("PersistentVolumeClaim") {
        CLAIMS
    } else if review.is_kind("networking.k8s.io", "Ingress") {
        INGRESSES
    } else {
        return None;
    };
    Some(filled).filter(|filled| review.registry.plugins.has(filled.plugin))
}

pub(super) async fn admit(review: &mut Review<'_>, filled: Filled) -> Result<(), ApiError> {
    let Filled { field, annotation, group, classes, is_default, .. } = filled;
    let Some(object) = review.object.as_deref() else { return Ok(()) };
    let is_named = object.get(&["spec", field]).is_some_and(|class| !class.is_null());
    if is_named || object.annotations().contains_key(annotation) {
        return Ok(());
    }
    let class = newest(review.all(group, classes).await?.into_iter().filter(is_default));
    if let (Some(class), Some(object)) = (class, review.object.as_deref_mut()) {
        object.set(&["spec", field], class.name());
    }
    Ok(())
}

/// The newest; of those that are as new, the first by name.
fn newest(classes: impl Iterator<Item = Object>) -> Option<Object> {
    let made = |class: &Object| class.str(&["metadata", "creationTimestamp"]).to_owned();
    classes.min_by(|a, b| made(b).cmp(&made(a)).then_with(|| a.name().cmp(b.name())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_default_is_taken() {
        let class = |name: &str, made: &str| {
            Object::from_value(json!({"metadata": {"name": name, "creationTimestamp": made}})).unwrap()
        };
        let classes = [
            class("old", "2024-01-01T00:00:00Z"),
            class("b", "2025-01-01T00:00:00Z"),
            class("a", "2025-01-01T00:00:00Z"),
        ];
        assert_eq!(newest(classes.into_iter()).unwrap().name(), "a");
        assert_eq!(newest([].into_iter()), None);
    }
}
