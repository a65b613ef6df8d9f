//! From JSON schemas to the outline that is compiled in: definitions, fields and types, one a line.
//!
//! Reading the schemas takes milliseconds and touches megabytes, which every start of a server would pay
//! for; so that this is done by a test, which also sees to it that the outline is current. To write it
//! anew: `UPDATE_OUTLINE=1 cargo test -p skiff-catalogue outline`.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

use super::{REFERENCE_PREFIX, documents};

#[test]
fn the_outline_is_that_of_the_schemas() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schema/outline.txt");
    let outline = outline(&documents(&|_| true));
    if std::env::var_os("UPDATE_OUTLINE").is_some() {
        std::fs::write(&file, &outline).unwrap();
    }
    assert!(outline == super::OUTLINE, "run with UPDATE_OUTLINE=1 and build again");
}

fn outline(documents: &Map<String, Value>) -> String {
    let mut out = String::new();
    let mut names: Vec<&String> = documents.keys().filter(|name| scalar(documents, name).is_none()).collect();
    names.sort();
    for name in names {
        writeln!(out, "{name}").unwrap();
        let document = &documents[name];
        let required = document["required"].as_array();
        let mut fields: Vec<(&String, &Value)> = document["properties"].as_object().unwrap().iter().collect();
        fields.sort_by_key(|(field, _)| *field);
        for (field, property) in fields {
            let mark = if required.is_some_and(|list| list.iter().any(|v| v == field)) { "!" } else { "" };
            writeln!(out, " {field}{mark} {}", ty(documents, property)).unwrap();
        }
    }
    out
}

fn ty(documents: &Map<String, Value>, schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.strip_prefix(REFERENCE_PREFIX).unwrap();
        return scalar(documents, name).unwrap_or(name).to_owned();
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return "int-or-string".to_owned();
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("string"), Some("byte")) => "bytes".to_owned(),
        (Some("string"), _) => "string".to_owned(),
        (Some("integer"), Some("int32")) => "int32".to_owned(),
        (Some("integer"), _) => "int64".to_owned(),
        (Some("number"), _) => "float".to_owned(),
        (Some("boolean"), _) => "bool".to_owned(),
        (Some("array"), _) => format!("[]{}", ty(documents, &schema["items"])),
        (Some("object"), _) if schema["additionalProperties"].is_object() => {
            format!("{{}}{}", ty(documents, &schema["additionalProperties"]))
        }
        _ => "any".to_owned(),
    }
}

/// The type of a definition that is not an object with fields.
fn scalar(documents: &Map<String, Value>, name: &str) -> Option<&'static str> {
    match name {
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time" => Some("time"),
        "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" => Some("micro-time"),
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => Some("quantity"),
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => Some("int-or-string"),
        _ if documents.get(name).is_some_and(|document| document["properties"].is_object()) => None,
        _ => Some("any"),
    }
}
