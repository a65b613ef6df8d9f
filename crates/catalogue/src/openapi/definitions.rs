//! Full definitions, with descriptions and Kubernetes' extensions.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::schema::{self, Definition, ListKind, Schema, Type};
use crate::{Catalogue, GroupVersion, Persistence, discovery};

/// Which version of OpenAPI the definitions are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

impl Dialect {
    fn prefix(self) -> &'static str {
        match self {
            Self::V2 => "#/definitions/",
            Self::V3 => schema::REFERENCE_PREFIX,
        }
    }

    /// A reference to a definition.
    pub(super) fn reference(self, name: &str) -> Value {
        json!({"$ref": format!("{}{name}", self.prefix())})
    }
}

/// The definitions of the wanted roots and what they refer to, by name, and those of all lists.
pub(super) fn of(
    catalogue: &Catalogue,
    dialect: Dialect,
    wanted: &dyn Fn(&str) -> bool,
) -> Map<String, Value> {
    let documents = schema::documents(wanted);
    let scalars: Map<String, Value> = documents
        .iter()
        .filter_map(|(name, doc)| Some((name.clone(), scalar(name, doc, dialect)?)))
        .collect();
    let mut out = Map::new();
    for (name, mut document) in documents {
        match (scalars.get(&name), Schema::global().definition(&name)) {
            (Some(scalar), _) => document = scalar.clone(),
            (None, Some(definition)) => decorate(definition, &mut document, dialect),
            (None, None) => {}
        }
        out.insert(name, document);
    }
    let stored = catalogue.iter().filter(|kind| kind.persistence == Persistence::Stored);
    for kind in stored {
        out.insert(format!("{}List", kind.definition), list(kind.definition, &kind.names.kind, dialect));
    }
    for (name, kinds) in names(catalogue) {
        if let Some(document) = out.get_mut(&name) {
            document["x-kubernetes-group-version-kind"] = Value::Array(kinds);
        }
    }
    out
}

/// The definitions that others of the set refer to, starting at some.
pub(super) fn reachable<'n>(
    mut all: Map<String, Value>,
    roots: impl IntoIterator<Item = &'n str>,
    dialect: Dialect,
) -> Map<String, Value> {
    let mut out = Map::new();
    let mut pending: Vec<String> = roots.into_iter().map(str::to_owned).collect();
    while let Some(name) = pending.pop() {
        if let Some(document) = all.remove(&name) {
            references(&document, dialect, &mut pending);
            out.insert(name, document);
        }
    }
    out
}

fn references(value: &Value, dialect: Dialect, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let reference = map.get("$ref").and_then(Value::as_str);
            out.extend(reference.and_then(|r| r.strip_prefix(dialect.prefix())).map(str::to_owned));
            map.values().for_each(|value| references(value, dialect, out));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, dialect, out)),
        _ => {}
    }
}

/// Definitions that are text or a number on the wire.
fn scalar(name: &str, document: &Value, dialect: Dialect) -> Option<Value> {
    let mut out = match (name, dialect) {
        ("io.k8s.apimachinery.pkg.api.resource.Quantity", Dialect::V3) => {
            json!({"oneOf": [{"type": "string"}, {"type": "number"}]})
        }
        ("io.k8s.apimachinery.pkg.api.resource.Quantity", Dialect::V2) => json!({"type": "string"}),
        ("io.k8s.apimachinery.pkg.util.intstr.IntOrString", Dialect::V3) => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        ("io.k8s.apimachinery.pkg.util.intstr.IntOrString", Dialect::V2) => {
            json!({"type": "string", "format": "int-or-string"})
        }
        _ => return None,
    };
    out["description"] = document["description"].clone();
    Some(out)
}

fn decorate(definition: &Definition, document: &mut Value, dialect: Dialect) {
    if definition.atomic {
        document["x-kubernetes-map-type"] = "atomic".into();
    }
    let Some(properties) = document["properties"].as_object_mut() else { return };
    for (name, property) in properties {
        rewrite_references(property, dialect);
        let Some(field) = definition.field(name) else { continue };
        if let Some(strategy) = field.patch.strategy() {
            property["x-kubernetes-patch-strategy"] = strategy.into();
        }
        if let Some(key) = field.patch.key {
            property["x-kubernetes-patch-merge-key"] = key.into();
        }
        match (field.ty, field.list) {
            (Type::List(_), ListKind::Map(keys)) => {
                property["x-kubernetes-list-type"] = "map".into();
                property["x-kubernetes-list-map-keys"] = json!(keys);
            }
            (Type::List(_), ListKind::Set) => property["x-kubernetes-list-type"] = "set".into(),
            (Type::List(_), _) => property["x-kubernetes-list-type"] = "atomic".into(),
            (Type::Map(_), ListKind::Atomic) => property["x-kubernetes-map-type"] = "atomic".into(),
            _ => {}
        }
    }
}

/// Brings references from the form in which they are generated into the dialect's. Version 3 has no room beside `$ref`, so that a description
/// goes beside an `allOf`.
fn rewrite_references(schema: &mut Value, dialect: Dialect) {
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(Value::String(reference)) = map.remove("$ref") {
        let name = reference.strip_prefix(Dialect::V3.prefix()).unwrap_or(&reference);
        match dialect {
            Dialect::V2 => map.extend([("$ref".to_owned(), format!("{}{name}", dialect.prefix()).into())]),
            Dialect::V3 => map.extend([("allOf".to_owned(), json!([dialect.reference(name)]))]),
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(inner) {
            rewrite_references(inner, dialect);
        }
    }
}

fn list(definition: &str, kind: &str, dialect: Dialect) -> Value {
    let reference = |name: &str| {
        let mut reference = Dialect::V3.reference(name);
        rewrite_references(&mut reference, dialect);
        reference
    };
    json!({
        "description": format!("{kind}List is a list of {kind} objects."),
        "type": "object",
        "properties": {
            "apiVersion": {"description": "The version of the list's schema.", "type": "string"},
            "items": {
                "description": format!("The {kind} objects."),
                "type": "array",
                "items": reference(definition),
            },
            "kind": {"description": "The kind of the list.", "type": "string"},
            "metadata": reference("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"),
        },
        "required": ["items"],
    })
}

/// The kinds that are described by each definition, as `x-kubernetes-group-version-kind` lists them.
fn names(catalogue: &Catalogue) -> BTreeMap<String, Vec<Value>> {
    let mut out: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut add = |definition: &str, gv: &GroupVersion, kind: &str| {
        let entry = json!({"group": gv.group, "kind": kind, "version": gv.version});
        let list = out.entry(definition.to_owned()).or_default();
        if !list.contains(&entry) {
            list.push(entry);
        }
    };
    for kind in catalogue.iter() {
        add(kind.definition, &kind.gv, &kind.names.kind);
        if kind.persistence == Persistence::Stored {
            add(&format!("{}List", kind.definition), &kind.gv, &format!("{}List", kind.names.kind));
        }
        for subresource in kind.subresources {
            let exchange = kind.exchange(*subresource);
            if let Some(definition) = exchange.definition {
                add(definition, &exchange.gv, &exchange.kind);
            }
        }
    }
    add("io.k8s.apimachinery.pkg.apis.meta.v1.Status", &GroupVersion::fixed("", "v1"), "Status");
    for gv in discovery::group_versions(catalogue) {
        add("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", &gv, "DeleteOptions");
    }
    out
}
