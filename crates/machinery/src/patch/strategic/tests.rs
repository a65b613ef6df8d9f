use super::*;
use crate::testing::root;
use serde_json::json;

const SERVICE: &str = "io.k8s.api.core.v1.Service";
const POD: &str = "io.k8s.api.core.v1.Pod";

fn patched(definition: &str, original: Value, patch: Value) -> Result<Value, PatchError> {
    let (Value::Object(original), Value::Object(patch)) = (original, patch) else { panic!("objects") };
    let root = root(definition);
    apply(root.schema(), root.ty(), original, patch).map(Value::Object)
}

fn check(definition: &str, original: Value, patch: Value, expected: Value) {
    assert_eq!(patched(definition, original, patch.clone()).unwrap(), expected, "{patch}");
}

fn spec(field: &str, value: Value) -> Value {
    json!({"spec": {field: value}})
}

#[test]
fn merges_maps_and_deletes_with_null() {
    let labels = |labels: Value| json!({"metadata": {"labels": labels}});
    check(
        POD,
        labels(json!({"a": "1", "b": "2"})),
        labels(json!({"b": null, "c": "3"})),
        labels(json!({"a": "1", "c": "3"})),
    );
    check(POD, json!({}), labels(json!({"a": "1", "b": null})), labels(json!({"a": "1"})));
    check(POD, labels(json!({"a": "1"})), json!({"metadata": {"labels": null}}), json!({"metadata": {}}));
    check(
        SERVICE,
        spec("type", json!("NodePort")),
        spec("type", json!("ClusterIP")),
        spec("type", json!("ClusterIP")),
    );
}

#[test]
fn merges_service_ports_by_port() {
    let ports = |ports: Value| spec("ports", ports);
    check(
        SERVICE,
        ports(json!([{"port": 80, "nodePort": 30000}, {"port": 443}])),
        ports(json!([{"port": 80, "targetPort": 8080}, {"port": 53}])),
        ports(json!([{"port": 80, "nodePort": 30000, "targetPort": 8080}, {"port": 53}, {"port": 443}])),
    );
    check(
        SERVICE,
        ports(json!([{"port": 80}, {"port": 443}])),
        ports(json!([{"$patch": "delete", "port": 80}])),
        ports(json!([{"port": 443}])),
    );
    check(
        SERVICE,
        ports(json!([{"port": 80}, {"port": 443}])),
        ports(json!([{"$patch": "replace"}, {"port": 8}])),
        ports(json!([{"port": 8}])),
    );
}

#[test]
fn merges_containers_within_containers() {
    let containers = |containers: Value| spec("containers", containers);
    check(
        POD,
        containers(json!([{"name": "a", "image": "i", "env": [{"name": "X", "value": "1"}], "args": ["a"]}])),
        containers(
            json!([{"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": null}], "args": ["b"]}]),
        ),
        containers(
            json!([{"name": "a", "image": "i", "env": [{"name": "Y", "value": "2"}, {"name": "X"}], "args": ["b"]}]),
        ),
    );
}

#[test]
fn replaces_lists_without_a_key() {
    let tolerations = |list: Value| spec("tolerations", list);
    check(
        POD,
        tolerations(json!([{"key": "a"}])),
        tolerations(json!([{"key": "b"}])),
        tolerations(json!([{"key": "b"}])),
    );
}

#[test]
fn merges_scalars_and_deletes_from_them() {
    let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
    check(POD, finalizers(json!(["a"])), finalizers(json!(["b", "a"])), finalizers(json!(["b", "a"])));
    check(POD, finalizers(json!(["a", "b"])), finalizers(json!(["c"])), finalizers(json!(["c", "a", "b"])));
    check(
        POD,
        finalizers(json!(["a", "b"])),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}),
        finalizers(json!(["b"])),
    );
    check(
        POD,
        finalizers(json!(["a", "b", "c"])),
        json!({"metadata": {"$setElementOrder/finalizers": ["c", "a"], "finalizers": ["c"]}}),
        finalizers(json!(["b", "c", "a"])),
    );
}

