//! A schema as OpenAPI publishes it.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use skiff_ordered::Ordered as _;

use crate::model::{Additional, Checks, Structural, Type};
use crate::numbers::shown;
use crate::schema::KindName;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A schema as JSON, with all that it says.
pub fn document(schema: &Structural) -> Value {
    Value::Object(Form::Plain.write(schema))
}

/// A version of OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Without `nullable`, `allOf` and the like, and with less where old clients stumble.
    V2,
    /// Version 3.
    V3,
}

/// What the fields that all objects have mean, as the definitions of built-in kinds tell it.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'t> {
    /// `apiVersion`
    pub api_version: &'t str,
    /// `kind`
    pub kind: &'t str,
    /// `metadata`
    pub metadata: &'t str,
}

/// The definition of a kind as it is published, without `x-kubernetes-selectable-fields`.
pub fn published(schema: &Structural, kind: KindName<'_>, dialect: Dialect, texts: &Texts<'_>) -> Value {
    let form = match dialect {
        Dialect::V2 => Form::V2(*texts),
        Dialect::V3 => Form::V3(*texts),
    };
    let mut out = if dialect == Dialect::V2 && schema.preserve_unknown_fields {
        // Clients of version 2 would refuse fields that are not listed.
        Map::from_iter([("type".to_owned(), "object".into())])
    } else {
        let mut out = form.write(schema);
        let fields = properties(&mut out);
        fields.insert("apiVersion".to_owned(), json!({"type": "string", "description": texts.api_version}));
        fields.insert("kind".to_owned(), json!({"type": "string", "description": texts.kind}));
        fields.insert("metadata".to_owned(), form.metadata(texts));
        out
    };
    let name = json!({"group": kind.group, "kind": kind.kind, "version": kind.version});
    put(&mut out, "x-kubernetes-group-version-kind", vec![name]);
    Value::Object(out)
}

type Fields = Map<String, Value>;

fn put(out: &mut Fields, name: &str, value: impl Into<Value>) {
    out.insert(name.to_owned(), value.into());
}

fn properties(out: &mut Fields) -> &mut Fields {
    let fields = out.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    fields.as_object_mut().expect("written as an object above")
}

/// How schemas are written.
#[derive(Clone, Copy)]
enum Form<'t> {
    /// As they are.
    Plain,
    V2(Texts<'t>),
    V3(Texts<'t>),
}

impl Form<'_> {
    fn metadata(self, texts: &Texts<'_>) -> Value {
        match self {
            Self::V2(_) => {
                json!({"description": texts.metadata, "$ref": format!("#/definitions/{OBJECT_META}")})
            }
            _ => json!({
                "description": texts.metadata,
                "allOf": [{"$ref": format!("#/components/schemas/{OBJECT_META}")}],
            }),
        }
    }

    fn list(self, schemas: &[Arc<Structural>]) -> Vec<Value> {
        schemas.iter().map(|schema| Value::Object(self.write(schema))).collect()
    }

    fn write(self, schema: &Structural) -> Fields {
        let is_v2 = matches!(self, Self::V2(_));
        // Old clients know nothing beside a type, and fields that are listed are all that there are to them.
        let drops_fields = is_v2 && (schema.nullable || schema.preserve_unknown_fields);
        let items = schema.items.as_ref().filter(|_| !drops_fields);
        let drops_type = is_v2
            && (schema.nullable
                || (schema.ty == Type::Array && items.is_none())
                || (schema.ty == Type::Object && schema.preserve_unknown_fields));
        let mut out = Map::new();
        if schema.ty != Type::Any && !drops_type {
            put(&mut out, "type", schema.ty.name());
        }
        for (name, text) in [("title", &schema.title), ("description", &schema.description)] {
            if !text.is_empty() {
                put(&mut out, name, text.as_str());
            }
        }
        if let Some(default) = &schema.default {
            put(&mut out, "default", default.clone());
        }
        if let Some(items) = items {
            put(&mut out, "items", self.write(items));
        }
        if !schema.properties.is_empty() && !drops_fields {
            let fields =
                schema.properties.iter().map(|(name, schema)| (name.clone(), self.write(schema).into()));
            put(&mut out, "properties", fields.one_by_one::<Fields>());
        }
        match &schema.additional {
            Additional::Unstated => {}
            Additional::Allowed(allowed) => put(&mut out, "additionalProperties", *allowed),
            Additional::Schema(schema) => put(&mut out, "additionalProperties", self.write(schema)),
        }
        if let Some(extras) = &schema.extras {
            for (name, value) in [("example", &extras.example), ("externalDocs", &extras.external_docs)] {
                if let Some(value) = value {
                    put(&mut out, name, value.clone());
                }
            }
        }
        write_flags(schema, is_v2, &mut out);
        write_rules(schema, &mut out);
        write_checks(schema.checks(), &mut out);
        self.write_required(schema, drops_fields, &mut out);
        if !is_v2 {
            self.write_nested(schema, &mut out);
        }
        self.embed(schema, &mut out);
        out
    }

    fn write_required(self, schema: &Structural, drops_fields: bool, out: &mut Fields) {
        let is_v2 = matches!(self, Self::V2(_));
        if is_v2 && schema.additional.schema().is_some_and(|schema| schema.nullable) {
            return;
        }
        // What may be null has no type in version 2, and is not asked for.
        let is_null = |name: &String| schema.properties.get(name).is_some_and(|schema| schema.nullable);
        let required = &schema.checks().required;
        let required: Vec<&String> =
            required.iter().filter(|name| !is_v2 || drops_fields || !is_null(name)).collect();
        if !required.is_empty() {
            put(out, "required", json!(required));
        }
    }

    fn write_nested(self, schema: &Structural, out: &mut Fields) {
        let checks = schema.checks();
        let (mut all_of, mut any_of) = (self.list(&checks.all_of), self.list(&checks.any_of));
        let is_told = Structural::is_int_or_string_pattern(&checks.any_of)
            || checks
                .all_of
                .first()
                .is_some_and(|first| Structural::is_int_or_string_pattern(&first.checks().any_of));
        if matches!(self, Self::V3(_)) && schema.int_or_string && !is_told {
            let types = vec![json!({"type": "integer"}), json!({"type": "string"})];
            if any_of.is_empty() {
                any_of = types;
            } else {
                all_of.insert(0, json!({"anyOf": types}));
            }
        }
        for (name, schemas) in [("allOf", all_of), ("anyOf", any_of), ("oneOf", self.list(&checks.one_of))] {
            if !schemas.is_empty() {
                put(out, name, schemas);
            }
        }
        if let Some(not) = &checks.not {
            put(out, "not", self.write(not));
        }
    }

    /// Adds what all objects have to the schema of an embedded one.
    fn embed(self, schema: &Structural, out: &mut Fields) {
        let texts = match self {
            Self::V2(texts) if !schema.preserve_unknown_fields => texts,
            Self::V3(texts) => texts,
            _ => return,
        };
        if !schema.embedded_resource {
            return;
        }
        let fields = properties(out);
        for (name, text) in [("apiVersion", EMBEDDED_API_VERSION), ("kind", EMBEDDED_KIND)] {
            fields.insert(name.to_owned(), json!({"type": "string", "description": text}));
        }
        fields.insert("metadata".to_owned(), self.metadata(&texts));
        let required = out.entry("required").or_insert_with(|| Value::Array(Vec::new()));
        let required = required.as_array_mut().expect("written as a list above");
        for name in ["kind", "apiVersion"] {
            if !required.contains(&name.into()) {
                required.push(name.into());
            }
        }
    }
}

