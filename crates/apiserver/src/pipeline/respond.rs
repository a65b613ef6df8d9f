//! Outcomes → HTTP answers in the representation that the client wants.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;
use skiff_machinery::table::{self, IncludeObject, Shape};
use skiff_machinery::{Object, Printer, scale};
use skiff_schema::Root;
use skiff_store::Entry;

use super::call::Call;
use super::{Content, Outcome, codec, listed, protobuf};
use crate::errors::ApiError;
use crate::http::accept::{Amount, Encoding, Format, MetaVersion, View};
use crate::http::body::{self, Body};

/// The answer to a request that succeeded. A large one is written beside the threads that serve connections.
pub(crate) async fn respond(call: Call, outcome: Outcome) -> Result<Response<Body>, ApiError> {
    check_amount(&call, &outcome.content)?;
    let (server, size) = (call.server.clone(), work(&call, &outcome.content));
    server.aside.run(size, async move { write(call, outcome) }).await
}

/// Splicing stored bytes takes so many times less than making trees of them.
const SPLICING: usize = 16;

/// How much work it is to write an answer, in bytes of requests whose bodies take as long.
fn work(call: &Call, content: &Content) -> usize {
    let bytes = match content {
        Content::Entry(entry) => entry.value.len(),
        // Written chunk by chunk, as the client takes it. Messages are measured before.
        Content::List(_) if listed::is_streamed(call) && call.encoding.format == Format::Json => 0,
        Content::List(selected) => selected.entries.iter().map(|entry| entry.value.len()).sum(),
        // These came with a request, or are small.
        Content::Object(_) | Content::Tree(_) => 0,
    };
    if is_spliced(call) { bytes / SPLICING } else { bytes }
}

/// Whether stored objects are sent as they are, or parts of them.
fn is_spliced(call: &Call) -> bool {
    let is_part = matches!(call.encoding.view, View::Whole | View::Metadata(..));
    call.encoding.format == Format::Json && is_part && !is_pretty(call)
}

fn write(call: Call, outcome: Outcome) -> Result<Response<Body>, ApiError> {
    let Outcome { status, content } = outcome;
    let call = Arc::new(call);
    let in_protobuf = call.encoding.format == Format::Protobuf;
    let body = match content {
        Content::List(selected) => listed::body(call.clone(), selected)?,
        Content::Entry(entry) if in_protobuf => body::full(protobuf::entry(&call, &entry)?),
        Content::Entry(entry) => body::full(written(&call, entry_bytes(&call, &entry)?)?),
        Content::Object(object) if in_protobuf => body::full(protobuf::object(&call, &object)?),
        Content::Object(object) => body::full(written(&call, object_bytes(&call, &object)?)?),
        Content::Tree(value) if in_protobuf => {
            body::full(protobuf::object(&call, &Object::from_value(value).unwrap_or_default())?)
        }
        Content::Tree(value) => body::full(written(&call, codec::to_json(&other_view(&call, value)?))?),
    };
    Ok(answer(status, call.encoding.content_type(), body))
}

/// The answer to a request that failed, in a format; any definition of the schema will do as `beside`.
pub(crate) fn refusal(error: &ApiError, format: Format, beside: Option<&Root>) -> Response<Body> {
    let status = error.status();
    let encoded = match format {
        Format::Protobuf => beside.and_then(|root| protobuf::status(root, status.clone())),
        Format::Yaml => Some(yaml(&status)),
        Format::Json => None,
    };
    // Without a schema there is JSON, which every client reads.
    let format = if encoded.is_some() { format } else { Format::Json };
    let bytes = encoded.unwrap_or_else(|| codec::to_json(&status));
    let encoding = Encoding { format, view: View::Whole };
    answer(error.code(), encoding.content_type(), body::full(bytes))
}

/// Whoever asks for the metadata alone has to say whether it is that of an object or of a list.
fn check_amount(call: &Call, content: &Content) -> Result<(), ApiError> {
    let View::Metadata(_, asked) = call.encoding.view else { return Ok(()) };
    let kind = &call.kind.names.kind;
    let group = match &*call.kind.gv.group {
        "" | "events.k8s.io" => "core",
        group => group.split('.').next().unwrap_or(group),
    };
    match (asked, content) {
        (Amount::One, Content::List(_)) => Err(ApiError::NoSuchView(format!(
            "you requested PartialObjectMetadata, but the requested object is a list (*{group}.{kind}List)"
        ))),
        (Amount::List, Content::Entry(_) | Content::Object(_)) => Err(ApiError::NoSuchView(format!(
            "you requested PartialObjectMetadataList, but the requested object is not a list (*{group}.{kind})"
        ))),
        _ => Ok(()),
    }
}

