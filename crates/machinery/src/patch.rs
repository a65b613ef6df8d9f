//! The three kinds of patches: `(object, patch) → object`. Nothing is checked against the kind's fields
//! here; the caller passes the outcome through [`crate::strict::prune`].

mod json;
mod merge;
mod strategic;

use serde_json::Value;
use thiserror::Error;

use skiff_schema::Root;

use crate::Object;

/// Why a patch was refused.
#[derive(Debug, Error)]
pub enum PatchError {
    /// The patch is not JSON, or not JSON of the right shape: 400.
    #[error("error decoding patch: {}", if .0.is_eof() { "unexpected end of JSON input".to_owned() } else { .0.to_string() })]
    Decode(#[from] serde_json::Error),
    /// The patch is JSON but says something that no patch of its kind may say: 400.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not apply to this object (failed test, missing path): 422.
    #[error("{0}")]
    Unprocessable(String),
}

impl PatchError {
    /// Whether the fault is in the patch alone (400), not in how it meets the object (422).
    pub fn is_malformed(&self) -> bool {
        !matches!(self, Self::Unprocessable(_))
    }
}

/// Applies a JSON patch (RFC 6902).
pub fn json(object: &Object, patch: &[u8]) -> Result<Object, PatchError> {
    let operations = json::parse(patch)?;
    let mut document = Value::Object(object.as_map().clone());
    json::apply(&mut document, &operations)?;
    Object::from_value(document).map_err(|error| PatchError::Unprocessable(error.to_string()))
}

/// Applies a JSON merge patch (RFC 7386).
pub fn merge(object: &Object, patch: &[u8]) -> Result<Object, PatchError> {
    let patch = parse_object(patch)?;
    let mut document = object.as_map().clone();
    merge::apply(&mut document, patch);
    Ok(document.into())
}

/// Applies a strategic merge patch to an object of a definition.
pub fn strategic(object: &Object, patch: &[u8], root: &Root) -> Result<Object, PatchError> {
    let patch = parse_object(patch)?;
    let merged = strategic::apply(root.schema(), root.ty(), object.as_map().clone(), patch)?;
    Ok(merged.into())
}

fn parse_object(patch: &[u8]) -> Result<serde_json::Map<String, Value>, PatchError> {
    Ok(serde_json::from_slice(patch)?)
}
