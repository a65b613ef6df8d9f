//! StorageObjectInUseProtection: volumes, claims and classes of attributes that are used are not removed before they are
//! left. A finalizer keeps each; a controller takes it away.

use super::review::{Review, Write};

/// Group, kind and finalizer.
const PROTECTED: [(&str, &str, &str); 3] = [
    ("", "PersistentVolume", "kubernetes.io/pv-protection"),
    ("", "PersistentVolumeClaim", "kubernetes.io/pvc-protection"),
    ("storage.k8s.io", "VolumeAttributesClass", "kubernetes.io/vac-protection"),
];

pub(super) fn admit(review: &mut Review<'_>) {
    if review.write != Write::Create || !review.subresource.is_empty() {
        return;
    }
    let protected = PROTECTED.iter().find(|(group, kind, _)| review.is_kind(group, kind));
    let (Some((_, _, finalizer)), Some(object)) = (protected, review.object.as_deref_mut()) else { return };
    let mut finalizers: Vec<String> = object.finalizers().into_iter().map(str::to_owned).collect();
    if !finalizers.iter().any(|given| given == finalizer) {
        finalizers.push((*finalizer).to_owned());
        object.set(&["metadata", "finalizers"], finalizers);
    }
}
