//! Between the forms in which other servers tell of their resources and that in which they are kept here.
//!
//! What they send is a stranger's: only what the documents have is taken of it, and of the right types.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::GroupVersion;

/// The resources of a version in an aggregated document (`APIGroupDiscoveryList`); `None` if the document does not have it.
pub fn aggregated_resources(document: &Value, gv: &GroupVersion) -> Option<Vec<Value>> {
    let group = array(document, "items").find(|group| group["metadata"]["name"] == *gv.group)?;
    let version = array(group, "versions").find(|version| version["version"] == *gv.version)?;
    Some(array(version, "resources").filter_map(resource).collect())
}

fn resource(told: &Value) -> Option<Value> {
    let mut out = Map::new();
    out.insert("resource".to_owned(), json!(text(told, "resource")?));
    out.extend(kind(told).map(|kind| ("responseKind".to_owned(), kind)));
    let scope = text(told, "scope").filter(|scope| *scope == "Cluster").unwrap_or("Namespaced");
    out.insert("scope".to_owned(), scope.into());
    out.insert("singularResource".to_owned(), text(told, "singularResource").unwrap_or_default().into());
    out.insert("verbs".to_owned(), words(told, "verbs"));
    for field in ["shortNames", "categories"] {
        let list = words(told, field);
        if list != json!([]) {
            out.insert(field.to_owned(), list);
        }
    }
    let below: Vec<Value> = array(told, "subresources").filter_map(subresource).collect();
    if !below.is_empty() {
        out.insert("subresources".to_owned(), below.into());
    }
    Some(out.into())
}

fn subresource(told: &Value) -> Option<Value> {
    let mut out = json!({"subresource": text(told, "subresource")?, "verbs": words(told, "verbs")});
    if let Some(kind) = kind(told) {
        out["responseKind"] = kind;
    }
    Some(out)
}

fn kind(told: &Value) -> Option<Value> {
    let kind = told.get("responseKind")?;
    let part = |field: &str| text(kind, field).unwrap_or_default();
    Some(json!({"group": part("group"), "version": part("version"), "kind": part("kind")}))
}

/// The resources of an `APIResourceList`, for a group version, as the aggregated documents have them.
pub fn legacy_resources(document: &Value, gv: &GroupVersion) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for entry in array(document, "resources") {
        let Some(name) = text(entry, "name") else { continue };
        let part = |field: &str, otherwise: &str| text(entry, field).unwrap_or(otherwise).to_owned();
        let kind = json!({
            "group": part("group", &gv.group), "version": part("version", &gv.version), "kind": part("kind", ""),
        });
        let (name, below) = name.split_once('/').map_or((name, None), |(name, below)| (name, Some(below)));
        let scope = if entry["namespaced"] == true { "Namespaced" } else { "Cluster" };
        let at = *places.entry(name).or_insert_with(|| {
            // What has only subresources is told without verbs, which may come later.
            out.push(json!({"resource": name, "scope": scope, "singularResource": "", "verbs": []}));
            out.len() - 1
        });
        let known = &mut out[at];
        match below {
            Some(below) => {
                let below =
                    json!({"subresource": below, "responseKind": kind, "verbs": words(entry, "verbs")});
                match known["subresources"].as_array_mut() {
                    Some(list) => list.push(below),
                    None => known["subresources"] = json!([below]),
                }
            }
            None => {
                known["responseKind"] = kind;
                known["singularResource"] = part("singularName", "").into();
                known["verbs"] = words(entry, "verbs");
                for field in ["shortNames", "categories"] {
                    let list = words(entry, field);
                    if list != json!([]) {
                        known[field] = list;
                    }
                }
            }
        }
    }
    out
}

fn array<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    value[field].as_array().into_iter().flatten()
}

fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value[field].as_str().filter(|text| !text.is_empty())
}

fn words(value: &Value, field: &str) -> Value {
    array(value, field).filter(|word| word.is_string()).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GV: GroupVersion = GroupVersion::fixed("wardle.example.com", "v1alpha1");

    fn flunders() -> Value {
        let kind = |kind: &str| json!({"group": "wardle.example.com", "version": "v1alpha1", "kind": kind});
        json!([{
            "resource": "flunders", "responseKind": kind("Flunder"), "scope": "Namespaced",
            "singularResource": "flunder", "verbs": ["create", "get", "list"], "shortNames": ["fl"],
            "subresources": [{"subresource": "status", "responseKind": kind("Flunder"), "verbs": ["get"]}],
        }])
    }

    #[test]
    fn both_forms_tell_the_same() {
        let aggregated = json!({"items": [{
            "metadata": {"name": "wardle.example.com"},
            "versions": [{"version": "v1alpha1", "resources": flunders(), "freshness": "Current"}],
        }]});
        assert_eq!(json!(aggregated_resources(&aggregated, &GV)), flunders());
        assert_eq!(aggregated_resources(&aggregated, &GroupVersion::fixed("other", "v1")), None);
        let legacy = json!({"resources": [
            {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder",
             "verbs": ["create", "get", "list"], "shortNames": ["fl"]},
            {"name": "flunders/status", "singularName": "", "namespaced": true, "kind": "Flunder", "verbs": ["get"]},
        ]});
        assert_eq!(json!(legacy_resources(&legacy, &GV)), flunders());
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let odd = json!({"items": [{
            "metadata": {"name": "wardle.example.com"},
            "versions": [{"version": "v1alpha1", "resources": [7, {"resource": ""}, {
                "resource": "a", "verbs": [1, "get"], "more": {}, "subresources": [{"verbs": ["get"]}],
            }]}],
        }]});
        assert_eq!(
            json!(aggregated_resources(&odd, &GV)),
            json!([{"resource": "a", "scope": "Namespaced", "singularResource": "", "verbs": ["get"]}])
        );
        assert_eq!(legacy_resources(&json!({"resources": [{"name": 1}, "x"]}), &GV), Vec::<Value>::new());
        assert_eq!(legacy_resources(&json!("x"), &GV), Vec::<Value>::new());
    }
}
