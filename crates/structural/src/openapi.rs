//! A schema as OpenAPI publishes it.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::{Additional, Checks, Structural, Type};
use crate::numbers::shown;

/// A schema as JSON, with all that it says.
pub fn document(schema: &Structural) -> Value {
    Value::Object(write(schema))
}

type Fields = Map<String, Value>;

fn put(out: &mut Fields, name: &str, value: impl Into<Value>) {
    out.insert(name.to_owned(), value.into());
}

fn list(schemas: &[Arc<Structural>]) -> Value {
    schemas.iter().map(|schema| document(schema)).collect()
}

fn write(schema: &Structural) -> Fields {
    let mut out = Map::new();
    if schema.ty != Type::Any {
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
    if let Some(items) = &schema.items {
        put(&mut out, "items", document(items));
    }
    if !schema.properties.is_empty() {
        let properties = schema.properties.iter().map(|(name, schema)| (name.clone(), document(schema)));
        put(&mut out, "properties", properties.collect::<Fields>());
    }
    match &schema.additional {
        Additional::Unstated => {}
        Additional::Allowed(allowed) => put(&mut out, "additionalProperties", *allowed),
        Additional::Schema(schema) => put(&mut out, "additionalProperties", document(schema)),
    }
    if let Some(extras) = &schema.extras {
        for (name, value) in [("example", &extras.example), ("externalDocs", &extras.external_docs)] {
            if let Some(value) = value {
                put(&mut out, name, value.clone());
            }
        }
    }
    write_flags(schema, &mut out);
    write_rules(schema, &mut out);
    write_checks(schema.checks(), &mut out);
    out
}

fn write_flags(schema: &Structural, out: &mut Fields) {
    for (set, name) in [
        (schema.nullable, "nullable"),
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
    if !checks.required.is_empty() {
        put(out, "required", checks.required.clone());
    }
    if !checks.allowed.is_empty() {
        put(out, "enum", checks.allowed.clone());
    }
    for (name, schemas) in [("allOf", &checks.all_of), ("anyOf", &checks.any_of), ("oneOf", &checks.one_of)] {
        if !schemas.is_empty() {
            put(out, name, list(schemas));
        }
    }
    if let Some(not) = &checks.not {
        put(out, "not", document(not));
    }
}
