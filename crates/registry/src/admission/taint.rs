//! A new node gets no pods before it is ready: it starts with the taint that the node lifecycle controller takes away then.

use serde_json::{Value, json};

use super::review::{Review, Write};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const EFFECT: &str = "NoSchedule";

pub(super) fn admit(review: &mut Review<'_>) {
    let creates = review.is_core("Node") && review.write == Write::Create && review.subresource.is_empty();
    let Some(node) = review.object.as_deref_mut().filter(|_| creates) else { return };
    let mut taints = node.get(&["spec", "taints"]).and_then(Value::as_array).cloned().unwrap_or_default();
    if taints.iter().any(|taint| taint["key"] == NOT_READY && taint["effect"] == EFFECT) {
        return;
    }
    taints.push(json!({"key": NOT_READY, "effect": EFFECT}));
    node.set(&["spec", "taints"], taints);
}
