//! CustomResourceDefinitions as the API server judges them: `tables/definitions.json` holds its answers.

use std::sync::Arc;

use serde_json::{Value, json};
use skiff_schema::Schema;
use skiff_structural::{ObjectMeta, definition};

#[test]
fn findings_are_those_of_kubernetes() {
    let meta = ObjectMeta::of(&Arc::new(Schema::kubernetes())).unwrap();
    let cases: Vec<Value> = serde_json::from_str(include_str!("tables/definitions.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let read = |crd: &Value| {
            let mut crd = crd.clone();
            definition::default(&mut crd);
            crd
        };
        let new = read(&case["crd"]);
        let found = match case.get("old") {
            None => definition::validate(&new, &meta),
            Some(old) => definition::validate_update(&new, &read(old), &meta),
        };
        let mut found: Vec<String> =
            found.iter().map(|e| plain(&format!("{} {e}", e.kind.cause()))).collect();
        found.sort();
        let wanted = case["errors"].as_array().unwrap().iter().filter_map(Value::as_str);
        let mut wanted: Vec<String> = wanted.map(plain).collect();
        wanted.sort();
        if found != wanted {
            wrong.push(format!("{}\n  found  {found:#?}\n  wanted {wanted:#?}", case["crd"]["spec"]));
        }
    }
    assert!(wrong.is_empty(), "{} of the cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Versions and schemas are shown in a form of Go's that nobody else writes.
fn plain(text: &str) -> String {
    if text.contains("spec.versions: ") || text.starts_with("VERSIONS") {
        return format!("VERSIONS{}", &text[text.rfind(": ").unwrap_or_default()..]);
    }
    match (text.find("openAPIV3Schema: Invalid value: {"), text.rfind(": only [")) {
        (Some(start), Some(end)) => format!("{}openAPIV3Schema: SCHEMA{}", &text[..start], &text[end..]),
        _ => text.to_owned(),
    }
}

#[test]
fn defaults_are_written() {
    let mut crd = json!({"spec": {"names": {"plural": "foos", "kind": "Foo"}, "versions": [
        {"name": "v1", "storage": false}, {"name": "v2", "storage": true}],
        "conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"service": {"name": "s"}}}}}});
    definition::default(&mut crd);
    assert_eq!(
        crd["spec"]["names"],
        json!({"plural": "foos", "kind": "Foo", "singular": "foo", "listKind": "FooList"})
    );
    assert_eq!(crd["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["port"], 443);
    assert_eq!(crd["status"], json!({"storedVersions": ["v2"]}));
    let mut plain = json!({"spec": {"names": {"kind": "Foo"}}});
    definition::default(&mut plain);
    assert_eq!(plain["spec"]["conversion"], json!({"strategy": "None"}));
}

#[test]
fn writers_are_warned_of_formats_without_meaning() {
    let crd = |format: &str| {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "string", "format": format}, "b": {"type": "integer", "format": "int32"}}});
        json!({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}})
    };
    let check = |new: &str, old: Option<&str>, wanted: &[&str]| {
        assert_eq!(definition::warnings(&crd(new), old.map(crd).as_ref()), wanted, "{new} after {old:?}");
    };
    check("date-time", None, &[]);
    check("nonsense", None, &[r#"unrecognized format "nonsense""#]);
    check("nonsense", Some("nonsense"), &[]);
    check("other", Some("nonsense"), &[r#"unrecognized format "other""#]);
}
