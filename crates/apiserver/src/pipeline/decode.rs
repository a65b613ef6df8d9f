//! Request bodies → objects.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use skiff_catalogue::{Exchange, FieldError, GroupVersion, Object, Subresource, managed, protobuf, strict};

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

/// A body as DeleteOptions. A body that is something else deletes nothing.
pub(crate) fn delete_options(content_type: &str, body: &Bytes) -> Result<Object, ApiError> {
    let refuse = |why: &dyn fmt::Display| ApiError::BadRequest(why.to_string());
    if content_type == protobuf::CONTENT_TYPE {
        return protobuf::decode(body, DELETE_OPTIONS).map_err(|error| refuse(&error));
    }
    let text = to_json(content_type, body)?;
    let told: Told = serde_json::from_slice(&text)
        .map_err(|error| refuse(&format_args!("couldn't get version/kind; json parse error: {error}")))?;
    if !matches!(&*told.kind, "" | "DeleteOptions") {
        return Err(refuse(&not_registered(&told.kind, &told.api_version)));
    }
    Ok(strict::decode(&text, DELETE_OPTIONS).map_err(|failure| refuse(&failure))?.object)
}

/// What a body says that it is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Told {
    kind: String,
    api_version: String,
}

fn not_registered(kind: &str, version: &str) -> String {
    format!("no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\"")
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
    let named = text(&["kind"]).unwrap_or_default();
    if named != kind.names.kind || text(&["apiVersion"]) != Some(kind.gv.to_string().as_str()) {
        return Err(ApiError::BadRequest(format!("invalid object type: {group_version}, Kind={named}")));
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
    let object = typed(call, body, definition, &exchange.gv, &exchange.kind)?;
    check_exchanged(call, &exchange, &object)?;
    Ok(object)
}

/// What a patch made of what a subresource exchanges, checked as a body would be.
pub(crate) fn exchanged_patch(
    call: &Call,
    subresource: Subresource,
    patched: Object,
) -> Result<Object, ApiError> {
    let exchange = call.kind.exchange(subresource);
    let definition = exchange.definition.unwrap_or_default();
    let text = String::from_utf8_lossy(&super::codec::to_json(&Value::Object(patched.as_map().clone())))
        .into_owned();
    let decoded = strict::prune(patched.into_value(), definition).map_err(|failure| {
        let error = FieldError::invalid("patch", text, failure.to_string());
        ApiError::invalid(Subject::default(), vec![error])
    })?;
    check_exchanged(call, &exchange, &decoded.object)?;
    Ok(decoded.object)
}

/// Refuses an object of another kind than the subresource exchanges. Another version of the kind's group will do.
fn check_exchanged(call: &Call, exchange: &Exchange, object: &Object) -> Result<(), ApiError> {
    let (kind, version) = (object.kind(), object.api_version());
    let (group, number) = version.split_once('/').unwrap_or(("", version));
    let same_group = version.is_empty() || group == exchange.gv.group;
    if (kind.is_empty() || kind == exchange.kind) && same_group {
        return Ok(());
    }
    let known = call.server.catalogue.iter().any(|k| k.names.kind == kind && k.gv.to_string() == version);
    let why = if known {
        let family = exchange.gv.group.split('.').next().filter(|g| !g.is_empty()).unwrap_or("core");
        format!("converting ({number}.{kind}) to ({family}.{}): unknown conversion", exchange.kind)
    } else {
        not_registered(kind, version)
    };
    Err(ApiError::BadRequest(format!(
        "{kind} in version {number:?} cannot be handled as a {}: {why}",
        exchange.kind
    )))
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
    match call.query.field_validation(call.options_kind())? {
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
