//! Answers in protobuf.

use bytes::Bytes;
use serde_json::Value;
use skiff_machinery::table::{self, ListMeta};
use skiff_machinery::{Object, protobuf};
use skiff_registry::{ApiError, codec};
use skiff_schema::Root;
use skiff_store::Entry;

use super::asked::Asked;
use crate::http::accept::{MetaVersion, View};

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// A stored object.
pub(crate) fn entry(asked: &Asked, entry: &Entry) -> Result<Bytes, ApiError> {
    if let View::Metadata(version, _) = asked.encoding.view {
        return metadata(asked, &*asked.decoded(entry)?, version);
    }
    let kind = &asked.call.kind;
    let message = message(asked, entry)?;
    Ok(protobuf::envelope(&kind.gv.to_string(), &kind.names.kind, &message).into())
}

/// An object that is not stored: the call's kind, what a subresource exchanges, or a Status.
pub(crate) fn object(asked: &Asked, object: &Object) -> Result<Bytes, ApiError> {
    match asked.encoding.view {
        View::Metadata(version, _) if object.kind() != "Status" => metadata(asked, object, version),
        _ => {
            let (group, version) = object.api_version().split_once('/').unwrap_or(("", object.api_version()));
            let root = asked.call.kind.root.of_kind(group, version, object.kind());
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
pub(crate) fn list_start(asked: &Asked, meta: &ListMeta, items: usize) -> Result<Vec<u8>, ApiError> {
    let meta = match meta.to_value() {
        Value::Object(map) => protobuf::metadata_message(&map, &sibling(asked, LIST_META)?),
        _ => Vec::new(),
    };
    let (api_version, name) = match asked.encoding.view {
        View::Metadata(version, _) => {
            (version.api_version().to_owned(), "PartialObjectMetadataList".to_owned())
        }
        _ => (asked.call.kind.gv.to_string(), format!("{}List", asked.call.kind.names.kind)),
    };
    Ok(protobuf::list_start(&api_version, &name, &meta, items))
}

/// The message of an item of a list.
pub(crate) fn item(asked: &Asked, entry: &Entry) -> Result<Bytes, ApiError> {
    match asked.encoding.view {
        View::Metadata(..) => wrapped(asked, &*asked.decoded(entry)?),
        _ => message(asked, entry),
    }
}

/// The message of a stored object, made once for all who want it.
fn message(asked: &Asked, entry: &Entry) -> Result<Bytes, ApiError> {
    let make = || Ok(codec::message(entry, &asked.call.kind.root)?.into());
    match asked.call.kind.versions.storage {
        // Several versions have the same key and revision.
        Some(_) => make(),
        None => asked.answers.messages.get(entry, make, Bytes::len),
    }
}

/// A PartialObjectMetadata.
fn metadata(asked: &Asked, object: &Object, version: MetaVersion) -> Result<Bytes, ApiError> {
    let message = wrapped(asked, object)?;
    Ok(protobuf::envelope(version.api_version(), "PartialObjectMetadata", &message).into())
}

/// The message of a PartialObjectMetadata.
fn wrapped(asked: &Asked, object: &Object) -> Result<Bytes, ApiError> {
    let metadata = table::metadata_alone(object, asked.call.kind.strategy.added_annotations());
    let metadata = protobuf::metadata_message(&metadata, &sibling(asked, OBJECT_META)?);
    Ok(protobuf::wrapped_metadata(&metadata).into())
}

fn sibling(asked: &Asked, name: &str) -> Result<Root, ApiError> {
    let root = asked.call.kind.root.sibling(name);
    root.ok_or_else(|| ApiError::Internal(format!("the schema of {:?} has no {name}", asked.call.kind)))
}
