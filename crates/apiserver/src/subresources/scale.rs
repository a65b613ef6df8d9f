//! `autoscaling/v1` Scale: `spec.replicas` of an object, and nothing else of it.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use skiff_catalogue::managed::Operation;
use skiff_catalogue::{FieldError, Object, Subresource};

use crate::errors::{ApiError, Subject};
use crate::pipeline::call::Call;
use crate::pipeline::update::{self, Part};
use crate::pipeline::{Content, Outcome, decode, metadata, patch};

const PART: Part = Part::Narrow(Subresource::Scale);

/// GET.
pub(super) async fn get(call: &Call) -> Result<Outcome, ApiError> {
    let object = call.decoded(&call.entry().await?)?;
    Ok(Outcome::status(StatusCode::OK, scale_of(&object).into_value()))
}

/// PUT.
pub(super) async fn update(call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let wanted = decode::exchanged(call, Subresource::Scale, body)?;
    let (given, name) = (wanted.name(), call.path.name.as_str());
    if given != name {
        return Err(ApiError::BadRequest(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    let outcome = update::change(call, PART, Operation::Update, |old| scaled(old, &wanted)).await?;
    show(call, outcome)
}

/// PATCH, of the Scale and not of the object.
pub(super) async fn patch(call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let outcome = update::change(call, PART, Operation::Update, |old| {
        let patched = patch::to_tree(call, &scale_of(old), body)?;
        scaled(old, &decode::exchanged_patch(call, Subresource::Scale, patched)?)
    });
    show(call, outcome.await?)
}

fn show(call: &Call, outcome: Outcome) -> Result<Outcome, ApiError> {
    let object = match outcome.content {
        Content::Entry(entry) => scale_of(&*call.decoded(&entry)?),
        Content::Object(object) => scale_of(&object),
        Content::List(_) | Content::Tree(_) => return Ok(outcome),
    };
    Ok(Outcome::status(StatusCode::OK, object.into_value()))
}

/// The object with the replicas that a Scale asks for, and its preconditions.
fn scaled(old: &Object, scale: &Object) -> Result<Object, ApiError> {
    let invalid = |error: FieldError| {
        let subject = Subject {
            group: "autoscaling".into(),
            kind: "Scale".into(),
            name: old.name().into(),
            ..Subject::default()
        };
        ApiError::invalid(subject, vec![error])
    };
    let replicas = match scale.get(&["spec", "replicas"]) {
        None | Some(Value::Null) => 0,
        Some(value) => value.as_i64().ok_or_else(|| {
            invalid(FieldError::invalid("spec.replicas", value.clone(), "must be an integer"))
        })?,
    };
    if i32::try_from(replicas).is_err() && replicas > 0 {
        let text = "must be less than or equal to 2147483647";
        return Err(invalid(FieldError::invalid("spec.replicas", replicas, text)));
    }
    if replicas < 0 {
        let text = "must be greater than or equal to 0";
        return Err(invalid(FieldError::invalid("spec.replicas", replicas, text)));
    }
    let mut new = old.clone();
    new.set(&["spec", "replicas"], replicas);
    metadata::take_preconditions(&mut new, scale);
    Ok(new)
}

fn scale_of(object: &Object) -> Object {
    let mut metadata = serde_json::Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.get(&["metadata", field]) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let number = |path: &[&str]| object.get(path).and_then(Value::as_i64).unwrap_or(0);
    let mut status = json!({"replicas": number(&["status", "replicas"])});
    let selector = selector_text(object.get(&["spec", "selector"]));
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    let scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": number(&["spec", "replicas"])},
        "status": status,
    });
    Object::from_value(scale).unwrap_or_default()
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

    fn object() -> Object {
        Object::from_value(json!({
            "metadata": {"name": "kubia", "uid": "u", "resourceVersion": "5"},
            "spec": {"replicas": 3, "selector": {"app": "kubia", "tier": "web"}},
            "status": {"replicas": 2},
        }))
        .unwrap()
    }

    #[test]
    fn shows_replicas_and_selector() {
        let scale = scale_of(&object());
        assert_eq!(scale.get(&["spec", "replicas"]), Some(&json!(3)));
        assert_eq!(scale.get(&["status"]), Some(&json!({"replicas": 2, "selector": "app=kubia,tier=web"})));
    }

    #[test]
    fn takes_replicas_and_preconditions() {
        let scale =
            Object::from_value(json!({"metadata": {"resourceVersion": "4"}, "spec": {"replicas": 7}}));
        let new = scaled(&object(), &scale.unwrap()).unwrap();
        assert_eq!(new.get(&["spec", "replicas"]), Some(&json!(7)));
        assert_eq!(new.resource_version(), "4");
        let huge = Object::from_value(json!({"spec": {"replicas": 99_999_999_999_i64}})).unwrap();
        assert_eq!(
            scaled(&object(), &huge).unwrap_err().to_string(),
            "Scale.autoscaling \"kubia\" is invalid: spec.replicas: Invalid value: 99999999999: must be less than or equal to 2147483647"
        );
        let negative = Object::from_value(json!({"spec": {"replicas": -1}})).unwrap();
        assert_eq!(
            scaled(&object(), &negative).unwrap_err().to_string(),
            "Scale.autoscaling \"kubia\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
        );
    }
}
