//! The kinds that a CustomResourceDefinition defines: one for each version that it serves.

mod columns;
mod definition;
mod strategy;
mod version;

use std::sync::Arc;

use serde_json::Value;
use skiff_machinery::discovery::prefer;
use skiff_machinery::{Conversion, Convert, Kind, Object, Versions};
use skiff_schema::Schema;

pub use definition::{DefinitionError, is_established, is_terminating};
use definition::{array, gv, text};
use version::ServedVersion;

/// How objects of the definition's kind are asked to be converted; gets `spec.conversion.webhook`.
pub type Converter<'c> = dyn Fn(&Value) -> Arc<dyn Convert> + 'c;

/// The kinds of a definition, the most preferred version first.
///
/// # Errors
/// When a schema cannot be read.
pub fn kinds(
    definition: &Object,
    kubernetes: &Arc<Schema>,
    converter: &Converter<'_>,
) -> Result<Vec<Kind>, DefinitionError> {
    let spec = definition.get(&["spec"]).unwrap_or(&Value::Null);
    let mut served: Vec<ServedVersion<'_>> = array(&spec["versions"])
        .filter(|version| version["served"] == true)
        .map(|version| ServedVersion { definition, spec, version })
        .collect();
    skiff_ordered::sort_by(&mut served, |a, b| prefer(a.name(), b.name()));
    let versions = versions(spec, converter);
    served.iter().map(|version| version.kind(kubernetes, versions.clone())).collect()
}

/// In which version objects are stored, and how the others come of it.
fn versions(spec: &Value, converter: &Converter<'_>) -> Versions {
    let storage = array(&spec["versions"]).find(|version| version["storage"] == true);
    let conversion = match text(&spec["conversion"], "strategy") {
        "Webhook" => Conversion::Asked(converter(&spec["conversion"]["webhook"])),
        _ => Conversion::Same,
    };
    Versions { storage: storage.map(|version| gv(spec, text(version, "name"))), conversion }
}

#[cfg(test)]
mod tests;
