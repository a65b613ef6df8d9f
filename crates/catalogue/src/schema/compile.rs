//! From JSON schemas to the arena.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::roots::REFERENCE_PREFIX;
use super::{Definition, DefinitionId, Field, Schema, Type, TypeId, merge};

/// Reads the schemas of all definitions.
pub(super) fn compile(documents: &Map<String, Value>) -> Schema {
    let mut compiler = Compiler { documents, schema: Schema::default(), types: BTreeMap::new() };
    for (name, document) in documents {
        if scalar(name, document).is_none() {
            let id = DefinitionId(index(compiler.schema.by_name.len()));
            compiler.schema.by_name.insert(name.as_str().into(), id);
        }
    }
    for (name, document) in documents {
        if scalar(name, document).is_none() {
            let definition = compiler.definition(name, document);
            compiler.schema.definitions.push(definition);
        }
    }
    compiler.schema.types.shrink_to_fit();
    compiler.schema
}

struct Compiler<'a> {
    documents: &'a Map<String, Value>,
    schema: Schema,
    /// Types already in the arena, by their printed form.
    types: BTreeMap<String, TypeId>,
}

impl Compiler<'_> {
    fn definition(&mut self, name: &str, document: &Value) -> Definition {
        let required = document["required"].as_array();
        let is_required = |field: &str| required.is_some_and(|list| list.iter().any(|v| v == field));
        let properties = document["properties"].as_object();
        // serde_json's map may or may not be ordered by key, depending on its features.
        let mut fields: Vec<Field> = properties
            .into_iter()
            .flatten()
            .map(|(field, property)| {
                let ty = self.ty(property);
                Field {
                    name: field.as_str().into(),
                    ty,
                    required: is_required(field),
                    patch: merge::patch_rule(name, field),
                    list: merge::list_kind(name, field, matches!(ty, Type::Map(_))),
                }
            })
            .collect();
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        assert!(fields.len() <= 128, "{name}: the strict reader has one bit of 128 for each field");
        Definition { name: name.into(), fields: fields.into(), atomic: merge::is_atomic(name) }
    }

    fn ty(&mut self, schema: &Value) -> Type {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.strip_prefix(REFERENCE_PREFIX).unwrap_or(reference);
            let target = self.documents.get(name).and_then(|document| scalar(name, document));
            return target.unwrap_or_else(|| self.schema.root(name));
        }
        if schema["x-kubernetes-int-or-string"] == true {
            return Type::IntOrString;
        }
        match (schema["type"].as_str(), schema["format"].as_str()) {
            (Some("string"), Some("byte")) => Type::Bytes,
            (Some("string"), _) => Type::String,
            (Some("integer"), Some("int32")) => Type::Int32,
            (Some("integer"), _) => Type::Int64,
            (Some("number"), _) => Type::Float,
            (Some("boolean"), _) => Type::Bool,
            (Some("array"), _) => {
                let item = self.ty(&schema["items"]);
                Type::List(self.intern(item))
            }
            (Some("object"), _) if schema["additionalProperties"].is_object() => {
                let value = self.ty(&schema["additionalProperties"]);
                Type::Map(self.intern(value))
            }
            _ => Type::Any,
        }
    }

    fn intern(&mut self, ty: Type) -> TypeId {
        let types = &mut self.schema.types;
        *self.types.entry(format!("{ty:?}")).or_insert_with(|| {
            types.push(ty);
            TypeId(index(types.len() - 1))
        })
    }
}

/// The type of a definition that is not an object with fields.
fn scalar(name: &str, document: &Value) -> Option<Type> {
    match name {
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time" => Some(Type::Time),
        "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" => Some(Type::MicroTime),
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => Some(Type::Quantity),
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => Some(Type::IntOrString),
        _ if document["properties"].is_object() => None,
        _ => Some(Type::Any),
    }
}

/// An arena index; there are a few hundred definitions.
fn index(at: usize) -> u32 {
    u32::try_from(at).expect("the built-in definitions are far fewer than 2^32")
}
