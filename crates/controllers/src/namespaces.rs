//! What controllers ask about namespaces.

use k8s_openapi::api::core::v1::Namespace;
use skiff_informer::{ObjectKey, Queue};

use crate::informers::Informers;

/// Whether `namespace` exists and is not being deleted.
pub(crate) fn is_active(informers: &Informers, namespace: &str) -> bool {
    informers.namespaces.get(&ObjectKey::cluster(namespace)).is_some_and(|namespace| active(&namespace))
}

fn active(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    namespace.metadata.deletion_timestamp.is_none() && phase != Some("Terminating")
}

/// Adds every active namespace to `queue` (as a cluster-scoped key) when it appears or changes.
pub(crate) fn wake_for_active(informers: &Informers, queue: &Queue<ObjectKey>) {
    let wake = queue.clone();
    informers.namespaces.subscribe(move |change| {
        if change.new.is_some_and(|namespace| active(namespace)) {
            wake.add(change.key.clone());
        }
    });
}
