//! What of an answer its format decides, and what its client has asked for beside that.

use bytes::Bytes;
use serde_json::Value;
use skiff_machinery::Object;
use skiff_machinery::table::{self, IncludeObject};
use skiff_registry::{ApiError, codec};
use skiff_store::Entry;

use super::asked::Asked;
use crate::http::accept::{Format, MetaVersion};

/// JSON text in the format of the answer.
pub(crate) fn written(asked: &Asked, json: Bytes) -> Result<Bytes, ApiError> {
    let tree = || serde_json::from_slice::<Value>(&json).map_err(|error| ApiError::internal(&error));
    match asked.encoding.format {
        Format::Json if is_pretty(asked) => {
            let mut text = serde_json::to_vec_pretty(&tree()?).map_err(|error| ApiError::internal(&error))?;
            text.push(b'\n');
            Ok(text.into())
        }
        Format::Json | Format::Protobuf => Ok(json),
        Format::Yaml => Ok(yaml(&tree()?)),
    }
}

/// Whether JSON is indented: for who asks for it, and for programs behind which people sit.
pub(crate) fn is_pretty(asked: &Asked) -> bool {
    match asked.call.query.get("pretty") {
        "" => ["curl", "Wget", "Mozilla/5.0"].iter().any(|people| asked.call.agent.starts_with(people)),
        asked => matches!(asked, "1" | "t" | "T" | "true" | "TRUE" | "True"),
    }
}

/// The `includeObject` parameter.
pub(crate) fn include(asked: &Asked) -> Result<IncludeObject, ApiError> {
    let text = asked.call.query.get("includeObject");
    text.parse().map_err(|error: table::UnknownInclude| {
        ApiError::BadRequest(format!("Unable to convert to Table as requested: {error}"))
    })
}

/// A Table or PartialObjectMetadata as another version of `meta.k8s.io`; the versions differ in name only.
pub(crate) fn versioned(mut value: Value, version: MetaVersion) -> Value {
    value["apiVersion"] = version.api_version().into();
    let rows = value.get_mut("rows").and_then(Value::as_array_mut);
    rows.into_iter().flatten().for_each(|row| version_row(row, version));
    value
}

/// A row of a Table as another version of `meta.k8s.io` has it.
pub(super) fn version_row(row: &mut Value, version: MetaVersion) {
    if row["object"]["kind"] == "PartialObjectMetadata" {
        row["object"]["apiVersion"] = version.api_version().into();
    }
}

/// Appends the PartialObjectMetadata of an entry.
pub(crate) fn splice_metadata(
    asked: &Asked,
    out: &mut Vec<u8>,
    entry: &Entry,
    version: MetaVersion,
) -> Result<(), ApiError> {
    if asked.call.kind.strategy.added_annotations().is_empty() {
        codec::splice_metadata(out, entry, version.api_version())?;
    } else {
        codec::write_json(out, &alone(asked, &*asked.decoded(entry)?, version));
    }
    Ok(())
}

/// The PartialObjectMetadata of an object.
pub(crate) fn alone(asked: &Asked, object: &Object, version: MetaVersion) -> Value {
    versioned(table::partial_metadata(object, asked.call.kind.strategy.added_annotations()), version)
}

/// A tree as YAML.
pub(crate) fn yaml(value: &Value) -> Bytes {
    Bytes::from(skiff_machinery::yaml::to_string(value))
}
