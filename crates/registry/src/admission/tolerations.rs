//! DefaultTolerationSeconds: how long a pod stays on a node that is not ready or not reachable. Also on update, so that
//! a client which writes the pod as it first made it does not take them away.

use serde_json::{Value, json};

use super::review::Review;

const SECONDS: i64 = 300;

pub(super) fn admit(review: &mut Review<'_>) {
    let Some(pod) = review.written_pod() else { return };
    let mut tolerations =
        pod.get(&["spec", "tolerations"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let given = tolerations.len();
    for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        if !tolerations[..given].iter().any(|toleration| tolerates(toleration, taint)) {
            tolerations.push(json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS,
            }));
        }
    }
    if tolerations.len() > given {
        pod.set(&["spec", "tolerations"], tolerations);
    }
}

fn tolerates(toleration: &Value, taint: &str) -> bool {
    let text = |field: &str| toleration[field].as_str().unwrap_or_default();
    matches!(text("effect"), "" | "NoExecute") && (text("key").is_empty() || text("key") == taint)
}
