//! Priority: the number and the policy behind a pod's priority class, which a pod may repeat but not choose.

use serde_json::Value;

use super::review::Review;
use crate::errors::ApiError;

/// The classes that every cluster has.
const BUILT_IN: &[(&str, i32)] =
    &[("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// The policy of every class there is.
const POLICY: &str = "PreemptLowerPriority";

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
    let why = "must not be provided in pod spec; priority admission controller computed";
    let refuse = |what: &str, computed: &str| {
        let text = format!("the {what} {why} {computed} from the given PriorityClass name");
        Err(ApiError::forbidden(call.subject(pod.name()), &text))
    };
    if let Some(given) = pod.get(&["spec", "priority"]).and_then(Value::as_i64)
        && given != i64::from(priority)
    {
        return refuse(&format!("integer value of priority ({given})"), &priority.to_string());
    }
    let policy = pod.str(&["spec", "preemptionPolicy"]);
    if !policy.is_empty() && policy != POLICY {
        return refuse(&format!("string value of PreemptionPolicy ({policy})"), POLICY);
    }
    pod.set(&["spec", "priority"], priority);
    pod.set(&["spec", "preemptionPolicy"], POLICY);
    Ok(())
}
