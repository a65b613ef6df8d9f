//! Discovery of the built-in kinds.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use serde_json::{Value, json};
use skiff_kinds::builtin;
use skiff_machinery::GroupVersion;
use skiff_machinery::discovery::{Registry, aggregated, group, group_list, resource_list};

fn named<'v>(list: &'v Value, key: &str, name: &str) -> &'v Value {
    let found = list.as_array().unwrap().iter().find(|entry| entry[key] == name);
    found.unwrap_or_else(|| panic!("no {key} {name}"))
}

#[test]
fn aggregates() {
    let catalogue = builtin();
    let core = aggregated(&catalogue, &Registry::default(), true);
    assert_eq!(core["apiVersion"], "apidiscovery.k8s.io/v2");
    assert_eq!(core["items"].as_array().unwrap().len(), 1);
    assert_eq!(core["items"][0]["metadata"]["name"], Value::Null);
    let resources = &core["items"][0]["versions"][0]["resources"];
    let pods = named(resources, "resource", "pods");
    assert_eq!(pods["responseKind"], json!({"group": "", "version": "", "kind": "Pod"}));
    assert_eq!((&pods["shortNames"], &pods["categories"]), (&json!(["po"]), &json!(["all"])));
    let eviction = named(&pods["subresources"], "subresource", "eviction");
    assert_eq!(
        *eviction,
        json!({
            "subresource": "eviction",
            "responseKind": {"group": "policy", "version": "v1", "kind": "Eviction"},
            "verbs": ["create"],
        })
    );
    let apis = aggregated(&catalogue, &Registry::default(), false);
    let rbac = apis["items"].as_array().unwrap().iter();
    let names: Vec<_> = rbac.map(|group| group["metadata"]["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"rbac.authorization.k8s.io") && !names.contains(&""), "{names:?}");
}

#[test]
fn answers_old_clients() {
    let catalogue = builtin();
    let list = resource_list(&catalogue, &GroupVersion::fixed("", "v1")).unwrap();
    let resources = &list["resources"];
    assert_eq!(named(resources, "name", "services")["shortNames"], json!(["svc"]));
    let check = |name: &str, group: Value, kind: &str| {
        let entry = named(resources, "name", name);
        assert_eq!((&entry["group"], &entry["kind"]), (&group, &json!(kind)), "{name}");
    };
    assert_eq!(named(resources, "name", "configmaps")["storageVersionHash"], "qFsyl6wFWjQ=");
    assert_eq!(named(resources, "name", "pods/status").get("storageVersionHash"), None);
    assert_eq!(named(resources, "name", "bindings").get("storageVersionHash"), None);
    let events = resource_list(&catalogue, &GroupVersion::fixed("events.k8s.io", "v1")).unwrap();
    assert_eq!(named(&events["resources"], "name", "events")["storageVersionHash"], "r2yiGXH7wu8=");
    check("pods", Value::Null, "Pod");
    check("pods/status", Value::Null, "Pod");
    check("pods/exec", Value::Null, "PodExecOptions");
    check("pods/eviction", json!("policy"), "Eviction");
    check("replicationcontrollers/scale", json!("autoscaling"), "Scale");
    check("serviceaccounts/token", json!("authentication.k8s.io"), "TokenRequest");
    assert!(resource_list(&catalogue, &GroupVersion::fixed("", "v2")).is_none());

    let rbac = group(&catalogue, &Registry::default(), "rbac.authorization.k8s.io").unwrap();
    assert_eq!(rbac["preferredVersion"]["groupVersion"], "rbac.authorization.k8s.io/v1");
    assert!(group(&catalogue, &Registry::default(), "").is_none());
    let groups = group_list(&catalogue, &Registry::default());
    named(&groups["groups"], "name", "discovery.k8s.io");
}
