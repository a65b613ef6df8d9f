//! RuntimeClass: a pod that asks for another kind of container than the ordinary one is not given that one silently.
//! There are no RuntimeClass objects, so that none is ever found.

use super::Review;
use crate::errors::ApiError;

pub(super) fn admit(review: &mut Review<'_>) -> Result<(), ApiError> {
    let call = review.call;
    let Some(pod) = review.new_pod() else { return Ok(()) };
    let refuse =
        |why: &str| Err(ApiError::forbidden(call.subject(pod.name()), &format!("pod rejected: {why}")));
    let class = pod.str(&["spec", "runtimeClassName"]);
    if !class.is_empty() {
        return refuse(&format!("RuntimeClass {class:?} not found"));
    }
    let overhead = pod.get(&["spec", "overhead"]).and_then(serde_json::Value::as_object);
    if overhead.is_some_and(|amounts| !amounts.is_empty()) {
        return refuse("Pod Overhead set without corresponding RuntimeClass defined Overhead");
    }
    Ok(())
}
