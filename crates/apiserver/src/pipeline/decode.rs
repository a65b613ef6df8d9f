//! Request bodies → objects.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use skiff_machinery::strict::{DecodeFailure, Decoded};
use skiff_machinery::{
    Exchange, FieldError, GroupVersion, Object, Strategy, Subresource, managed, protobuf, strict,
};

use skiff_schema::Root;

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
                // What follows the first line shows the text, which may be a Secret's.
                let error = error.to_string();
                let line = error.lines().next().unwrap_or_default();
                let line = line.strip_prefix("error: ").unwrap_or(line);
                ApiError::BadRequest(format!("error converting YAML to JSON: yaml: {line}"))
            })?;
            Ok(super::codec::to_json(&value))
        }
        _ => Err(ApiError::UnsupportedMediaType(BODIES)),
    }
}

/// A body as DeleteOptions. A body that is something else deletes nothing.
pub(crate) fn delete_options(call: &Call, content_type: &str, body: &Bytes) -> Result<Object, ApiError> {
    let refuse = |why: &dyn fmt::Display| ApiError::BadRequest(why.to_string());
    let root = call.kind.root.sibling(DELETE_OPTIONS);
    let root = root.ok_or_else(|| refuse(&"the schema has no DeleteOptions"))?;
    if content_type == protobuf::CONTENT_TYPE {
        return protobuf::decode(body, &root).map_err(|error| refuse(&error));
    }
    let text = to_json(content_type, body)?;
    let told: Told = serde_json::from_slice(&text)
        .map_err(|error| refuse(&format_args!("couldn't get version/kind; json parse error: {error}")))?;
    if !matches!(&*told.kind, "" | "DeleteOptions") {
        return Err(refuse(&not_registered(&told.kind, &told.api_version)));
    }
    Ok(strict::decode(&text, &root).map_err(|failure| refuse(&failure))?.object)
}

/// What a body says that it is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Told {
    kind: String,
    api_version: String,
}

impl Told {
    fn of(object: &Object) -> Self {
        Self { kind: object.kind().to_owned(), api_version: object.api_version().to_owned() }
    }
}

fn not_registered(kind: &str, version: &str) -> String {
    format!("no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\"")
}

/// A body as an object of the call's kind: typed, checked for unknown fields, with `apiVersion` and `kind`.
pub(crate) fn object(call: &Call, body: &Bytes) -> Result<Object, ApiError> {
    let expected = Expected::object(call);
    let mut object = typed(call, body, &expected)?;
    identify(call, &mut object);
    Ok(object)
}

/// What a body has to be.
struct Expected<'e> {
    /// Who reads whole objects of the kind; none for what subresources exchange.
    strategy: Option<&'e dyn Strategy>,
    gv: &'e GroupVersion,
    kind: &'e str,
    root: &'e Root,
    /// Whether another version of the group will do.
    any_version: bool,
}

impl<'e> Expected<'e> {
    fn object(call: &'e Call) -> Self {
        let kind = &call.kind;
        Self {
            strategy: Some(&*kind.strategy),
            gv: &kind.gv,
            kind: &kind.names.kind,
            root: &kind.root,
            any_version: false,
        }
    }

    fn exchange(exchange: &'e Exchange) -> Result<Self, ApiError> {
        let root = exchange.root.as_ref();
        let root = root.ok_or_else(|| ApiError::BadRequest(format!("{} has no body", exchange.kind)))?;
        Ok(Self { strategy: None, gv: &exchange.gv, kind: &exchange.kind, root, any_version: true })
    }

    fn decode(&self, text: &[u8]) -> Result<Decoded, DecodeFailure> {
        match self.strategy {
            Some(strategy) => strategy.decode(text, self.root),
            None => strict::decode(text, self.root),
        }
    }

    fn prune(&self, tree: Value) -> Result<Decoded, DecodeFailure> {
        match self.strategy {
            Some(strategy) => strategy.prune(tree, self.root),
            None => strict::prune(tree, self.root),
        }
    }
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
    if let Some(why) = managed::refuse_configuration(&kind.root, &tree) {
        let (namespace, name) = (text(&["metadata", "namespace"]), text(&["metadata", "name"]));
        let place = format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default());
        let object = format!("{place}; {group_version}, Kind={}", kind.names.kind);
        // Which field it is may be told, but not what is in it.
        let why = match why.split_once(", got ") {
            Some((expected, _)) if call.kind.strategy.is_confidential() => expected,
            _ => &why,
        };
        return Err(ApiError::Unclassified(format!("failed to create typed patch object ({object}): {why}")));
    }
    self::object(call, body)
}

