//! Request bodies → objects.

use std::fmt;

use bytes::Bytes;
use serde_json::Value;
use skiff_catalogue::{FieldError, GroupVersion, Object, Subresource, managed, protobuf, strict};

use super::call::Call;
use crate::errors::{ApiError, Subject};
use crate::http::query::FieldValidation;

const BODIES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

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

/// A body as DeleteOptions, as a tree.
pub(crate) fn delete_options(content_type: &str, body: &Bytes) -> Result<Value, ApiError> {
    let refuse =
        |why: &dyn fmt::Display| ApiError::BadRequest(format!("error decoding DeleteOptions: {why}"));
    if content_type == protobuf::CONTENT_TYPE {
        let object = protobuf::decode(body, DELETE_OPTIONS).map_err(|error| refuse(&error))?;
        return Ok(object.into_value());
    }
    serde_json::from_slice(&to_json(content_type, body)?).map_err(|error| refuse(&error))
}

/// A body as an object of the call's kind: typed, checked for unknown fields, with `apiVersion` and `kind`.
pub(crate) fn object(call: &Call, body: &Bytes) -> Result<Object, ApiError> {
    let kind = &call.kind;
    let mut object = typed(call, body, kind.definition, &kind.gv, &kind.names.kind)?;
    identify(call, &mut object)?;
    Ok(object)
}

/// A body as the configuration that server-side apply takes: its own rules come before those of other bodies.
pub(crate) fn configuration(call: &Call, body: &Bytes) -> Result<Object, ApiError> {
    let json = to_json(&call.content_type, body)?;
    let tree: Value = serde_json::from_slice(&json)
        .map_err(|error| ApiError::BadRequest(format!("error decoding YAML: {error}")))?;
    let text =
        |path: &[&str]| path.iter().try_fold(&tree, |value, key| value.get(key)).and_then(Value::as_str);
    let kind = &call.kind;
    let group_version = match text(&["apiVersion"]).unwrap_or_default() {
        version if version.contains('/') => version.to_owned(),
        version => format!("/{version}"),
    };
    if text(&["kind"]).is_none_or(str::is_empty) {
        return Err(ApiError::BadRequest(format!("invalid object type: {group_version}, Kind=")));
    }
    if let Some(why) = managed::refuse_configuration(kind.definition, &tree) {
        let (namespace, name) = (text(&["metadata", "namespace"]), text(&["metadata", "name"]));
        let place = format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default());
        let object = format!("{place}; {group_version}, Kind={}", kind.names.kind);
        return Err(ApiError::Unclassified(format!("failed to create typed patch object ({object}): {why}")));
    }
    self::object(call, body)
}

/// A body as what a subresource exchanges, e.g. a Scale or a Binding.
pub(crate) fn exchanged(call: &Call, subresource: Subresource, body: &Bytes) -> Result<Object, ApiError> {
    let exchange = call.kind.exchange(subresource);
    let definition =
        exchange.definition.ok_or_else(|| ApiError::BadRequest(format!("{} has no body", exchange.kind)))?;
    typed(call, body, definition, &exchange.gv, &exchange.kind)
}

fn typed(
    call: &Call,
    body: &Bytes,
    definition: &str,
    gv: &GroupVersion,
    kind: &str,
) -> Result<Object, ApiError> {
    let refuse = |why: &dyn fmt::Display| {
        let version = &gv.version;
        ApiError::BadRequest(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
    };
    let decoded = if call.content_type == protobuf::CONTENT_TYPE {
        let object = protobuf::decode(body, definition).map_err(|error| refuse(&error))?;
        strict::prune(object.into_value(), definition)
    } else {
        strict::decode(&to_json(&call.content_type, body)?, definition)
    };
    let decoded = decoded.map_err(|failure| refuse(&failure))?;
    report(call, decoded.problems, |problems| refuse(&format_args!("strict decoding error: {problems}")))?;
    Ok(decoded.object)
}

/// Does with unknown and duplicate fields what the request wants.
fn report(call: &Call, problems: Vec<String>, refuse: impl Fn(&str) -> ApiError) -> Result<(), ApiError> {
    match call.query.field_validation()? {
        FieldValidation::Strict if !problems.is_empty() => Err(refuse(&problems.join(", "))),
        FieldValidation::Warn => {
            problems.into_iter().for_each(|problem| call.warn(problem));
            Ok(())
        }
        FieldValidation::Strict | FieldValidation::Ignore => Ok(()),
    }
}

/// A patched object, checked as a body would be; problems are worded as for patches.
pub(crate) fn patched(call: &Call, object: Object, patch: &[u8]) -> Result<Object, ApiError> {
    let refuse = |detail: String| {
        let text = String::from_utf8_lossy(patch).into_owned();
        ApiError::invalid(Subject::default(), vec![FieldError::invalid("patch", text, detail)])
    };
    let decoded = strict::prune(object.into_value(), call.kind.definition)
        .map_err(|failure| refuse(failure.to_string()))?;
    let mut object = decoded.object;
    identify(call, &mut object)?;
    report(call, decoded.problems, |problems| refuse(format!("strict decoding error: {problems}")))?;
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
