//! `x-kubernetes-validations` in definitions and for objects, as the API server judges them: `tables/expressions.json` and
//! `tables/evaluations.json` hold its answers.

use std::sync::Arc;

use serde_json::Value;
use skiff_schema::Schema;
use skiff_structural::{Definition, ObjectMeta, RuleSet, Structural, check};

fn texts(values: &Value) -> Vec<&str> {
    values.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn rules_of_definitions_are_judged_as_kubernetes_does() {
    let meta = ObjectMeta::of(&Arc::new(Schema::kubernetes())).unwrap();
    let cases: Vec<Value> = serde_json::from_str(include_str!("tables/expressions.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let schema = Structural::parse(&case["schema"]).unwrap();
        let found = check(&schema, "spec.validation.openAPIV3Schema", Definition::default(), &meta);
        let mut found: Vec<String> = found.iter().map(|e| format!("{} {e}", e.kind.cause())).collect();
        found.sort();
        let wanted = texts(&case["errors"]);
        if found != wanted {
            wrong.push(format!("{}\n  found  {found:#?}\n  wanted {wanted:#?}", case["schema"]));
        }
    }
    assert!(wrong.is_empty(), "{} of the cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn objects_are_judged_as_kubernetes_does() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("tables/evaluations.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let schema = Structural::parse(&case["schema"]).unwrap();
        let rules = RuleSet::compile(&schema).unwrap();
        for value in case["values"].as_array().unwrap() {
            let found = rules.validate(&value["value"], value.get("old"), &schema);
            let mut errors: Vec<String> =
                found.errors.iter().map(|e| format!("{} {e}", e.kind.cause())).collect();
            errors.sort();
            let mut warnings = found.warnings;
            warnings.sort();
            let wanted = (texts(&value["errors"]), texts(&value["warnings"]));
            if errors != wanted.0 || warnings != wanted.1 {
                wrong.push(format!(
                    "{}\n  found  {errors:#?} {warnings:#?}\n  wanted {wanted:#?}",
                    value["value"]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of the cases differ:\n{}", wrong.len(), wrong.join("\n"));
}
