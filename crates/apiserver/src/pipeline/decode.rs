//! Request bodies → objects.

use bytes::Bytes;
use serde_json::Value;
use skiff_catalogue::{FieldError, Object, strict};

use super::call::Call;
use crate::errors::{ApiError, Subject};
use crate::http::query::FieldValidation;

const BODIES: &str = "application/json, application/yaml";

/// The JSON text of a body in JSON or YAML.
pub(crate) fn to_json(content_type: &str, body: &Bytes) -> Result<Bytes, ApiError> {
    match content_type {
        "" | "application/json" | "*/*" => Ok(body.clone()),
        "application/yaml" | "application/apply-patch+yaml" => {
            let text = std::str::from_utf8(body)
                .map_err(|_| ApiError::BadRequest("error decoding YAML: the text is not UTF-8".to_owned()))?;
            let value: Value = serde_saphyr::from_str(text).map_err(|error| {
                ApiError::BadRequest(format!("error converting YAML to JSON: yaml: {error}"))
            })?;
            Ok(super::codec::to_json(&value))
        }
        _ => Err(ApiError::UnsupportedMediaType(BODIES)),
    }
}

/// A body that is not an object of the call's kind (options, Binding, Scale, …) as a tree.
pub(crate) fn tree(call: &Call, body: &Bytes) -> Result<Object, ApiError> {
    let json = to_json(&call.content_type, body)?;
    let value: Value = serde_json::from_slice(&json)
        .map_err(|error| ApiError::BadRequest(format!("error decoding the request body: {error}")))?;
    Object::from_value(value)
        .map_err(|error| ApiError::BadRequest(format!("error decoding the request body: {error}")))
}

/// A body as an object of the call's kind: typed, checked for unknown fields, with `apiVersion` and `kind`.
pub(crate) fn object(call: &Call, body: &Bytes) -> Result<Object, ApiError> {
    let json = to_json(&call.content_type, body)?;
    let kind = &call.kind;
    let decoded = strict::decode(&json, &kind.definition).map_err(|failure| {
        let (name, version) = (&kind.names.kind, &kind.gv.version);
        ApiError::BadRequest(format!(
            "{name} in version {version:?} cannot be handled as a {name}: {failure}"
        ))
    })?;
    let mut object = decoded.object;
    identify(call, &mut object)?;
    match call.query.field_validation()? {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => decoded.problems.into_iter().for_each(|problem| call.warn(problem)),
        FieldValidation::Strict if decoded.problems.is_empty() => {}
        FieldValidation::Strict => {
            let (name, version) = (&kind.names.kind, &kind.gv.version);
            let problems = decoded.problems.join(", ");
            return Err(ApiError::BadRequest(format!(
                "{name} in version {version:?} cannot be handled as a {name}: strict decoding error: {problems}"
            )));
        }
    }
    Ok(object)
}

/// A patched object, checked as a body would be; problems are worded as for patches.
pub(crate) fn patched(call: &Call, object: Object, patch: &[u8]) -> Result<Object, ApiError> {
    let refuse = |detail: String| {
        let text = String::from_utf8_lossy(patch).into_owned();
        ApiError::invalid(Subject::default(), vec![FieldError::invalid("patch", text, detail)])
    };
    let decoded = strict::prune(object.into_value(), &call.kind.definition)
        .map_err(|failure| refuse(failure.to_string()))?;
    let mut object = decoded.object;
    identify(call, &mut object)?;
    match call.query.field_validation()? {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => decoded.problems.into_iter().for_each(|problem| call.warn(problem)),
        FieldValidation::Strict if decoded.problems.is_empty() => {}
        FieldValidation::Strict => {
            return Err(refuse(format!("strict decoding error: {}", decoded.problems.join(", "))));
        }
    }
    Ok(object)
}

/// Checks `apiVersion` and `kind` against the URL and fills them in when they are missing.
fn identify(call: &Call, object: &mut Object) -> Result<(), ApiError> {
    let kind = &call.kind;
    let expected = kind.gv.to_string();
    let (version, name) = (object.api_version(), object.kind());
    if !version.is_empty() && version != expected {
        return Err(ApiError::BadRequest(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )));
    }
    if !name.is_empty() && name != kind.names.kind {
        return Err(ApiError::BadRequest(format!(
            "{name} in version {:?} cannot be handled as a {}: the kinds differ",
            kind.gv.version, kind.names.kind
        )));
    }
    object.set(&["apiVersion"], expected);
    object.set(&["kind"], kind.names.kind.as_ref());
    Ok(())
}
