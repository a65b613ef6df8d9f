//! A schema in the form in which the server knows built-in kinds: for server-side apply and whoever asks for types.
//!
//! Objects are not decoded by it: custom resources keep nulls, empty lists and numbers as they are, and lose what
//! [`crate::prune`] removes.

use std::sync::Arc;

use skiff_schema::{Builder, DefinitionId, Field, Kinds, ListKind, Root, Schema, Text, Type as Known};

use crate::model::{Additional, ListType, MapType, Structural, Type};

/// A kind of custom resources in one version.
#[derive(Clone, Copy, Debug)]
pub struct KindName<'k> {
    /// E.g. `example.com`.
    pub group: &'k str,
    /// E.g. `v1`.
    pub version: &'k str,
    /// E.g. `Widget`.
    pub kind: &'k str,
}

impl KindName<'_> {
    /// What its definition is called: `com.example.v1.Widget`.
    pub fn definition(&self) -> String {
        let group: Vec<&str> = self.group.rsplit('.').collect();
        format!("{}.{}.{}", group.join("."), self.version, self.kind)
    }
}

/// The schema of whole objects of a kind; `kubernetes` gives ObjectMeta.
///
/// None only if `kubernetes` has no ObjectMeta. Beyond 65,536 objects, lists and maps nothing is known of the rest.
pub fn schema(structural: &Structural, kind: KindName<'_>, kubernetes: &Arc<Schema>) -> Option<Root> {
    let mut builder = Builder::default();
    let meta = kubernetes.find("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")?;
    let meta = builder.take(kubernetes, meta)?;
    let mut maker = Maker { builder, meta };
    let name = kind.definition();
    let kinds =
        Kinds::Of(Box::new([[kind.group, kind.version, kind.kind].map(|text| Text::from(text.to_owned()))]));
    let root = maker.object(structural, &name, true, kinds)?;
    Some(maker.builder.finish(root, Some(kubernetes.clone())))
}

struct Maker {
    builder: Builder,
    meta: DefinitionId,
}

impl Maker {
    fn object(
        &mut self,
        schema: &Structural,
        name: &str,
        is_resource: bool,
        kinds: Kinds,
    ) -> Option<DefinitionId> {
        let mut fields = Vec::with_capacity(schema.properties.len() + 3);
        if is_resource {
            fields.push(Field::new("apiVersion", Known::String));
            fields.push(Field::new("kind", Known::String));
            fields.push(Field::new("metadata", Known::Object(self.meta)));
        }
        for (field, schema_of_field) in &schema.properties {
            let ty = self.ty(schema_of_field, &format!("{name}.{field}"));
            let list = list_kind(schema_of_field);
            let mut made = Field::new(field.clone(), ty);
            made.required = schema.checks().required.contains(field);
            made.default = schema_of_field.default.clone().map(Box::new);
            made.list_stated = list.is_some();
            made.list = list.unwrap_or(made.list);
            fields.push(made);
        }
        let atomic = schema.map_type == Some(MapType::Atomic);
        let id = self.builder.define(name.to_owned(), fields, atomic, kinds)?;
        if schema.preserve_unknown_fields {
            self.builder.leave_open(id);
        }
        Some(id)
    }

    /// The type of a value; beyond what a schema can hold, nothing is known of it.
    fn ty(&mut self, schema: &Structural, name: &str) -> Known {
        self.known(schema, name).unwrap_or(Known::ANY)
    }

    fn known(&mut self, schema: &Structural, name: &str) -> Option<Known> {
        if schema.int_or_string {
            return Some(Known::IntOrString);
        }
        let is_atomic = schema.map_type == Some(MapType::Atomic);
        Some(match schema.ty {
            Type::String => Known::String,
            Type::Integer => Known::Int64,
            Type::Number => Known::Float,
            Type::Boolean => Known::Bool,
            Type::Array => Known::List(self.inner(schema.items.as_deref(), name)?),
            Type::Any | Type::Other(_) => Known::ANY,
            Type::Object if schema.embedded_resource || !schema.properties.is_empty() => {
                Known::Object(self.object(schema, name, schema.embedded_resource, Kinds::None)?)
            }
            Type::Object => match &schema.additional {
                Additional::Schema(values) => Known::Map(self.inner(Some(values), name)?),
                Additional::Allowed(true) => Known::Map(self.inner(None, name)?),
                // What is owned as a whole is told of a map, not of raw JSON.
                _ if is_atomic => Known::Map(self.inner(None, name)?),
                _ => Known::ANY,
            },
        })
    }