/// A body as what a subresource exchanges, e.g. a Scale or a Binding.
pub(crate) fn exchanged(call: &Call, subresource: Subresource, body: &Bytes) -> Result<Object, ApiError> {
    let exchange = call.kind.exchange(subresource);
    typed(call, body, &Expected::exchange(&exchange)?)
}

/// What a patch made of what a subresource exchanges, checked as a body would be.
pub(crate) fn exchanged_patch(
    call: &Call,
    subresource: Subresource,
    patched: Object,
) -> Result<Object, ApiError> {
    let exchange = call.kind.exchange(subresource);
    let expected = Expected::exchange(&exchange)?;
    let text = super::codec::to_json(&Value::Object(patched.as_map().clone()));
    check_patched(call, &expected, patched, &text)
}

/// Checks what became of an object by a patch; problems are worded as for patches.
fn check_patched(
    call: &Call,
    expected: &Expected<'_>,
    patched: Object,
    shown: &[u8],
) -> Result<Object, ApiError> {
    let refuse = |detail: String| {
        let error = FieldError::invalid("patch", presentable(call, shown), detail);
        ApiError::invalid(Subject::default(), vec![error])
    };
    check_kind(call, &Told::of(&patched), expected).map_err(|error| refuse(error.to_string()))?;
    let decoded = expected.prune(patched.into_value()).map_err(|failure| refuse(failure.to_string()))?;
    report(call, decoded.problems, |problems| refuse(format!("strict decoding error: {problems}")))?;
    Ok(decoded.object)
}

/// The most of a client's text that an answer shows, in bytes. Answers are read by people, and end up in the logs of clients.
const SHOWN: usize = 1024;

/// A client's text as an answer may show it: cut, and nothing of a Secret.
fn presentable(call: &Call, text: &[u8]) -> String {
    if call.kind.strategy.is_confidential() {
        return "(a Secret's content is not shown)".to_owned();
    }
    match text.split_at_checked(SHOWN) {
        Some((start, _)) => format!("{}…", String::from_utf8_lossy(start)),
        None => String::from_utf8_lossy(text).into_owned(),
    }
}

/// Refuses an object that says it is of another kind than is expected.
fn check_kind(call: &Call, told: &Told, expected: &Expected<'_>) -> Result<(), ApiError> {
    let Expected { gv, kind, .. } = *expected;
    let (given, version) = (told.kind.as_str(), told.api_version.as_str());
    let (group, number) = version.split_once('/').unwrap_or(("", version));
    let same_version =
        version.is_empty() || version == gv.to_string() || (expected.any_version && group == gv.group);
    if (given.is_empty() || given == kind) && same_version {
        return Ok(());
    }
    let given = if given.is_empty() { kind } else { given };
    let (version, number) =
        if version.is_empty() { (gv.to_string(), &*gv.version) } else { (version.to_owned(), number) };
    let known =
        call.server.offers.catalogue().iter().any(|k| k.names.kind == given && k.gv.to_string() == version);
    let why = if known {
        let family = gv.group.split('.').next().filter(|g| !g.is_empty()).unwrap_or("core");
        format!("converting ({number}.{given}) to ({family}.{kind}): unknown conversion")
    } else {
        not_registered(given, &version)
    };
    Err(ApiError::BadRequest(format!("{given} in version {number:?} cannot be handled as a {kind}: {why}")))
}

fn typed(call: &Call, body: &Bytes, expected: &Expected<'_>) -> Result<Object, ApiError> {
    let Expected { gv, kind, root, .. } = *expected;
    let refuse = |why: &dyn fmt::Display| {
        let version = &gv.version;
        ApiError::BadRequest(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
    };
    let decoded = if call.content_type == protobuf::CONTENT_TYPE {
        let object = protobuf::decode(body, root).map_err(|error| refuse(&error))?;
        check_kind(call, &Told::of(&object), expected)?;
        expected.prune(object.into_value())
    } else {
        let text = to_json(&call.content_type, body)?;
        // Whoever sends something else is told that, and not which of its fields are unknown here.
        if let Ok(told) = serde_json::from_slice(&text) {
            check_kind(call, &told, expected)?;
        }
        expected.decode(&text)
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
    let mut object = check_patched(call, &Expected::object(call), object, patch)?;
    identify(call, &mut object);
    Ok(object)
}

/// Fills in `apiVersion` and `kind` when they are missing.
fn identify(call: &Call, object: &mut Object) {
    object.set(&["apiVersion"], call.kind.gv.to_string());
    object.set(&["kind"], call.kind.names.kind.as_ref());
}
