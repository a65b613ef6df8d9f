//! The kinds that a CustomResourceDefinition defines: one for each version that it serves.

mod columns;
mod strategy;
mod version;

use std::sync::Arc;

use serde_json::Value;
use skiff_machinery::discovery::prefer;
use skiff_machinery::{Conversion, Convert, GroupVersion, Kind, Names, Object, Scope, Versions};
use skiff_schema::{Schema, Text};
use thiserror::Error;

use strategy::CustomStrategy;
use version::ServedVersion;

/// A definition of which no kinds can be made. The API refuses such definitions; it was stored by somebody else.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("version {version}: {why}")]
pub struct DefinitionError {
    version: String,
    why: String,
}

/// How objects of the definition's kind are asked to be converted; gets `spec.conversion.webhook`.
pub type Converter<'c> = dyn Fn(&Value) -> Arc<dyn Convert> + 'c;

/// Whether the kinds of a definition are served: its names are its own, and it is not on its way out.
pub fn is_established(definition: &Object) -> bool {
    has_condition(definition, "Established")
}

/// Whether a definition waits for its objects to go, so that no new ones may come.
pub fn is_terminating(definition: &Object) -> bool {
    has_condition(definition, "Terminating")
}

fn has_condition(definition: &Object, name: &str) -> bool {
    let conditions = definition.get(&["status", "conditions"]).and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| one["type"] == name && one["status"] == "True")
}

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
    served.sort_by(|a, b| prefer(a.name(), b.name()));
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

fn names(definition: &Object) -> Names {
    let names = definition.get(&["status", "acceptedNames"]).unwrap_or(&Value::Null);
    let list = |field: &str| array(&names[field]).filter_map(Value::as_str).map(owned).collect();
    Names {
        kind: owned(text(names, "kind")),
        plural: owned(text(names, "plural")),
        singular: owned(text(names, "singular")),
        short: list("shortNames"),
        categories: list("categories"),
        list: Some(owned(text(names, "listKind"))).filter(|name| !name.is_empty()),
    }
}

fn scope(spec: &Value) -> Scope {
    if text(spec, "scope") == "Cluster" { Scope::Cluster } else { Scope::Namespaced }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

fn owned(text: &str) -> Text {
    Text::Owned(text.to_owned())
}

fn gv(spec: &Value, version: &str) -> GroupVersion {
    GroupVersion { group: owned(text(spec, "group")), version: owned(version) }
}

#[cfg(test)]
mod tests;
