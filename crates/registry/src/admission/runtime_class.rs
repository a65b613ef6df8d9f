//! RuntimeClass: a pod that asks for another kind of container than the ordinary one is not given that one silently.
//! There are no RuntimeClass objects, so that none is ever found.

use super::review::Review;
use crate::errors::ApiError;

pub(super) fn admit(review: &mut Review<'_>) -> Result<(), ApiError> {
    let call = review.call;
    let Some(pod) = review.new_pod() else { return Ok(()) };
    let class = pod.str(&["spec", "runtimeClassName"]);
    if class.is_empty() {
        return Ok(());
    }
    let why = format!("pod rejected: RuntimeClass {class:?} not found");
    Err(ApiError::forbidden(call.subject(pod.name()), &why))
}

/// Overhead is the class's to say, which is looked at when the amounts are known to be right.
pub(super) fn confirm(review: &mut Review<'_>) -> Result<(), ApiError> {
    let call = review.call;
    let Some(pod) = review.new_pod() else { return Ok(()) };
    let overhead = pod.get(&["spec", "overhead"]).and_then(serde_json::Value::as_object);
    if overhead.is_none_or(serde_json::Map::is_empty) {
        return Ok(());
    }
    let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
    Err(ApiError::forbidden(call.subject(pod.name()), why))
}
