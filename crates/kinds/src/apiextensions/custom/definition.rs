//! A CustomResourceDefinition, as far as kinds are made of it.

use serde_json::Value;
use skiff_machinery::{GroupVersion, Names, Object, Scope};
use skiff_schema::Text;
use thiserror::Error;

/// A definition of which no kinds can be made. The API refuses such definitions; it was stored by somebody else.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("version {version}: {why}")]
pub struct DefinitionError {
    pub(super) version: String,
    pub(super) why: String,
}

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

pub(super) fn names(definition: &Object) -> Names {
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

pub(super) fn scope(spec: &Value) -> Scope {
    if text(spec, "scope") == "Cluster" { Scope::Cluster } else { Scope::Namespaced }
}

pub(super) fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

pub(super) fn owned(text: &str) -> Text {
    Text::Owned(text.to_owned())
}

pub(super) fn gv(spec: &Value, version: &str) -> GroupVersion {
    GroupVersion { group: owned(text(spec, "group")), version: owned(version) }
}
