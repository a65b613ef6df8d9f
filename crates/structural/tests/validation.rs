//! Findings about values, as the API server words them: `tables/validation.json` holds its answers.

use serde_json::Value;
use skiff_structural::{Structural, validate, validate_update};

#[test]
fn findings_are_those_of_kubernetes() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("tables/validation.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let schema = Structural::parse(&case["schema"]).unwrap();
        for value in case["values"].as_array().unwrap() {
            let found = match value.get("old") {
                None => validate(&value["value"], &schema),
                Some(old) => validate_update(&value["value"], old, &schema),
            };
            let mut found: Vec<String> =
                found.iter().map(|error| format!("{} {error}", error.kind.cause())).collect();
            found.sort();
            let wanted: Vec<&str> =
                value["errors"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            if found != wanted {
                wrong.push(format!("{}\n  found  {found:#?}\n  wanted {wanted:#?}", value["value"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of the cases differ:\n{}", wrong.len(), wrong.join("\n"));
}