#[test]
fn merges_owner_references_by_uid() {
    let owners = |list: Value| json!({"metadata": {"ownerReferences": list}});
    check(
        POD,
        owners(json!([{"uid": "1", "name": "a"}, {"uid": "2"}])),
        owners(json!([{"uid": "1", "controller": true}, {"uid": "2", "$patch": "delete"}])),
        owners(json!([{"uid": "1", "name": "a", "controller": true}])),
    );
}

#[test]
fn keeps_only_retained_keys() {
    let volumes = |list: Value| spec("volumes", list);
    check(
        POD,
        volumes(json!([{"name": "v", "emptyDir": {}}])),
        volumes(json!([{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}])),
        volumes(json!([{"name": "v", "hostPath": {"path": "/x"}}])),
    );
}

#[test]
fn replaces_and_deletes_whole_maps() {
    let selector = |map: Value| spec("selector", map);
    check(
        SERVICE,
        selector(json!({"a": "1"})),
        selector(json!({"$patch": "replace", "b": "2"})),
        selector(json!({"b": "2"})),
    );
    check(SERVICE, selector(json!({"a": "1"})), selector(json!({"$patch": "delete"})), selector(json!({})));
    let merge = selector(json!({"$patch": "merge", "b": "2"}));
    let refused = patched(SERVICE, selector(json!({"a": "1"})), merge).unwrap_err().to_string();
    assert_eq!(refused, "unknown patch type: merge in map: map[$patch:merge b:2]");
}

#[test]
fn what_is_new_is_taken_without_directives_and_nulls() {
    let owners = |owners: Value| json!({"metadata": {"ownerReferences": owners}});
    check(SERVICE, json!({}), owners(json!([{"$patch": "delete", "uid": "u"}])), owners(json!([])));
    check(
        SERVICE,
        json!({}),
        owners(json!([null, {"uid": "u", "name": null}])),
        owners(json!([null, {"uid": "u"}])),
    );
    check(SERVICE, json!({}), spec("selector", json!({"$patch": "replace", "a": "1"})), json!({"spec": {}}));
    let budget = |labels: Value| spec("selector", json!({"matchLabels": labels}));
    // It is replaced as a whole, by what is no directive there.
    check(
        "io.k8s.api.policy.v1.PodDisruptionBudget",
        budget(json!({"a": "b"})),
        budget(json!({"$patch": "delete"})),
        budget(json!({"$patch": "delete"})),
    );
}

#[test]
fn sets_the_order_of_items() {
    let names = |names: &[&str]| -> Vec<Value> { names.iter().map(|n| json!({"name": n})).collect() };
    let order = |original: &[&str], order: &[&str], patch: &[&str], expected: &[&str]| {
        check(
            POD,
            json!({"spec": {"containers": names(original)}}),
            json!({"spec": {"$setElementOrder/containers": names(order), "containers": names(patch)}}),
            json!({"spec": {"containers": names(expected)}}),
        );
    };
    order(&["a", "b"], &["b", "a"], &[], &["b", "a"]);
    order(&["a"], &["new", "a"], &["new"], &["new", "a"]);
    order(&["server", "a", "b"], &["b", "a"], &[], &["server", "b", "a"]);
    order(&["a", "server", "b"], &["a", "b"], &[], &["a", "server", "b"]);
}

#[test]
fn refuses_malformed_patches() {
    let check = |patch: Value, error: &str| {
        let original = json!({"spec": {"ports": [{"port": 80}]}});
        let got = patched(SERVICE, original, patch.clone()).unwrap_err();
        assert!(got.to_string().contains(error), "{patch}: {got}");
    };
    check(spec("ports", json!([{"name": "x"}])), "does not contain declared merge key: port");
    check(spec("ports", json!([{"$patch": "delete"}])), "does not contain declared merge key: port");
    check(spec("ports", json!([1])), "list element types are not identical: [[map[port:80]] [1]]");
    check(spec("$patch", json!("frob")), "unknown patch type: frob in map: map[$patch:frob]");
    check(spec("$setElementOrder/ports", json!(1)), "invalid patch format of setElementOrder");
    check(json!({"spec": {"$retainKeys": ["a"], "type": "x"}}), "invalid patch format of retainKeys");
}
