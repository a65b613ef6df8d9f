//! Bodies of server-side apply → configurations. Their own rules come before those of other bodies.

use std::fmt;

use bytes::Bytes;
use serde_json::Value;
use skiff_machinery::{Object, Subresource, go, managed};

use super::call::Call;
use super::decode::{Expected, from_text, identify, text};
use super::problems::{YAML_PROBLEMS, report};
use super::yaml::Text;
use crate::errors::ApiError;

/// The JSON of a configuration, which comes in YAML.
pub(crate) fn configuration_json(call: &Call, body: &Bytes) -> Result<Bytes, ApiError> {
    Ok(configuration_text(call, body)?.json)
}

fn configuration_text(call: &Call, body: &Bytes) -> Result<Text, ApiError> {
    let text = text(&call.content_type, body)?;
    text.map_err(|why| refuse_yaml(&format_args!("error converting YAML to JSON: {why}")))
}

fn refuse_yaml(why: &dyn fmt::Display) -> ApiError {
    ApiError::BadRequest(format!("error decoding YAML: {why}"))
}

/// Notes a patch for the audit log; one that cannot be read is refused later, and not noted.
pub(crate) fn note_patch(call: &Call, body: &Bytes) {
    call.record.body(|| {
        let of_yaml = || serde_json::from_slice(&configuration_json(call, body).ok()?).ok();
        serde_json::from_slice(body).ok().or_else(of_yaml).unwrap_or_default()
    });
}

/// What server-side apply takes, and what is wrong with it that is told when all else is right.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) intent: Object,
    /// Where a value has not the form of its type.
    pub(crate) late: Option<String>,
    /// A key that the text has twice.
    pub(crate) repeated: Option<String>,
}

/// Tells of a key that stands twice in a configuration.
pub(crate) fn report_repeated(call: &Call, repeated: Option<&str>) -> Result<(), ApiError> {
    let repeated = repeated.map(|problem| format!("error converting YAML to JSON: {YAML_PROBLEMS}{problem}"));
    report(call, repeated.into_iter().collect(), |problem| {
        ApiError::BadRequest(format!("error strict decoding YAML: {problem}"))
    })
}

/// A body as the configuration that server-side apply takes.
pub(crate) fn configuration(call: &Call, body: &Bytes) -> Result<Configuration, ApiError> {
    let mut read = configuration_text(call, body)?;
    let tree: Value = serde_json::from_slice(&read.json).map_err(|error| refuse_yaml(&error))?;
    check(call, &tree)?;
    let repeated = read.repeated.take();
    if !call.kind.strategy.is_typed() {
        // What is not said is nobody's: its defaults come later.
        let intent = Object::from_value(tree).unwrap_or_default();
        return Ok(Configuration { intent, late: None, repeated });
    }
    let json = read.json.clone();
    let mut object = match from_text(call, read, body, &Expected::object(call)) {
        Ok(object) => object,
        Err(error) => {
            let why = malformed(call, &json).ok_or(error)?;
            let intent = Object::from_value(tree).unwrap_or_default();
            return Ok(Configuration { intent, late: Some(why), repeated });
        }
    };
    managed::keep_empty(&mut object, &tree, &call.kind.root);
    identify(call, &mut object);
    Ok(Configuration { intent: object, late: None, repeated })
}

/// Whether a configuration is one of the kind, with values of the right types.
fn check(call: &Call, tree: &Value) -> Result<(), ApiError> {
    if !matches!(tree, Value::Object(_) | Value::Null) {
        let found = go::json_type(tree);
        return Err(refuse_yaml(&format_args!(
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
        )));
    }
    let text = |field: &str| tree.get(field).and_then(Value::as_str);
    let kind = &call.kind;
    let group_version = match text("apiVersion").unwrap_or_default() {
        version if version.contains('/') => version.to_owned(),
        version => format!("/{version}"),
    };
    let named = text("kind").unwrap_or_default();
    if named != kind.names.kind || text("apiVersion") != Some(kind.gv.to_string().as_str()) {
        return Err(ApiError::BadRequest(format!("invalid object type: {group_version}, Kind={named}")));
    }
    if tree.pointer("/metadata/managedFields").is_some_and(Value::is_array) {
        return Err(ApiError::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    let Some(why) = managed::refuse_configuration(&kind.root, tree) else { return Ok(()) };
    // Which field it is may be told, but not what is in it.
    let why = match why.split_once(", got ") {
        Some((expected, _)) if kind.strategy.is_confidential() => expected,
        _ => &why,
    };
    Err(untyped(tree, &format!("{group_version}, Kind={}", kind.names.kind), why))
}

/// A Scale that is applied: whether it says how many there are to be. What it does not know is refused.
pub(crate) fn scale_configuration(call: &Call, json: &[u8]) -> Result<bool, ApiError> {
    let tree: Value = serde_json::from_slice(json).map_err(|error| refuse_yaml(&error))?;
    let exchange = call.kind.exchange(Subresource::Scale);
    let why = exchange.root.as_ref().and_then(|root| managed::refuse_configuration(root, &tree));
    match why {
        Some(why) => Err(untyped(&tree, &format!("{}, Kind={}", exchange.gv, exchange.kind), &why)),
        None => Ok(tree.pointer("/spec/replicas").is_some_and(|replicas| !replicas.is_null())),
    }
}

/// Of a configuration that has not the types of its kind.
fn untyped(tree: &Value, gvk: &str, why: &str) -> ApiError {
    let text = |field: &str| tree["metadata"][field].as_str().unwrap_or_default();
    let object = format!("{}/{}; {gvk}", text("namespace"), text("name"));
    ApiError::Unclassified(format!("failed to create typed patch object ({object}): {why}"))
}

/// What is wrong with a configuration that is of the right types, but cannot be read as the kind: a quantity or a time without
/// the form.
fn malformed(call: &Call, json: &[u8]) -> Option<String> {
    let failure = Expected::object(call).decode(json).err().filter(|_| go::syntax_error(json).is_none())?;
    let tree: Value = serde_json::from_slice(json).ok()?;
    let text = |field: &str| tree["metadata"][field].as_str().unwrap_or_default();
    let (name, why) = (format!("{}/{}", text("namespace"), text("name")), failure.to_string());
    let gvk = format!("{}/{}, Kind={}", call.kind.gv.group, call.kind.gv.version, call.kind.names.kind);
    let from = if why.starts_with("illegal base64") { "error decoding from json: " } else { "" };
    Some(format!(
        "failed to convert new object ({name}; {gvk}) to proper version: unable to convert unstructured object to {gvk}: {from}{why}"
    ))
}
