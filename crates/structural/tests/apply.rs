//! Server-side apply of custom resources works from the schema alone.

use std::sync::Arc;

use serde_json::{Value, json};
use skiff_machinery::Object;
use skiff_machinery::managed::{Writer, apply, track_update};
use skiff_schema::{Root, Schema};
use skiff_structural::{KindName, Structural, schema};

fn root() -> Root {
    let structural = Structural::parse(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "plain": {"type": "array", "items": {"type": "string"}},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {"type": "object", "required": ["port"], "properties": {
                "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "name": {"type": "string"}}}},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "groups": {"type": "object", "additionalProperties": {
            "type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}},
        "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }}}}))
    .expect("a schema");
    let kind = KindName { group: "example.com", version: "v1", kind: "Widget" };
    schema(&structural, kind, &Arc::new(Schema::kubernetes())).expect("Kubernetes has ObjectMeta")
}

fn widget(spec: Value) -> Object {
    let value =
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec});
    Object::from_value(value).expect("an object")
}

fn writer(manager: &str) -> Writer<'_> {
    Writer {
        manager,
        subresource: "",
        now: "2026-01-01T00:00:00Z".parse().expect("a time"),
        settled: &[],
        keeps_nulls: false,
    }
}

#[test]
fn fields_are_owned_as_the_schema_says() {
    let mut object = widget(json!({
        "set": ["a"], "plain": ["a"], "ports": [{"port": 80}], "whole": {"a": "b"}, "labels": {"a": "b"},
        "groups": {"g": ["x"]}, "raw": {"any": {"thing": [1]}},
    }));
    track_update(&mut object, None, &root(), &writer("kubectl"));
    let fields = object.get(&["metadata", "managedFields"]).unwrap()[0]["fieldsV1"]["f:spec"].clone();
    let wanted = json!({
        ".": {},
        "f:set": {".": {}, "v:\"a\"": {}},
        "f:plain": {},
        "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}},
        "f:whole": {},
        "f:labels": {".": {}, "f:a": {}},
        "f:groups": {".": {}, "f:g": {".": {}, "v:\"x\"": {}}},
        "f:raw": {".": {}, "f:any": {".": {}, "f:thing": {}}},
    });
    assert_eq!(fields, wanted);
}

#[test]
fn configurations_of_two_managers_are_merged() {
    let root = root();
    let first = widget(json!({"set": ["a"], "ports": [{"port": 80, "name": "x"}], "groups": {"g": ["x"]}}));
    let live = apply(None, &first, &root, &writer("one"), false).unwrap();
    let second = widget(json!({"set": ["b"], "ports": [{"port": 81}], "groups": {"g": ["y"], "h": ["z"]}}));
    let live = apply(Some(&live), &second, &root, &writer("two"), false).unwrap();
    let wanted = json!({
        "set": ["a", "b"], "ports": [{"port": 80, "name": "x"}, {"port": 81}],
        "groups": {"g": ["x", "y"], "h": ["z"]},
    });
    assert_eq!(live.get(&["spec"]), Some(&wanted));
    let less = widget(json!({"ports": [{"port": 81}]}));
    let live = apply(Some(&live), &less, &root, &writer("two"), false).unwrap();
    let wanted =
        json!({"set": ["a"], "ports": [{"port": 80, "name": "x"}, {"port": 81}], "groups": {"g": ["x"]}});
    assert_eq!(live.get(&["spec"]), Some(&wanted));
    let other = widget(json!({"ports": [{"port": 80, "protocol": "TCP", "name": "y"}]}));
    let error = apply(Some(&live), &other, &root, &writer("two"), false).unwrap_err().to_string();
    assert_eq!(
        error,
        "Apply failed with 1 conflict: conflict with \"one\": .spec.ports[port=80,protocol=\"TCP\"].name"
    );
}
