//! Patches as trees.

use serde_json::Value;

use crate::go;

/// A patch as a tree, or why it is none in Go's words.
pub(super) fn parse(patch: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(patch)
        .map_err(|error| go::syntax_error(patch).unwrap_or_else(|| error.to_string()))
}
