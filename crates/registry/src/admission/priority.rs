//! Priority: the number and the policy behind a pod's priority class, which a pod may repeat but not choose; and that at most
//! one class is for pods that name none.

use serde_json::Value;
use skiff_machinery::Object;

use super::review::{Review, Write};
use crate::errors::ApiError;

const GROUP: &str = "scheduling.k8s.io";
const CLASSES: &str = "priorityclasses";

/// The policy of a class that says nothing.
const POLICY: &str = "PreemptLowerPriority";

pub(super) async fn admit(review: &mut Review<'_>) -> Result<(), ApiError> {
    let call = review.call;
    let Some(pod) = review.new_pod() else { return Ok(()) };
    let name = pod.str(&["spec", "priorityClassName"]).to_owned();
    let subject = call.subject(pod.name());
    let class = if name.is_empty() {
        lowest_default(&review.all(GROUP, CLASSES).await?)
    } else {
        let class = review.named(GROUP, CLASSES, &name).await?;
        if class.is_none() {
            let why = format!("no PriorityClass with name {name} was found");
            return Err(ApiError::forbidden(subject, &why));
        }
        class
    };
    let Some(pod) = review.new_pod() else { return Ok(()) };
    apply(pod, class.as_ref()).map_err(|why| ApiError::forbidden(subject, &why))
}

/// Refuses a second class for pods that name none.
pub(super) async fn confirm(review: &Review<'_>) -> Result<(), ApiError> {
    let call = review.call;
    let writes_class = review.is_kind(GROUP, "PriorityClass") && review.write != Write::Delete;
    let Some(class) = review.object.as_deref().filter(|class| writes_class && is_default(class)) else {
        return Ok(());
    };
    let existing = lowest_default(&review.all(GROUP, CLASSES).await?);
    match existing.filter(|existing| review.write == Write::Create || existing.name() != class.name()) {
        None => Ok(()),
        Some(existing) => {
            let name = existing.name();
            let why =
                format!("PriorityClass {name} is already marked as default. Only one default can exist");
            Err(ApiError::forbidden(call.subject(class.name()), &why))
        }
    }
}

fn is_default(class: &Object) -> bool {
    class.get(&["globalDefault"]).and_then(Value::as_bool).unwrap_or_default()
}

fn value(class: &Object) -> i64 {
    class.get(&["value"]).and_then(Value::as_i64).unwrap_or_default()
}

/// The class for pods that name none. Were there several, that of the lowest priority.
fn lowest_default(classes: &[Object]) -> Option<Object> {
    classes.iter().filter(|class| is_default(class)).min_by_key(|class| value(class)).cloned()
}

/// Gives a pod what its class says; or why it is refused.
fn apply(pod: &mut Object, class: Option<&Object>) -> Result<(), String> {
    let priority = class.map_or(0, value);
    let policy = class.map_or(POLICY, |class| match class.str(&["preemptionPolicy"]) {
        "" => POLICY,
        policy => policy,
    });
    let why = "must not be provided in pod spec; priority admission controller computed";
    let refuse = |what: &str, computed: &str| {
        Err(format!("the {what} {why} {computed} from the given PriorityClass name"))
    };
    if let Some(given) = pod.get(&["spec", "priority"]).and_then(Value::as_i64)
        && given != priority
    {
        return refuse(&format!("integer value of priority ({given})"), &priority.to_string());
    }
    let given = pod.str(&["spec", "preemptionPolicy"]);
    if !given.is_empty() && given != policy {
        return refuse(&format!("string value of PreemptionPolicy ({given})"), policy);
    }
    if let Some(class) = class {
        pod.set(&["spec", "priorityClassName"], class.name());
    }
    pod.set(&["spec", "priority"], priority);
    pod.set(&["spec", "preemptionPolicy"], policy);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class(name: &str, value: i64, is_default: bool, policy: &str) -> Object {
        let class = json!({
            "metadata": {"name": name}, "value": value, "globalDefault": is_default, "preemptionPolicy": policy,
        });
        Object::from_value(class).unwrap()
    }

    #[test]
    fn pods_repeat_what_their_class_says_or_are_refused() {
        let high = class("high", 1000, false, "Never");
        let check = |spec: Value, class: Option<&Object>, expected: Result<Value, &str>| {
            let mut pod = Object::from_value(json!({ "spec": spec })).unwrap();
            let outcome = apply(&mut pod, class).map(|()| pod.get(&["spec"]).cloned().unwrap());
            assert_eq!(outcome, expected.map_err(str::to_owned));
        };
        let filled = json!({"priorityClassName": "high", "priority": 1000, "preemptionPolicy": "Never"});
        check(json!({"priorityClassName": "high"}), Some(&high), Ok(filled.clone()));
        check(filled.clone(), Some(&high), Ok(filled));
        check(json!({}), None, Ok(json!({"priority": 0, "preemptionPolicy": POLICY})));
        check(
            json!({"priority": 5}),
            Some(&high),
            Err(
                "the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 1000 from the given PriorityClass name",
            ),
        );
        check(
            json!({"preemptionPolicy": "Never"}),
            None,
            Err(
                "the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission controller computed PreemptLowerPriority from the given PriorityClass name",
            ),
        );
    }

    #[test]
    fn the_lowest_default_is_the_default() {
        let classes = [class("a", 5, false, ""), class("b", 20, true, ""), class("c", 10, true, "")];
        assert_eq!(lowest_default(&classes).unwrap().name(), "c");
        assert_eq!(lowest_default(&classes[..1]), None);
    }
}