/// An object of another kind than the call's, as the client wants it: a Scale has a Table of its own, a Status is always whole.
fn other_view(call: &Call, value: Value) -> Result<Value, ApiError> {
    if value["kind"] == "Status" {
        return Ok(value);
    }
    match call.encoding.view {
        View::Whole => Ok(value),
        View::Metadata(version, _) => {
            let object = Object::from_value(value).unwrap_or_default();
            Ok(versioned(table::partial_metadata(&object, &[]), version))
        }
        View::Table(version) => {
            let scale = Object::from_value(value).unwrap_or_default();
            let shape =
                Shape { columns: &scale::columns(), print: &Printer::Fixed(scale::print), hidden: &[] };
            Ok(versioned(one_row(call, shape, &scale)?, version))
        }
    }
}

/// The Table of one object.
fn one_row(call: &Call, shape: Shape<'_>, object: &Object) -> Result<Value, ApiError> {
    Ok(table::render(shape, object, call.now, include(call)?))
}

/// JSON text in the format of the answer.
pub(crate) fn written(call: &Call, json: Bytes) -> Result<Bytes, ApiError> {
    let tree = || serde_json::from_slice::<Value>(&json).map_err(|error| ApiError::internal(&error));
    match call.encoding.format {
        Format::Json if is_pretty(call) => {
            let mut text = serde_json::to_vec_pretty(&tree()?).map_err(|error| ApiError::internal(&error))?;
            text.push(b'\n');
            Ok(text.into())
        }
        Format::Json | Format::Protobuf => Ok(json),
        Format::Yaml => Ok(yaml(&tree()?)),
    }
}

/// Whether JSON is indented: for who asks for it, and for programs behind which people sit.
pub(crate) fn is_pretty(call: &Call) -> bool {
    match call.query.get("pretty") {
        "" => ["curl", "Wget", "Mozilla/5.0"].iter().any(|people| call.agent.starts_with(people)),
        asked => matches!(asked, "1" | "t" | "T" | "true" | "TRUE" | "True"),
    }
}

/// The answer to a watch.
pub(crate) fn stream(encoding: Encoding, events: Body) -> Response<Body> {
    answer(StatusCode::OK, encoding.stream_type(), events)
}

fn answer(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn entry_bytes(call: &Call, entry: &Entry) -> Result<Bytes, ApiError> {
    let mut out = Vec::with_capacity(entry.value.len() + codec::SPLICE_ROOM);
    match call.encoding.view {
        View::Whole => codec::splice(&mut out, &entry.value.bytes(), entry.modified),
        View::Metadata(version, _) => splice_metadata(call, &mut out, entry, version)?,
        View::Table(_) => return object_bytes(call, &*call.decoded(entry)?),
    }
    Ok(out.into())
}

/// Appends the PartialObjectMetadata of an entry.
pub(crate) fn splice_metadata(
    call: &Call,
    out: &mut Vec<u8>,
    entry: &Entry,
    version: MetaVersion,
) -> Result<(), ApiError> {
    if call.kind.strategy.added_annotations().is_empty() {
        codec::splice_metadata(out, entry, version)?;
    } else {
        codec::write_json(out, &alone(call, &*call.decoded(entry)?, version));
    }
    Ok(())
}

/// The PartialObjectMetadata of an object.
fn alone(call: &Call, object: &Object, version: MetaVersion) -> Value {
    versioned(table::partial_metadata(object, call.kind.strategy.added_annotations()), version)
}

fn object_bytes(call: &Call, object: &Object) -> Result<Bytes, ApiError> {
    Ok(match call.encoding.view {
        View::Whole => serialize(object),
        View::Table(version) => {
            let table = one_row(call, call.kind.shape(), object)?;
            codec::to_json(&versioned(table, version))
        }
        View::Metadata(version, _) => codec::to_json(&alone(call, object, version)),
    })
}

/// JSON of an object that is not (or not yet) stored, metadata first as for stored ones.
fn serialize(object: &Object) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    codec::write_json(&mut out, object.as_map());
    out.into()
}

/// The `includeObject` parameter.
pub(crate) fn include(call: &Call) -> Result<IncludeObject, ApiError> {
    let text = call.query.get("includeObject");
    text.parse().map_err(|error: table::UnknownInclude| {
        ApiError::BadRequest(format!("Unable to convert to Table as requested: {error}"))
    })
}

/// A Table or PartialObjectMetadata as another version of `meta.k8s.io`; the versions differ in name only.
pub(crate) fn versioned(mut value: Value, version: MetaVersion) -> Value {
    value["apiVersion"] = version.api_version().into();
    value
}

/// A tree as YAML.
pub(crate) fn yaml(value: &Value) -> Bytes {
    Bytes::from(skiff_machinery::yaml::to_string(value))
}
