//! What definitions may say of their schemas, as the API server words it: `tables/rules.json` holds its answers.

use std::sync::Arc;

use serde_json::Value;
use skiff_schema::Schema;
use skiff_structural::{Definition, ObjectMeta, Structural, check};

#[test]
fn findings_are_those_of_kubernetes() {
    let meta = ObjectMeta::of(&Arc::new(Schema::kubernetes())).unwrap();
    let cases: Vec<Value> = serde_json::from_str(include_str!("tables/rules.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let schema = Structural::parse(&case["schema"]).unwrap();
        let definition =
            Definition { has_status: case["status"] == Value::Bool(true), ..Definition::default() };
        let found = check(&schema, "spec.validation.openAPIV3Schema", definition, &meta);
        let mut found: Vec<String> = found
            .iter()
            .map(|error| format!("{} {}", error.kind.cause(), without_schema(&error.to_string())))
            .collect();
        found.sort();
        let wanted: Vec<&str> = case["errors"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        if found != wanted {
            wrong.push(format!("{}\n  found  {found:#?}\n  wanted {wanted:#?}", case["schema"]));
        }
    }
    assert!(wrong.is_empty(), "{} of the cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// The schema itself is shown in a form of Go's that nobody else writes.
fn without_schema(text: &str) -> String {
    match (text.find("openAPIV3Schema: Invalid value: {"), text.rfind(": only [")) {
        (Some(start), Some(end)) => format!("{}openAPIV3Schema: SCHEMA{}", &text[..start], &text[end..]),
        _ => text.to_owned(),
    }
}
