use super::*;
use crate::Structural;
use serde_json::json;

fn meta() -> ObjectMeta {
    ObjectMeta::of(&Arc::new(Schema::kubernetes())).unwrap()
}

fn embedding() -> Structural {
    Structural::parse(&json!({"type": "object", "properties": {
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true},
        "list": {"type": "array", "items": {"type": "object", "x-kubernetes-embedded-resource": true}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "x-kubernetes-embedded-resource": true}},
    }}))
    .unwrap()
}

#[test]
fn metadata_takes_the_form_of_object_meta() {
    let check = |value: Value, malformed: Malformed, wanted: Value, unknown: &[&str]| {
        let mut got = value.clone();
        let paths = meta().coerce(&mut got, &embedding(), true, malformed).unwrap();
        assert_eq!((got, paths), (wanted, unknown.iter().map(ToString::to_string).collect()), "{value}");
    };
    check(
        json!({"metadata": {"name": "a", "x": 1, "creationTimestamp": null, "labels": {"a": "b"}}, "spec": {"y": 1}}),
        Malformed::Refuse,
        json!({"metadata": {"name": "a", "labels": {"a": "b"}}, "spec": {"y": 1}}),
        &["metadata.x"],
    );
    check(
        json!({"pod": {"metadata": {"q": 1}}, "list": [{"metadata": {"r": 1}}, {"metadata": {}}]}),
        Malformed::Refuse,
        json!({"pod": {"metadata": {}}, "list": [{"metadata": {}}, {"metadata": {}}]}),
        &["list[0].metadata.r", "pod.metadata.q"],
    );
    check(
        json!({"kind": 1, "metadata": {"name": 1, "labels": {"a": 1}, "uid": "u", "z": 1}}),
        Malformed::Drop,
        json!({"metadata": {"uid": "u"}}),
        &["metadata.z"],
    );
}

#[test]
fn malformed_metadata_is_refused() {
    let check = |value: Value, wanted: &str| {
        let error = meta().coerce(&mut value.clone(), &embedding(), true, Malformed::Refuse).unwrap_err();
        assert_eq!(error.to_string(), wanted, "{value}");
    };
    check(json!({"kind": 1}), "kind: Invalid value: 1: must be a string");
    check(
        json!({"map": {"k": {"apiVersion": []}}}),
        "map[k].apiVersion: Invalid value: []: must be a string",
    );
    check(
        json!({"metadata": {"labels": {"a": 1}}}),
        r#"metadata: Invalid value: {"labels":{"a":1}}: json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"#,
    );
}

#[test]
fn embedded_resources_are_checked() {
    let check = |value: Value, is_root: bool, wanted: &[&str]| {
        let errors = check_metadata(&value, &embedding(), is_root);
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), wanted, "{value}");
    };
    check(json!({}), false, &[]);
    check(json!({}), true, &["apiVersion: Required value", "kind: Required value"]);
    check(json!({"pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a"}}}), false, &[]);
    check(
        json!({"map": {"k": {"kind": ""}}, "list": [{"apiVersion": "a/b/c", "kind": 5}]}),
        false,
        &[
            "list[0].apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
            "list[0].kind: Invalid value: 5: must be a string",
            "map[k].apiVersion: Required value",
            "map[k].kind: Invalid value: \"\": must not be empty",
        ],
    );
    check(
        json!({"pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": "..", "generateName": "..", "generation": -1, "labels": {"a": "b"},
            "ownerReferences": [
                {"apiVersion": "a/", "kind": "", "name": "n", "uid": "u", "controller": true},
                {"apiVersion": "v1", "kind": "K", "name": "m", "uid": "u", "controller": true}]}}}),
        false,
        &[
            "pod.metadata.name: Invalid value: \"..\": may not be '..'",
            "pod.metadata.generation: Invalid value: -1: must be greater than or equal to 0",
            "pod.metadata.ownerReferences.apiVersion: Invalid value: \"a/\": version must not be empty",
            "pod.metadata.ownerReferences.kind: Invalid value: \"\": must not be empty",
            "pod.metadata.ownerReferences: Invalid value: [{\"apiVersion\":\"a/\",\"controller\":true,\"kind\":\"\",\"name\":\"n\",\"uid\":\"u\"},{\"apiVersion\":\"v1\",\"controller\":true,\"kind\":\"K\",\"name\":\"m\",\"uid\":\"u\"}]: Only one reference can have Controller set to true. Found \"true\" in references for /n and K/m",
        ],
    );
}

#[test]
fn objects_take_the_form_of_their_schema() {
    let check = |value: Value, wanted: Value, unknown: &[&str]| {
        let mut got = value.clone();
        let paths = meta().read(&mut got, &embedding(), Malformed::Refuse).unwrap();
        assert_eq!((got, paths), (wanted, unknown.iter().map(ToString::to_string).collect()), "{value}");
    };
    check(
        json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "a", "x": 1}, "other": 1, "map": null,
            "pod": {"kind": "Pod", "metadata": {"q": 1, "uid": "u"}, "spec": 1}}),
        json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "a"},
            "pod": {"kind": "Pod", "metadata": {"uid": "u"}}}),
        &["metadata.x", "other", "pod.spec", "pod.metadata.q"],
    );
    let refused = |mut value: Value, wanted: &str| {
        let error = meta().read(&mut value, &embedding(), Malformed::Refuse).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    };
    refused(json!({"kind": 5}), ".kind accessor error: 5 is of the type int64, expected string");
    refused(
        json!({"metadata": {"name": 5}}),
        "json: cannot unmarshal number into Go struct field ObjectMeta.name of type string",
    );
    refused(
        json!({"list": [{"metadata": []}]}),
        "list[0].metadata: Invalid value: []: json: cannot unmarshal array into Go value of type v1.ObjectMeta",
    );
}