const EMBEDDED_API_VERSION: &str = "apiVersion defines the versioned schema of this representation of an object. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const EMBEDDED_KIND: &str = "kind is a string value representing the type of this object. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

fn write_flags(schema: &Structural, is_v2: bool, out: &mut Fields) {
    for (set, name) in [
        (schema.nullable && !is_v2, "nullable"),
        (schema.preserve_unknown_fields, "x-kubernetes-preserve-unknown-fields"),
        (schema.embedded_resource, "x-kubernetes-embedded-resource"),
        (schema.int_or_string, "x-kubernetes-int-or-string"),
    ] {
        if set {
            put(out, name, true);
        }
    }
    if !schema.list_map_keys.is_empty() {
        put(out, "x-kubernetes-list-map-keys", schema.list_map_keys.clone());
    }
    if let Some(ty) = &schema.list_type {
        put(out, "x-kubernetes-list-type", ty.name());
    }
    if let Some(ty) = &schema.map_type {
        put(out, "x-kubernetes-map-type", ty.name());
    }
}

fn write_rules(schema: &Structural, out: &mut Fields) {
    if schema.rules.is_empty() {
        return;
    }
    let rules = schema.rules.iter().map(|rule| {
        let mut out = Map::new();
        put(&mut out, "rule", rule.rule.as_str());
        for (name, text) in [
            ("message", Some(&rule.message)),
            ("messageExpression", Some(&rule.message_expression)),
            ("reason", rule.reason.as_ref()),
            ("fieldPath", Some(&rule.field_path)),
        ] {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                put(&mut out, name, text.as_str());
            }
        }
        if let Some(optional) = rule.optional_old_self {
            put(&mut out, "optionalOldSelf", optional);
        }
        Value::Object(out)
    });
    put(out, "x-kubernetes-validations", rules.collect::<Vec<_>>());
}

fn write_checks(checks: &Checks, out: &mut Fields) {
    let pattern = checks.pattern.as_ref().map(|pattern| pattern.source());
    for (name, text) in [("format", Some(checks.format.as_str())), ("pattern", pattern)] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            put(out, name, text);
        }
    }
    for (name, number) in
        [("maximum", checks.maximum), ("minimum", checks.minimum), ("multipleOf", checks.multiple_of)]
    {
        if let Some(number) = number {
            put(out, name, shown(&number.into()));
        }
    }
    for (name, number) in [
        ("maxLength", checks.max_length),
        ("minLength", checks.min_length),
        ("maxItems", checks.max_items),
        ("minItems", checks.min_items),
        ("maxProperties", checks.max_properties),
        ("minProperties", checks.min_properties),
    ] {
        if let Some(number) = number {
            put(out, name, number);
        }
    }
    for (name, set) in [
        ("exclusiveMaximum", checks.exclusive_maximum),
        ("exclusiveMinimum", checks.exclusive_minimum),
        ("uniqueItems", checks.unique_items),
    ] {
        if set {
            put(out, name, true);
        }
    }
    if !checks.allowed.is_empty() {
        put(out, "enum", checks.allowed.clone());
    }
}
