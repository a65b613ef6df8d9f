//! What of an object a conversion may not change, and what it may: labels and annotations of its metadata.

use serde_json::{Map, Value};
use skiff_machinery::{FieldErrors, Object};

use skiff_registry::{aggregate, check_annotations, check_labels};

/// Reads what was answered as an object.
pub(super) fn object(answer: Value) -> Result<Object, String> {
    if answer["kind"].as_str().is_none_or(str::is_empty) {
        return Err(format!("Object 'Kind' is missing in '{answer}'"));
    }
    Object::from_value(answer).map_err(|error| error.to_string())
}

/// Refuses another object.
pub(super) fn check(asked: &Object, answered: &Object) -> Result<(), String> {
    let same = [
        ("name", asked.name(), answered.name()),
        ("namespace", asked.namespace(), answered.namespace()),
        ("UID", asked.uid(), answered.uid()),
    ];
    match same.iter().find(|(_, before, after)| before != after) {
        Some((what, before, after)) => Err(format!("must have the same {what}: {before} != {after}")),
        None => Ok(()),
    }
}

/// The answered object with the metadata of the one that was asked about, but for labels and annotations.
pub(super) fn restore(asked: &Object, mut answered: Object) -> Result<Object, String> {
    let given = match answered.remove(&["metadata"]) {
        None => return Err("missing metadata in converted object".to_owned()),
        Some(Value::Object(given)) => given,
        Some(other) => {
            return Err(format!("invalid metadata of type {} in converted object", go_type(&other)));
        }
    };
    let mut metadata = asked.get(&["metadata"]).and_then(Value::as_object).cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match given.get(field) {
            None | Some(Value::Null) => drop(metadata.remove(field)),
            Some(value) => {
                check_texts(field, value, metadata.get(field))?;
                metadata.insert(field.to_owned(), value.clone());
            }
        }
    }
    answered.set(&["metadata"], Value::Object(metadata));
    Ok(answered)
}

/// Refuses labels or annotations that could not have been written.
fn check_texts(field: &str, given: &Value, before: Option<&Value>) -> Result<(), String> {
    let Some(texts) = given.as_object() else {
        return Err(format!("invalid metadata.{field} of type {} in converted object", go_type(given)));
    };
    if let Some((key, value)) = texts.iter().find(|(_, value)| !value.is_string()) {
        let kind = go_type(value);
        return Err(format!("metadata.{field}[{key}] must be a string, but is {kind} in converted object"));
    }
    if before == Some(given) {
        return Ok(());
    }
    let mut object = Object::default();
    object.set(&["metadata"], Value::Object(Map::from_iter([(field.to_owned(), given.clone())])));
    let mut wrong = FieldErrors::new();
    check_labels(&object, &mut wrong);
    check_annotations(&object, &mut wrong);
    if wrong.is_empty() { Ok(()) } else { Err(aggregate(&wrong)) }
}

/// The type of a value as Go names it.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