    fn inner(&mut self, schema: Option<&Structural>, name: &str) -> Option<skiff_schema::TypeId> {
        let Some(schema) = schema else { return self.builder.inner(Known::ANY, None) };
        let ty = self.ty(schema, name);
        self.builder.inner(ty, list_kind(schema))
    }
}

/// How server-side apply owns a value, if the schema says so.
fn list_kind(schema: &Structural) -> Option<ListKind> {
    match (&schema.list_type, &schema.map_type) {
        (Some(ListType::Atomic), _) => Some(ListKind::Atomic),
        (Some(ListType::Set), _) => Some(ListKind::Set),
        (Some(ListType::Map), _) => {
            Some(ListKind::Map(schema.list_map_keys.iter().map(|key| Text::from(key.clone())).collect()))
        }
        (_, Some(MapType::Atomic)) if schema.properties.is_empty() => Some(ListKind::Atomic),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn root() -> Root {
        let structural = Structural::parse(&json!({"type": "object", "required": ["spec"], "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": {"type": "object", "required": ["a"], "properties": {
                "a": {"type": "integer", "default": 3},
                "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                    "items": {"type": "object", "properties": {"k": {"type": "string", "default": "x"}}}},
                "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"b": {"type": "number"}}},
                "labels": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
                "lists": {"type": "object", "additionalProperties": {"type": "array", "x-kubernetes-list-type": "set",
                    "items": {"type": "boolean"}}},
                "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "port": {"x-kubernetes-int-or-string": true},
                "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
            }}}}))
        .unwrap();
        let kind = KindName { group: "example.com", version: "v1", kind: "Widget" };
        schema(&structural, kind, &Arc::new(Schema::kubernetes())).unwrap()
    }

    #[test]
    fn types_are_those_of_the_schema() {
        let root = root();
        let check = |path: &[&str], wanted: Option<Known>| {
            assert_eq!(root.schema().at(root.ty(), path.iter().copied()), wanted, "{path:?}");
        };
        assert_eq!(root.name(), "com.example.v1.Widget");
        assert_eq!(root.of_kind("example.com", "v1", "Widget"), Some(root.clone()));
        check(&["metadata", "labels", "x"], Some(Known::String));
        check(&["metadata", "creationTimestamp"], Some(Known::Time));
        check(&["spec", "a"], Some(Known::Int64));
        check(&["spec", "whole", "b"], Some(Known::Float));
        check(&["spec", "map", "k"], Some(Known::String));
        check(&["spec", "raw", "any"], Some(Known::ANY));
        check(&["spec", "port"], Some(Known::IntOrString));
        check(&["spec", "pod", "metadata", "name"], Some(Known::String));
        check(&["spec", "unknown"], None);
    }

    #[test]
    fn merging_is_that_of_the_schema() {
        let root = root();
        let spec = root.schema().field(root.ty(), "spec").unwrap();
        let field = |name: &str| root.schema().field(spec.ty, name).unwrap();
        assert!(spec.required && field("a").required && !field("set").required);
        assert_eq!(field("a").default_value(), Some(json!(3)));
        assert_eq!(field("set").list, ListKind::Set);
        assert_eq!(field("map").list, ListKind::Map(Box::new(["k".into()])));
        assert_eq!(field("labels").list, ListKind::Atomic);
        let Known::Object(whole) = field("whole").ty else { panic!("no object") };
        assert!(root.schema().get(whole).atomic);
        let Known::Object(pod) = field("pod").ty else { panic!("no object") };
        assert!(root.schema().get(pod).open && !root.schema().get(whole).open);
        let Known::Map(inner) = field("lists").ty else { panic!("no map") };
        assert_eq!(*root.schema().inner_list(inner), ListKind::Set);
    }
}
