//! The Scale subresource: `spec.replicas` of a controller as an object of its own.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{Column, FieldError, Object, Row, cells};

/// The metadata that a Scale shares with its object.
const SHARED: [&str; 5] = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];

/// The `autoscaling/v1` Scale of an object.
pub fn of(object: &Object) -> Object {
    let metadata: Map<String, Value> = SHARED
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), object.get(&["metadata", field])?.clone())))
        .collect();
    let mut scale = Object::default();
    scale.set(&["kind"], "Scale");
    scale.set(&["apiVersion"], "autoscaling/v1");
    scale.set(&["metadata"], metadata);
    scale.set(&["spec"], json!({}));
    // As Kubernetes writes it: none is left out.
    if number(object, "spec") != 0 {
        scale.set(&["spec", "replicas"], number(object, "spec"));
    }
    scale.set(&["status"], json!({ "replicas": number(object, "status") }));
    let selector = selector_text(object.get(&["spec", "selector"]));
    if !selector.is_empty() {
        scale.set(&["status", "selector"], selector);
    }
    scale
}

/// The number of replicas that a Scale asks for.
///
/// # Errors
/// When it is none that an object can have.
pub fn replicas(scale: &Object) -> Result<i64, FieldError> {
    const FIELD: &str = "spec.replicas";
    let value = match scale.get(&["spec", "replicas"]) {
        None | Some(Value::Null) => return Ok(0),
        Some(value) => value,
    };
    let invalid = |why: &str| Err(FieldError::invalid(FIELD, value.clone(), why));
    match value.as_i64() {
        None => invalid("must be an integer"),
        Some(negative) if negative < 0 => invalid("must be greater than or equal to 0"),
        Some(huge) if huge > i64::from(i32::MAX) => invalid("must be less than or equal to 2147483647"),
        Some(right) => Ok(right),
    }
}

/// The columns of its Table.
pub fn columns() -> Vec<Column> {
    vec![
        cells::text("Name", "Name of the object."),
        cells::integer("Desired", "Number of replicas that are wanted."),
        cells::integer("Available", "Number of replicas that there are."),
        cells::age_column(),
    ]
}

/// A row of its Table.
pub fn print(scale: &Object, now: Timestamp) -> Row {
    cells::row([
        scale.name().into(),
        number(scale, "spec").into(),
        number(scale, "status").into(),
        cells::age(scale, now),
    ])
}

fn number(object: &Object, part: &str) -> i64 {
    object.get(&[part, "replicas"]).and_then(Value::as_i64).unwrap_or(0)
}

/// A selector as text: a map of labels, or a LabelSelector's `matchLabels`.
fn selector_text(selector: Option<&Value>) -> String {
    let map = selector.map(|selector| selector.get("matchLabels").unwrap_or(selector));
    let pairs = map.and_then(Value::as_object).into_iter().flatten();
    let texts: Vec<String> =
        pairs.filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_replicas_and_selector() {
        let controller = Object::from_value(json!({
            "metadata": {"name": "kubia", "namespace": "default", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}},
            "spec": {"replicas": 3, "selector": {"app": "kubia", "tier": "web"}},
            "status": {"replicas": 2},
        }));
        let scale = of(&controller.unwrap());
        let expected = json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": {"name": "kubia", "namespace": "default", "uid": "u", "resourceVersion": "7"},
            "spec": {"replicas": 3},
            "status": {"replicas": 2, "selector": "app=kubia,tier=web"},
        });
        assert_eq!(scale.clone().into_value(), expected);
        let cells = print(&scale, Timestamp::UNIX_EPOCH).cells;
        assert_eq!(cells[..3], [json!("kubia"), json!(3), json!(2)]);
    }

    #[test]
    fn replicas_are_those_of_an_object() {
        let check = |given: Value, expected: Result<i64, &str>| {
            let scale = Object::from_value(json!({"spec": {"replicas": given}})).unwrap();
            let found = replicas(&scale).map_err(|error| error.to_string());
            assert_eq!(
                found,
                expected.map_err(|why| format!("spec.replicas: Invalid value: {given}: {why}"))
            );
        };
        check(json!(7), Ok(7));
        check(json!(null), Ok(0));
        check(json!(-1), Err("must be greater than or equal to 0"));
        check(json!(99_999_999_999_i64), Err("must be less than or equal to 2147483647"));
        check(json!(1.5), Err("must be an integer"));
    }
}
