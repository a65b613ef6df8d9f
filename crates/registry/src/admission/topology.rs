//! PodTopologyLabels: a pod has the zone and the region of its node as labels.

use serde_json::Value;
use skiff_machinery::{Object, Subresource, keys};

use super::review::{Review, Write};
use crate::errors::ApiError;

const COPIED: &[&str] = &["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

/// A pod that has a node gets them, and so does a Binding, which hands its labels over to the pod.
pub(super) async fn admit(review: &mut Review<'_>) -> Result<(), ApiError> {
    if !review.is_core("Pod") || review.write == Write::Delete {
        return Ok(());
    }
    let node = match (review.subresource, review.object.as_deref()) {
        ("", Some(pod)) => pod.str(&["spec", "nodeName"]),
        (name, Some(binding)) if binds(review.write, name) && binding.str(&["target", "kind"]) == "Node" => {
            binding.str(&["target", "name"])
        }
        _ => "",
    };
    if node.is_empty() {
        return Ok(());
    }
    let found = review.registry.store.get(&keys::core("nodes", "", node)).await?;
    let Some(found) = found else { return Ok(()) };
    let node = review.registry.decoded(review.call, &found)?;
    if let Some(object) = review.object.as_deref_mut() {
        copy(&node, object);
    }
    Ok(())
}

/// Whether a Binding is what is written, and not what becomes of one.
fn binds(write: Write, subresource: &str) -> bool {
    write == Write::Create && subresource == Subresource::Binding.as_str()
}

fn copy(node: &Object, object: &mut Object) {
    for key in COPIED {
        if let Some(label) = node.get(&["metadata", "labels", key]).and_then(Value::as_str) {
            object.set(&["metadata", "labels", key], label);
        }
    }
}
