//! Outcomes → HTTP answers in the representation that the client wants.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use skiff_catalogue::Object;
use skiff_catalogue::table::{self, IncludeObject, ListMeta};
use skiff_store::Entry;

use super::call::Call;
use super::list::Selected;
use super::{Content, Outcome, codec};
use crate::errors::ApiError;
use crate::http::accept::{Encoding, MetaVersion};
use crate::http::body::{self, Body};

/// The answer to a request that succeeded.
pub(crate) fn respond(call: &Call, outcome: Outcome) -> Result<Response<Body>, ApiError> {
    let Outcome { status, content } = outcome;
    let bytes = match content {
        Content::Entry(entry) => entry_bytes(call, &entry)?,
        Content::Object(object) => object_bytes(call, &object)?,
        Content::List(selected) => {
            let room = call.server.gate.list(call.share, list_size(call.encoding, &selected))?;
            let body = body::holding(body::full(list_bytes(call, &selected)?), room);
            return Ok(answer(status, call.encoding, body));
        }
        Content::Tree(value) => text(call.encoding, &value),
    };
    Ok(answer(status, call.encoding, body::full(bytes)))
}

/// The answer to a watch.
pub(crate) fn stream(encoding: Encoding, events: Body) -> Response<Body> {
    answer(StatusCode::OK, encoding, events)
}

fn answer(status: StatusCode, encoding: Encoding, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
    response
}

fn entry_bytes(call: &Call, entry: &Entry) -> Result<Bytes, ApiError> {
    let mut out = Vec::with_capacity(entry.value.len() + codec::SPLICE_ROOM);
    match call.encoding {
        Encoding::Json => codec::splice(&mut out, &entry.value, entry.modified),
        Encoding::Metadata(version) => codec::splice_metadata(&mut out, entry, version)?,
        Encoding::Table(_) | Encoding::Yaml => return object_bytes(call, &*call.decoded(entry)?),
    }
    Ok(out.into())
}

fn object_bytes(call: &Call, object: &Object) -> Result<Bytes, ApiError> {
    Ok(match call.encoding {
        Encoding::Json => serialize(object),
        Encoding::Yaml => yaml(&Value::Object(object.as_map().clone())),
        Encoding::Table(version) => {
            let meta =
                ListMeta { resource_version: object.resource_version().to_owned(), ..ListMeta::default() };
            let table = table::render(&call.kind, [object], call.now, include(call)?, &meta);
            codec::to_json(&versioned(table, version))
        }
        Encoding::Metadata(version) => codec::to_json(&versioned(table::partial_metadata(object), version)),
    })
}

/// JSON of an object that is not (or not yet) stored, metadata first as for stored ones.
fn serialize(object: &Object) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    codec::write_json(&mut out, object.as_map());
    out.into()
}

fn list_bytes(call: &Call, selected: &Selected) -> Result<Bytes, ApiError> {
    let meta = list_meta(selected);
    match call.encoding {
        Encoding::Json => {
            let item = |out: &mut Vec<u8>, entry: &Entry| {
                codec::splice(out, &entry.value, entry.modified);
                Ok(())
            };
            let kind = format!("{}List", call.kind.names.kind);
            spliced_list(&kind, &call.kind.gv.to_string(), &selected.entries, &meta, item)
        }
        Encoding::Metadata(version) => {
            let item = |out: &mut Vec<u8>, entry: &Entry| Ok(codec::splice_metadata(out, entry, version)?);
            let api_version = version.api_version();
            spliced_list("PartialObjectMetadataList", api_version, &selected.entries, &meta, item)
        }
        Encoding::Yaml => {
            let items: Result<Vec<Value>, ApiError> = selected
                .entries
                .iter()
                .map(|entry| Ok(Value::Object(call.decoded(entry)?.as_map().clone())))
                .collect();
            let kind = format!("{}List", call.kind.names.kind);
            Ok(yaml(&json!({
                "kind": kind, "apiVersion": call.kind.gv.to_string(), "metadata": meta.to_value(), "items": items?,
            })))
        }
        Encoding::Table(version) => {
            let objects: Result<Vec<_>, ApiError> =
                selected.entries.iter().map(|entry| call.decoded(entry)).collect();
            let objects = objects?;
            let rows = objects.iter().map(|object| &**object);
            let table = table::render(&call.kind, rows, call.now, include(call)?, &meta);
            Ok(codec::to_json(&versioned(table, version)))
        }
    }
}

/// A tree takes so many times the memory of its text.
const TREE: usize = 8;

/// The memory that a list takes until it is sent, about.
fn list_size(encoding: Encoding, selected: &Selected) -> usize {
    let bytes: usize = selected.entries.iter().map(|entry| entry.value.len() + codec::SPLICE_ROOM).sum();
    match encoding {
        Encoding::Json | Encoding::Metadata(_) => bytes,
        Encoding::Yaml | Encoding::Table(_) => bytes.saturating_mul(TREE),
    }
}

fn list_meta(selected: &Selected) -> ListMeta {
    ListMeta {
        resource_version: selected.revision.to_string(),
        continue_token: Some(selected.continue_token.clone()).filter(|token| !token.is_empty()),
        remaining: selected.remaining.map(|n| n as u64),
    }
}

/// A list without decoding its items, each written by `item`.
fn spliced_list(
    kind: &str,
    api_version: &str,
    entries: &[Entry],
    meta: &ListMeta,
    item: impl Fn(&mut Vec<u8>, &Entry) -> Result<(), ApiError>,
) -> Result<Bytes, ApiError> {
    let size: usize = entries.iter().map(|entry| entry.value.len() + codec::SPLICE_ROOM).sum();
    let mut out = Vec::with_capacity(size + 512);
    out.extend_from_slice(br#"{"kind":"#);
    codec::write_json(&mut out, &kind);
    out.extend_from_slice(br#","apiVersion":"#);
    codec::write_json(&mut out, &api_version);
    out.extend_from_slice(br#","metadata":"#);
    codec::write_json(&mut out, &meta.to_value());
    out.extend_from_slice(br#","items":["#);
    for (i, entry) in entries.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        item(&mut out, entry)?;
    }
    out.extend_from_slice(b"]}\n");
    Ok(out.into())
}

/// The `includeObject` parameter.
pub(crate) fn include(call: &Call) -> Result<IncludeObject, ApiError> {
    let text = call.query.get("includeObject");
    text.parse().map_err(|error: table::UnknownInclude| ApiError::BadRequest(error.to_string()))
}

/// A Table or PartialObjectMetadata as another version of `meta.k8s.io`; the versions differ in name only.
pub(crate) fn versioned(mut value: Value, version: MetaVersion) -> Value {
    value["apiVersion"] = version.api_version().into();
    value
}

fn text(encoding: Encoding, value: &Value) -> Bytes {
    if encoding == Encoding::Yaml { yaml(value) } else { codec::to_json(value) }
}

fn yaml(value: &Value) -> Bytes {
    let text = serde_saphyr::to_string(value).expect("JSON trees have a YAML form");
    Bytes::from(text)
}
