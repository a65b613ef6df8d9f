//! Parts of a definition as messages show them: with all fields of the server's own types, under their names in Go and in their
//! order there.

use serde_json::{Map, Value, json};

/// How a field of a schema is shown.
#[derive(Clone, Copy)]
enum Show {
    /// Null where there is none.
    Optional,
    /// A text, empty where there is none.
    Text,
    Flag,
    Schema,
    /// Schemas in a list.
    List,
    /// Schemas by name.
    Named,
    /// One schema or a list of them.
    Items,
    /// A schema, or whether anything goes.
    Additional,
}

use Show::{Additional, Flag, Items, List, Named, Optional, Schema, Text};

/// The fields of `JSONSchemaProps`: in Go, in JSON.
const FIELDS: [(&str, &str, Show); 43] = [
    ("ID", "id", Text),
    ("Schema", "$schema", Text),
    ("Ref", "$ref", Optional),
    ("Description", "description", Text),
    ("Type", "type", Text),
    ("Nullable", "nullable", Flag),
    ("Format", "format", Text),
    ("Title", "title", Text),
    ("Default", "default", Optional),
    ("Maximum", "maximum", Optional),
    ("ExclusiveMaximum", "exclusiveMaximum", Flag),
    ("Minimum", "minimum", Optional),
    ("ExclusiveMinimum", "exclusiveMinimum", Flag),
    ("MaxLength", "maxLength", Optional),
    ("MinLength", "minLength", Optional),
    ("Pattern", "pattern", Text),
    ("MaxItems", "maxItems", Optional),
    ("MinItems", "minItems", Optional),
    ("UniqueItems", "uniqueItems", Flag),
    ("MultipleOf", "multipleOf", Optional),
    ("Enum", "enum", Optional),
    ("MaxProperties", "maxProperties", Optional),
    ("MinProperties", "minProperties", Optional),
    ("Required", "required", Optional),
    ("Items", "items", Items),
    ("AllOf", "allOf", List),
    ("OneOf", "oneOf", List),
    ("AnyOf", "anyOf", List),
    ("Not", "not", Schema),
    ("Properties", "properties", Named),
    ("AdditionalProperties", "additionalProperties", Additional),
    ("PatternProperties", "patternProperties", Named),
    ("Dependencies", "dependencies", Optional),
    ("AdditionalItems", "additionalItems", Additional),
    ("Definitions", "definitions", Named),
    ("ExternalDocs", "externalDocs", Optional),
    ("Example", "example", Optional),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields", Optional),
    ("XEmbeddedResource", "x-kubernetes-embedded-resource", Flag),
    ("XIntOrString", "x-kubernetes-int-or-string", Flag),
    ("XListMapKeys", "x-kubernetes-list-map-keys", Optional),
    ("XListType", "x-kubernetes-list-type", Optional),
    ("XMapType", "x-kubernetes-map-type", Optional),
];

