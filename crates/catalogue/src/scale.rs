//! The Scale subresource: `spec.replicas` of a controller as an object of its own.

use serde_json::{Map, Value, json};

use crate::{FieldError, FieldErrors, Object};

/// The metadata that a Scale shares with its object.
const SHARED: [&str; 5] = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];

/// The `autoscaling/v1` Scale of an object whose `spec.selector` is a map of labels.
pub fn of(object: &Object) -> Object {
    let metadata: Map<String, Value> = SHARED
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), object.get(&["metadata", field])?.clone())))
        .collect();
    let labels = object.get(&["spec", "selector"]).and_then(Value::as_object);
    let selector: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let mut scale = Object::default();
    scale.set(&["kind"], "Scale");
    scale.set(&["apiVersion"], "autoscaling/v1");
    scale.set(&["metadata"], metadata);
    scale.set(&["spec"], json!({ "replicas": replicas(object, "spec") }));
    scale.set(&["status"], json!({ "replicas": replicas(object, "status"), "selector": selector.join(",") }));
    scale
}

/// Gives an object the number of replicas that a Scale asks for. The caller compares `resourceVersion`.
pub fn apply(object: &mut Object, scale: &Object) -> Result<(), FieldErrors> {
    let wanted = replicas(scale, "spec");
    if !(0..=i64::from(i32::MAX)).contains(&wanted) {
        let detail = "must be greater than or equal to 0";
        return Err(vec![FieldError::invalid("spec.replicas", wanted, detail)]);
    }
    object.set(&["spec", "replicas"], wanted);
    Ok(())
}

fn replicas(object: &Object, part: &str) -> i64 {
    object.get(&[part, "replicas"]).and_then(Value::as_i64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller() -> Object {
        Object::from_value(json!({
            "metadata": {"name": "kubia", "namespace": "default", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}},
            "spec": {"replicas": 3, "selector": {"app": "kubia", "tier": "web"}},
            "status": {"replicas": 2},
        }))
        .unwrap()
    }

    #[test]
    fn shows_replicas_and_selector() {
        let expected = json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": {"name": "kubia", "namespace": "default", "uid": "u", "resourceVersion": "7"},
            "spec": {"replicas": 3},
            "status": {"replicas": 2, "selector": "app=kubia,tier=web"},
        });
        assert_eq!(of(&controller()).into_value(), expected);
    }

    #[test]
    fn sets_replicas() {
        let mut object = controller();
        let mut scale = of(&object);
        scale.set(&["spec", "replicas"], 5);
        apply(&mut object, &scale).unwrap();
        assert_eq!(object.get(&["spec", "replicas"]), Some(&json!(5)));
        scale.set(&["spec", "replicas"], -1);
        let errors = apply(&mut object, &scale).unwrap_err();
        assert_eq!(
            errors[0].to_string(),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0"
        );
    }
}
