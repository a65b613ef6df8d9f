//! Answers in protobuf.

use bytes::Bytes;
use serde_json::Value;
use skiff_machinery::table::{self, ListMeta};
use skiff_machinery::{Object, protobuf};
use skiff_schema::Root;
use skiff_store::Entry;

use super::call::Call;
use crate::errors::ApiError;
use crate::http::accept::{MetaVersion, View};

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// A stored object.
pub(crate) fn entry(call: &Call, entry: &Entry) -> Result<Bytes, ApiError> {
    if let View::Metadata(version, _) = call.encoding.view {
        return metadata(call, &*call.decoded(entry)?, version);
    }
    let kind = &call.kind;
    let message = message(call, entry)?;
    Ok(protobuf::envelope(&kind.gv.to_string(), &kind.names.kind, &message).into())
}

/// An object that is not stored: the call's kind, what a subresource exchanges, or a Status.
pub(crate) fn object(call: &Call, object: &Object) -> Result<Bytes, ApiError> {
    match call.encoding.view {
        View::Metadata(version, _) if object.kind() != "Status" => metadata(call, object, version),
        _ => {
            let (group, version) = object.api_version().split_once('/').unwrap_or(("", object.api_version()));
            let root = call.kind.root.of_kind(group, version, object.kind());
            let root = root
                .ok_or_else(|| ApiError::NoSuchView(format!("there is no {} in protobuf", object.kind())))?;
            Ok(protobuf::object(object, &root).into())
        }
    }
}

/// A Status; any definition of the schema will do as `beside`.
pub(crate) fn status(beside: &Root, status: Value) -> Option<Bytes> {
    let root = beside.sibling(STATUS)?;
    Some(protobuf::object(&Object::from_value(status).ok()?, &root).into())
}

/// What a list begins with whose items take so many bytes.
pub(crate) fn list_start(call: &Call, meta: &ListMeta, items: usize) -> Result<Vec<u8>, ApiError> {
    let meta = match meta.to_value() {
        Value::Object(map) => protobuf::metadata_message(&map, &sibling(call, LIST_META)?),
        _ => Vec::new(),
    };
    let (api_version, name) = match call.encoding.view {
        View::Metadata(version, _) => {
            (version.api_version().to_owned(), "PartialObjectMetadataList".to_owned())
        }
        _ => (call.kind.gv.to_string(), format!("{}List", call.kind.names.kind)),
    };
    Ok(protobuf::list_start(&api_version, &name, &meta, items))
}

/// The message of an item of a list.
pub(crate) fn item(call: &Call, entry: &Entry) -> Result<Bytes, ApiError> {
    match call.encoding.view {
        View::Metadata(..) => wrapped(call, &*call.decoded(entry)?),
        _ => message(call, entry),
    }
}

/// The message of a stored object, made once for all who want it.
fn message(call: &Call, entry: &Entry) -> Result<Bytes, ApiError> {
    call.server.messages.get(entry, || {
        let object = call.decoded(entry)?;
        Ok(protobuf::message(&object, &call.kind.root).into())
    })
}

/// A PartialObjectMetadata.
fn metadata(call: &Call, object: &Object, version: MetaVersion) -> Result<Bytes, ApiError> {
    let message = wrapped(call, object)?;
    Ok(protobuf::envelope(version.api_version(), "PartialObjectMetadata", &message).into())
}

/// The message of a PartialObjectMetadata.
fn wrapped(call: &Call, object: &Object) -> Result<Bytes, ApiError> {
    let metadata = table::metadata_alone(object, call.kind.strategy.added_annotations());
    let metadata = protobuf::metadata_message(&metadata, &sibling(call, OBJECT_META)?);
    Ok(protobuf::wrapped_metadata(&metadata).into())
}

fn sibling(call: &Call, name: &str) -> Result<Root, ApiError> {
    let root = call.kind.root.sibling(name);
    root.ok_or_else(|| ApiError::Internal(format!("the schema of {:?} has no {name}", call.kind)))
}
