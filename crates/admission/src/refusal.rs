//! Why a request is refused, as `metav1.Status` says it.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::attributes::{Attributes, GroupVersionResource};

/// Why a request is refused: a Status, by field. What a webhook answers is read into one and passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{message}")]
#[serde(default)]
pub struct Refusal {
    /// `Failure`, unless a webhook says something else.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// For people.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For programs, e.g. `Forbidden`; may be empty.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What exactly was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
    /// The HTTP status code.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "is_zero")]
    pub code: i32,
}

/// `Status.details`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Details {
    /// Of the object.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its API group.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its kind, or resource.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its UID.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// One by one.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// When another try makes sense.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "is_zero")]
    pub retry_after_seconds: i32,
}

/// One of `Status.details.causes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// For programs, e.g. `FieldValueInvalid`.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// A path.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// As Go reads JSON: null leaves a field as it was.
pub(crate) fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// What a refusal calls an object whose name is not known.
const UNKNOWN: &str = "Unknown";
/// What it calls something without metadata; no object can have such a name.
const NAMELESS: &str = "Unknown/errorGettingName";

impl Refusal {
    fn failure(code: i32, reason: &str, message: impl Into<String>) -> Self {
        Self {
            status: "Failure".to_owned(),
            message: message.into(),
            reason: reason.to_owned(),
            details: None,
            code,
        }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// 500, worded `Internal error occurred: WHY`.
    pub fn internal(why: impl Into<String>) -> Self {
        let why = why.into();
        let cause = Cause { message: why.clone(), ..Cause::default() };
        let details = Details { causes: vec![cause], ..Details::default() };
        let status = Self::failure(500, "InternalError", format!("Internal error occurred: {why}"));
        Self { details: Some(Box::new(details)), ..status }
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, "ServiceUnavailable", message)
    }

    /// 504: the request's own time is over.
    pub fn timeout() -> Self {
        let status =
            Self::failure(504, "Timeout", "Timeout: request did not complete within requested timeout");
        Self { details: Some(Box::default()), ..status }
    }

    /// 404, worded `namespaces "x" not found`.
    pub fn not_found(resource: &GroupVersionResource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self { details: Some(Box::new(details(resource, name))), ..Self::failure(404, "NotFound", message) }
    }

    /// 403, worded `pods "x" is forbidden: WHY`, about the object of the request.
    pub fn forbidden(attributes: &Attributes, why: &str) -> Self {
        Self::forbidden_object(&attributes.resource, &object_name(attributes), why)
    }

    /// The same of an object with this name.
    pub(crate) fn forbidden_object(resource: &GroupVersionResource, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", resource.qualified());
        Self { details: Some(Box::new(details(resource, name))), ..Self::failure(403, "Forbidden", message) }
    }

    /// The body of the answer.
    pub fn to_json(&self) -> Value {
        let mut status = serde_json::to_value(self).unwrap_or_default();
        status["kind"] = "Status".into();
        status["apiVersion"] = "v1".into();
        status["metadata"] = Value::Object(serde_json::Map::new());
        status
    }
}

fn details(resource: &GroupVersionResource, name: &str) -> Details {
    Details {
        name: name.to_owned(),
        group: resource.group.clone(),
        kind: resource.resource.clone(),
        ..Details::default()
    }
}

/// The name for messages: that of the request, else that of the object or what its name will begin with.
fn object_name(attributes: &Attributes) -> String {
    if !attributes.name.is_empty() {
        return attributes.name.clone();
    }
    let Some(object) = &attributes.object else { return UNKNOWN.to_owned() };
    if object.get(&["metadata"]).is_none() {
        return NAMELESS.to_owned();
    }
    let names = [object.name(), object.str(&["metadata", "generateName"])];
    names.into_iter().find(|name| !name.is_empty()).unwrap_or(UNKNOWN).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use skiff_machinery::Object;

    use super::*;
    use crate::testing::request;

    #[test]
    fn a_refusal_names_what_is_known() {
        let check = |name: &str, object: Option<Value>, expected: &str| {
            let mut attributes = request();
            attributes.name = name.to_owned();
            attributes.object = object.map(|object| Object::from_value(object).unwrap());
            let refusal = Refusal::forbidden(&attributes, "why");
            assert_eq!(refusal.message, format!("pods {expected:?} is forbidden: why"));
            assert_eq!(refusal.details.unwrap().name, expected);
        };
        check("a", None, "a");
        check("", None, "Unknown");
        check("", Some(json!({})), "Unknown/errorGettingName");
        check("", Some(json!({"metadata": {"name": "b", "generateName": "c-"}})), "b");
        check("", Some(json!({"metadata": {"generateName": "c-"}})), "c-");
        check("", Some(json!({"metadata": {}})), "Unknown");
    }

    #[test]
    fn a_status_is_passed_on() {
        let given =
            json!({"code": 402, "message": null, "details": {"causes": [{"field": "spec"}], "name": "x"}});
        let refusal: Refusal = serde_json::from_value(given).unwrap();
        let expected = json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "code": 402,
            "details": {"causes": [{"field": "spec"}], "name": "x"},
        });
        assert_eq!(refusal.to_json(), expected);
        let internal = Refusal::internal("x").to_json();
        assert_eq!(internal["message"], "Internal error occurred: x");
        assert_eq!(internal["details"], json!({"causes": [{"message": "x"}]}));
    }
}
