//! Priority: the number behind a pod's priority class.

use super::Review;
use crate::errors::ApiError;

/// The classes that every cluster has.
const BUILT_IN: &[(&str, i32)] =
    &[("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

pub(super) fn admit(review: &mut Review<'_>) -> Result<(), ApiError> {
    let call = review.call;
    let Some(pod) = review.new_pod() else { return Ok(()) };
    let class = pod.str(&["spec", "priorityClassName"]).to_owned();
    let priority = match BUILT_IN.iter().find(|(name, _)| *name == class) {
        Some((_, priority)) => *priority,
        None if class.is_empty() => 0,
        None => {
            let subject = call.subject(pod.name());
            return Err(ApiError::forbidden(
                subject,
                &format!("no PriorityClass with name {class} was found"),
            ));
        }
    };
    pod.set(&["spec", "priority"], priority);
    if pod.str(&["spec", "preemptionPolicy"]).is_empty() {
        pod.set(&["spec", "preemptionPolicy"], "PreemptLowerPriority");
    }
    Ok(())
}