/// A struct of these fields, each as JSON text.
pub(super) fn object(fields: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// The schema of a version; none is null.
pub(super) fn validation(schema: Option<&Value>) -> String {
    schema.map_or("null".to_owned(), |value| object([("OpenAPIV3Schema", schema_text(value))]))
}

fn schema_text(value: &Value) -> String {
    let fields = FIELDS.iter().map(|(name, key, show)| (*name, field(*show, value.get(key))));
    let rules = value.get("x-kubernetes-validations");
    object(fields.chain([("XValidations", self::rules(rules))]))
}

fn field(show: Show, value: Option<&Value>) -> String {
    let value = value.unwrap_or(&Value::Null);
    let none = || "null".to_owned();
    let list = |items: &[Value]| format!("[{}]", items.iter().map(schema_text).collect::<Vec<_>>().join(","));
    match (show, value) {
        (Text, Value::Null) => "\"\"".to_owned(),
        (Flag, Value::Null) => "false".to_owned(),
        (Optional | Text | Flag, value) => value.to_string(),
        (_, Value::Null) => none(),
        (Schema, value) => schema_text(value),
        (List, value) => value.as_array().map_or_else(none, |items| list(items)),
        (Named, value) => value.as_object().map_or_else(none, named),
        (Items, Value::Array(items)) => object([("Schema", none()), ("JSONSchemas", list(items))]),
        (Items, value) => object([("Schema", schema_text(value)), ("JSONSchemas", none())]),
        (Additional, Value::Bool(allows)) => object([("Allows", allows.to_string()), ("Schema", none())]),
        (Additional, value) => object([("Allows", "true".to_owned()), ("Schema", schema_text(value))]),
    }
}

fn named(schemas: &Map<String, Value>) -> String {
    let members = schemas.iter().map(|(name, schema)| format!("{}:{}", json!(name), schema_text(schema)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// Rules in CEL.
fn rules(rules: Option<&Value>) -> String {
    let Some(rules) = rules.and_then(Value::as_array) else { return "null".to_owned() };
    let rule = |rule: &Value| {
        object([
            ("Rule", field(Text, rule.get("rule"))),
            ("Message", field(Text, rule.get("message"))),
            ("MessageExpression", field(Text, rule.get("messageExpression"))),
            ("Reason", field(Optional, rule.get("reason"))),
            ("FieldPath", field(Text, rule.get("fieldPath"))),
            ("OptionalOldSelf", field(Optional, rule.get("optionalOldSelf"))),
        ])
    };
    format!("[{}]", rules.iter().map(rule).collect::<Vec<_>>().join(","))
}

/// The subresources of a version; none is null.
pub(super) fn subresources(value: Option<&Value>) -> String {
    let Some(value) = value else { return "null".to_owned() };
    let scale = |scale: &Value| {
        object([
            ("SpecReplicasPath", field(Text, scale.get("specReplicasPath"))),
            ("StatusReplicasPath", field(Text, scale.get("statusReplicasPath"))),
            ("LabelSelectorPath", field(Optional, scale.get("labelSelectorPath"))),
        ])
    };
    let given = |key: &str| value.get(key).filter(|value| !value.is_null());
    object([
        ("Status", given("status").map_or("null", |_| "{}").to_owned()),
        ("Scale", given("scale").map_or("null".to_owned(), scale)),
    ])
}

/// Columns; none are null.
pub(super) fn columns(columns: &[Value]) -> String {
    let column = |column: &Value| {
        object([
            ("Name", field(Text, column.get("name"))),
            ("Type", field(Text, column.get("type"))),
            ("Format", field(Text, column.get("format"))),
            ("Description", field(Text, column.get("description"))),
            ("Priority", column.get("priority").unwrap_or(&json!(0)).to_string()),
            ("JSONPath", field(Text, column.get("jsonPath"))),
        ])
    };
    list_or_null(columns, column)
}

/// Fields that can be selected by; none are null.
pub(super) fn selectable(fields: &[Value]) -> String {
    list_or_null(fields, |one| object([("JSONPath", field(Text, one.get("jsonPath")))]))
}

fn list_or_null(items: &[Value], show: impl Fn(&Value) -> String) -> String {
    if items.is_empty() {
        return "null".to_owned();
    }
    format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_shown_with_all_that_they_may_have() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string", "minLength": 1}},
            "x-kubernetes-validations": [{"rule": "true"}]});
        let shown = validation(Some(&schema));
        assert!(shown.starts_with(
            r#"{"OpenAPIV3Schema":{"ID":"","Schema":"","Ref":null,"Description":"","Type":"object","Nullable":false,"#
        ));
        assert!(shown.contains(r#""Properties":{"a":{"ID":"","Schema":"","#));
        assert!(shown.contains(r#""MinLength":1,"Pattern":"","#));
        assert!(shown.ends_with(
            r#""XValidations":[{"Rule":"true","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}]}}"#
        ));
        assert_eq!(validation(None), "null");
        assert_eq!(subresources(Some(&json!({"status": {}}))), r#"{"Status":{},"Scale":null}"#);
        assert_eq!(
            columns(&[json!({"name": "n", "type": "string", "jsonPath": ".a"})]),
            r#"[{"Name":"n","Type":"string","Format":"","Description":"","Priority":0,"JSONPath":".a"}]"#
        );
    }
}
