//! The three kinds of patches: `(object, patch) → object`. Nothing is checked against the kind's fields
//! here; the caller passes the outcome through [`crate::strict::prune`].

mod error;
mod json;
mod merge;
mod restore;
mod strategic;
mod text;

use serde_json::{Map, Value};
use skiff_schema::Root;

use crate::{Object, go};
pub use error::PatchError;
pub use restore::refuse_tree;
use text::parse;

/// Applies a JSON patch (RFC 6902).
pub fn json(object: &Object, patch: &[u8]) -> Result<Object, PatchError> {
    let operations = json::parse(patch)?;
    let mut document = Value::Object(object.as_map().clone());
    json::apply(&mut document, &operations)?;
    Object::from_value(document).map_err(|error| PatchError::Unprocessable(error.to_string()))
}

/// The containers that a JSON patch or a merge patch takes apart, as objects in objects; see [`crate::go::written`].
pub fn touched(patch: &[u8]) -> Value {
    match serde_json::from_slice(patch) {
        Ok(Value::Array(operations)) => json::touched(&operations),
        Ok(other) => other,
        Err(_) => Value::Null,
    }
}

/// Applies a JSON merge patch (RFC 7386).
pub fn merge(object: &Object, patch: &[u8]) -> Result<Object, PatchError> {
    let patch = parse_object(patch).map_err(PatchError::Decode)?;
    let mut document = object.as_map().clone();
    merge::apply(&mut document, patch);
    Ok(document.into())
}

/// Applies a strategic merge patch to an object of a definition.
pub fn strategic(object: &Object, patch: &[u8], root: &Root) -> Result<Object, PatchError> {
    let patch = parse_object(patch).map_err(PatchError::Malformed)?;
    let merged = strategic::apply(root.schema(), root.ty(), object.as_map().clone(), patch)?;
    Ok(merged.into())
}

/// The patch as an object, or why it is none in Go's words.
fn parse_object(patch: &[u8]) -> Result<Map<String, Value>, String> {
    match parse(patch)? {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => {
            let found = go::json_type(&other);
            Err(format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"))
        }
    }
}
