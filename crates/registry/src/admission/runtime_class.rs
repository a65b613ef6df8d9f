//! RuntimeClass: what a class of containers costs besides them, and on which nodes there are such.

use serde_json::{Map, Value};
use skiff_machinery::Object;

use super::review::Review;
use crate::errors::ApiError;

pub(super) async fn admit(review: &mut Review<'_>) -> Result<(), ApiError> {
    let Some(class) = class(review).await? else { return Ok(()) };
    let call = review.call;
    let Some(pod) = review.new_pod() else { return Ok(()) };
    set_overhead(pod, &class)
        .and_then(|()| set_scheduling(pod, &class))
        .map_err(|why| ApiError::forbidden(call.subject(pod.name()), &why))
}

/// Overhead is the class's to say, which is looked at when the amounts are known to be right.
pub(super) async fn confirm(review: &mut Review<'_>) -> Result<(), ApiError> {
    let class = class(review).await?;
    let call = review.call;
    let Some(pod) = review.new_pod() else { return Ok(()) };
    let fixed = class.as_ref().and_then(overhead);
    let given = pod.get(&["spec", "overhead"]).and_then(Value::as_object);
    let why = match fixed {
        Some(fixed) if given.cloned().unwrap_or_default() != *fixed => MISMATCH,
        None if given.is_some_and(|given| !given.is_empty()) => {
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
        }
        _ => return Ok(()),
    };
    Err(ApiError::forbidden(call.subject(pod.name()), why))
}

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

/// The class that a new pod names; it has to be there.
async fn class(review: &mut Review<'_>) -> Result<Option<Object>, ApiError> {
    let call = review.call;
    let Some(pod) = review.new_pod() else { return Ok(None) };
    let subject = call.subject(pod.name());
    let Some(name) = pod.get(&["spec", "runtimeClassName"]).and_then(Value::as_str) else { return Ok(None) };
    let name = name.to_owned();
    match review.named("node.k8s.io", "runtimeclasses", &name).await? {
        Some(class) => Ok(Some(class)),
        None => Err(ApiError::forbidden(subject, &format!("pod rejected: RuntimeClass {name:?} not found"))),
    }
}

fn overhead(class: &Object) -> Option<&Map<String, Value>> {
    class.get(&["overhead", "podFixed"]).and_then(Value::as_object).filter(|fixed| !fixed.is_empty())
}

fn set_overhead(pod: &mut Object, class: &Object) -> Result<(), String> {
    let Some(fixed) = overhead(class) else { return Ok(()) };
    let given = pod.get(&["spec", "overhead"]).and_then(Value::as_object).filter(|given| !given.is_empty());
    if given.is_some_and(|given| given != fixed) {
        return Err(MISMATCH.to_owned());
    }
    pod.set(&["spec", "overhead"], fixed.clone());
    Ok(())
}

fn set_scheduling(pod: &mut Object, class: &Object) -> Result<(), String> {
    let labels = class.get(&["scheduling", "nodeSelector"]).and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        let path = ["spec", "nodeSelector", key];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(own) = pod.get(&path).filter(|own| *own != value) {
            let (own, value) = (text(own), text(value));
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own}"
            ));
        }
        pod.set(&path, value.clone());
    }
    let more = class.get(&["scheduling", "tolerations"]).and_then(Value::as_array);
    if let Some(more) = more.filter(|more| !more.is_empty()) {
        let own = pod.get(&["spec", "tolerations"]).and_then(Value::as_array).cloned().unwrap_or_default();
        pod.set(&["spec", "tolerations"], merged(own, more));
    }
    Ok(())
}

/// Both lists, without what others of them tolerate as well.
fn merged(mut all: Vec<Value>, more: &[Value]) -> Vec<Value> {
    all.extend_from_slice(more);
    let mut merged: Vec<Value> = Vec::new();
    for (index, one) in all.iter().enumerate() {
        let before = merged.iter().any(|other| includes(other, one));
        let behind = all[index + 1..].iter().any(|other| other != one && includes(other, one));
        if !before && !behind {
            merged.push(one.clone());
        }
    }
    merged
}

/// Whether a toleration tolerates all that another does.
fn includes(wide: &Value, narrow: &Value) -> bool {
    let text = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    let differ = |field: &str| text(wide, field) != text(narrow, field);
    if wide == narrow {
        return true;
    }
    let is_for_all = text(wide, "key").is_empty() && text(wide, "operator") == "Exists";
    if (differ("key") && !is_for_all) || (differ("effect") && !text(wide, "effect").is_empty()) {
        return false;
    }
    let seconds = |one: &Value| one["tolerationSeconds"].as_i64();
    if text(wide, "effect") == "NoExecute"
        && let Some(most) = seconds(wide)
        && seconds(narrow).is_none_or(|wanted| wanted > most)
    {
        return false;
    }
    match text(wide, "operator").as_str() {
        "" | "Equal" => text(narrow, "operator") == "Equal" && !differ("value"),
        operator => operator == "Exists",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        Object::from_value(value).unwrap()
    }

    #[test]
    fn pods_get_what_their_class_costs() {
        let class = object(json!({"overhead": {"podFixed": {"cpu": "100m"}}}));
        let mut pod = object(json!({"spec": {}}));
        set_overhead(&mut pod, &class).unwrap();
        assert_eq!(pod.get(&["spec", "overhead"]), Some(&json!({"cpu": "100m"})));
        set_overhead(&mut pod, &class).unwrap();
        let mut other = object(json!({"spec": {"overhead": {"cpu": "1"}}}));
        assert_eq!(set_overhead(&mut other, &class), Err(MISMATCH.to_owned()));
    }

    #[test]
    fn pods_run_where_their_class_is() {
        let class = object(json!({"scheduling": {
            "nodeSelector": {"kind": "vm"}, "tolerations": [{"key": "vm", "operator": "Exists"}],
        }}));
        let mut pod = object(json!({"spec": {
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"key": "vm", "operator": "Equal", "value": "x", "effect": "NoSchedule"}],
        }}));
        set_scheduling(&mut pod, &class).unwrap();
        assert_eq!(pod.get(&["spec", "nodeSelector"]), Some(&json!({"zone": "a", "kind": "vm"})));
        assert_eq!(pod.get(&["spec", "tolerations"]), Some(&json!([{"key": "vm", "operator": "Exists"}])));
        let mut other = object(json!({"spec": {"nodeSelector": {"kind": "metal"}}}));
        assert_eq!(
            set_scheduling(&mut other, &class),
            Err("conflict: runtimeClass.scheduling.nodeSelector[kind] = vm; pod.spec.nodeSelector[kind] = metal"
                .to_owned())
        );
    }

    #[test]
    fn what_is_tolerated_for_a_while_is_not_tolerated_for_longer() {
        let one = |seconds: Value| json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
        let check =
            |wide: Value, narrow: Value, expected: bool| assert_eq!(includes(&wide, &narrow), expected);
        check(one(json!(60)), one(json!(30)), true);
        check(one(json!(60)), one(json!(90)), false);
        check(one(json!(60)), one(json!(null)), false);
        check(json!({"operator": "Exists"}), one(json!(60)), true);
    }
}
