//! Outcomes → HTTP answers in the representation that the client wants.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;
use skiff_machinery::table::{self, Shape};
use skiff_machinery::{Object, Printer, scale};
use skiff_registry::{ApiError, Content, Outcome, codec};
use skiff_schema::Root;
use skiff_store::Entry;

use super::asked::Asked;
use super::{format, listed, protobuf};
use crate::http::accept::{Amount, Encoding, Format, View};
use crate::http::body::{self, Body};

/// The answer to a request that succeeded. A large one is written beside the threads that serve connections.
pub(crate) async fn respond(asked: Asked, outcome: Outcome) -> Result<Response<Body>, ApiError> {
    check_amount(&asked, &outcome.content)?;
    let (answers, size) = (asked.answers.clone(), work(&asked, &outcome.content));
    answers.aside.run(size, async move { write(asked, outcome) }).await
}

/// Splicing stored bytes takes so many times less than making trees of them.
const SPLICING: usize = 16;

/// How much work it is to write an answer, in bytes of requests whose bodies take as long.
fn work(asked: &Asked, content: &Content) -> usize {
    let bytes = match content {
        Content::Entry(entry) => entry.value.len(),
        // Written chunk by chunk, as the client takes it. Messages are measured before.
        Content::List(_) if listed::is_streamed(asked) && asked.encoding.format == Format::Json => 0,
        Content::List(selected) => selected.entries.iter().map(|entry| entry.value.len()).sum(),
        // These came with a request, or are small.
        Content::Object(_) | Content::Tree(_) => 0,
    };
    if is_spliced(asked) { bytes / SPLICING } else { bytes }
}

/// Whether stored objects are sent as they are, or parts of them.
fn is_spliced(asked: &Asked) -> bool {
    let is_part = matches!(asked.encoding.view, View::Whole | View::Metadata(..));
    asked.encoding.format == Format::Json && is_part && !format::is_pretty(asked)
}

fn write(asked: Asked, outcome: Outcome) -> Result<Response<Body>, ApiError> {
    let Outcome { status, content } = outcome;
    let asked = Arc::new(asked);
    let in_protobuf = asked.encoding.format == Format::Protobuf;
    let body = match content {
        Content::List(selected) => listed::body(asked.clone(), selected)?,
        Content::Entry(entry) if in_protobuf => body::full(protobuf::entry(&asked, &entry)?),
        Content::Entry(entry) => body::full(format::written(&asked, entry_bytes(&asked, &entry)?)?),
        Content::Object(object) if in_protobuf => body::full(protobuf::object(&asked, &object)?),
        Content::Object(object) => body::full(format::written(&asked, object_bytes(&asked, &object)?)?),
        Content::Tree(value) if in_protobuf => {
            body::full(protobuf::object(&asked, &Object::from_value(value).unwrap_or_default())?)
        }
        Content::Tree(value) => {
            body::full(format::written(&asked, codec::to_json(&other_view(&asked, value)?))?)
        }
    };
    Ok(answer(status, asked.encoding.content_type(), body))
}

/// The answer to a request that failed, in a format; any definition of the schema will do as `beside`.
pub(crate) fn refusal(error: &ApiError, format: Format, beside: Option<&Root>) -> Response<Body> {
    let status = error.status();
    let encoded = match format {
        Format::Protobuf => beside.and_then(|root| protobuf::status(root, status.clone())),
        Format::Yaml => Some(format::yaml(&status)),
        Format::Json => None,
    };
    // Without a schema there is JSON, which every client reads.
    let format = if encoded.is_some() { format } else { Format::Json };
    let bytes = encoded.unwrap_or_else(|| codec::to_json(&status));
    let encoding = Encoding { format, view: View::Whole };
    answer(error.code(), encoding.content_type(), body::full(bytes))
}

/// Whoever asks for the metadata alone has to say whether it is that of an object or of a list.
fn check_amount(asked: &Asked, content: &Content) -> Result<(), ApiError> {
    let View::Metadata(_, amount) = asked.encoding.view else { return Ok(()) };
    let kind = &asked.call.kind.names.kind;
    let group = match &*asked.call.kind.gv.group {
        "" | "events.k8s.io" => "core",
        group => group.split('.').next().unwrap_or(group),
    };
    match (amount, content) {
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
fn other_view(asked: &Asked, value: Value) -> Result<Value, ApiError> {
    if value["kind"] == "Status" {
        return Ok(value);
    }
    match asked.encoding.view {
        View::Whole => Ok(value),
        View::Metadata(version, _) => {
            let object = Object::from_value(value).unwrap_or_default();
            Ok(format::versioned(table::partial_metadata(&object, &[]), version))
        }
        View::Table(version) => {
            let scale = Object::from_value(value).unwrap_or_default();
            let shape =
                Shape { columns: &scale::columns(), print: &Printer::Fixed(scale::print), hidden: &[] };
            Ok(format::versioned(one_row(asked, shape, &scale)?, version))
        }
    }
}

/// The Table of one object.
fn one_row(asked: &Asked, shape: Shape<'_>, object: &Object) -> Result<Value, ApiError> {
    Ok(table::render(shape, object, asked.call.now, format::include(asked)?))
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

fn entry_bytes(asked: &Asked, entry: &Entry) -> Result<Bytes, ApiError> {
    let mut out = Vec::with_capacity(entry.value.len() + codec::SPLICE_ROOM);
    match asked.encoding.view {
        View::Whole => entry.value.read(|text| codec::splice(&mut out, text, entry.modified)),
        View::Metadata(version, _) => format::splice_metadata(asked, &mut out, entry, version)?,
        View::Table(_) => return object_bytes(asked, &*asked.decoded(entry)?),
    }
    Ok(out.into())
}

fn object_bytes(asked: &Asked, object: &Object) -> Result<Bytes, ApiError> {
    Ok(match asked.encoding.view {
        View::Whole => serialize(object),
        View::Table(version) => {
            let table = one_row(asked, asked.call.kind.shape(), object)?;
            codec::to_json(&format::versioned(table, version))
        }
        View::Metadata(version, _) => codec::to_json(&format::alone(asked, object, version)),
    })
}

/// JSON of an object that is not (or not yet) stored, metadata first as for stored ones.
fn serialize(object: &Object) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    codec::write_json(&mut out, object.as_map());
    out.into()
}
