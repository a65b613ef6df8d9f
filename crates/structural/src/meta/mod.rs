//! `apiVersion`, `kind` and `metadata` of whole objects and of those embedded in them.

mod coerce;
mod read;
mod validate;

use std::sync::Arc;

use serde_json::Value;
use skiff_machinery::strict;
use skiff_schema::{Root, Schema};

pub use coerce::{Coerced, Malformed};
pub use read::ReadError;
pub use validate::check_metadata;
pub(crate) use validate::check_metadata_at;

/// What is known of ObjectMeta: reads metadata of custom resources.
#[derive(Clone, Debug)]
pub struct ObjectMeta(Root);

/// Metadata as ObjectMeta, and the paths below it that ObjectMeta does not know.
struct Decoded {
    value: Value,
    unknown: Vec<String>,
}

impl ObjectMeta {
    /// From the schema of the built-in kinds; none if it has no ObjectMeta.
    pub fn of(kubernetes: &Arc<Schema>) -> Option<Self> {
        kubernetes.root("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").map(Self)
    }

    /// Reads metadata; an error says in Go's words what has the wrong type.
    fn decode(&self, value: &Value) -> Result<Decoded, String> {
        // A null is an ObjectMeta of which nothing is set.
        let value = if value.is_null() { Value::Object(serde_json::Map::new()) } else { value.clone() };
        let decoded = strict::prune(value, &self.0).map_err(|error| error.to_string())?;
        let unknown = decoded.problems.iter().filter_map(|problem| {
            let quoted = problem.strip_prefix("unknown field ")?;
            serde_json::from_str(quoted).ok()
        });
        Ok(Decoded { unknown: unknown.collect(), value: decoded.object.into_value() })
    }
}

#[cfg(test)]
mod tests;
