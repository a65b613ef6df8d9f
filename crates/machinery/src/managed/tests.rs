use super::*;
use crate::testing::root;
use serde_json::{Value, json};

const SERVICE: &str = "io.k8s.api.core.v1.Service";
const POD: &str = "io.k8s.api.core.v1.Pod";

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

fn writer(manager: &str) -> Writer<'_> {
    Writer {
        manager,
        subresource: "",
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
        settled: &[],
        keeps_nulls: false,
    }
}

fn service(spec: Value) -> Object {
    object(
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "uid": "u"}, "spec": spec}),
    )
}

/// `manager operation` → fieldsV1 of every entry.
fn entries(object: &Object) -> Vec<(String, Value)> {
    let list =
        object.get(&["metadata", "managedFields"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    let show = |entry: &Value| {
        (format!("{} {}", text(entry, "manager"), text(entry, "operation")), entry["fieldsV1"].clone())
    };
    list.iter().map(show).collect()
}

fn check_entries(object: &Object, expected: &[(&str, Value)]) {
    let expected: Vec<_> = expected.iter().map(|(name, set)| ((*name).to_owned(), set.clone())).collect();
    assert_eq!(entries(object), expected);
}

#[test]
fn a_create_owns_everything_it_set() {
    let mut created = service(json!({
        "type": "ClusterIP",
        "selector": {"app": "x"},
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}],
    }));
    created.set(&["metadata", "labels", "l"], "1");
    track_update(&mut created, None, &root(SERVICE), &writer("kubectl-create"));
    let fields = json!({
        "f:metadata": {"f:labels": {".": {}, "f:l": {}}},
        "f:spec": {
            "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {
                ".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {},
            }},
            "f:selector": {},
            "f:type": {},
        },
    });
    let expected = json!([{
        "manager": "kubectl-create", "operation": "Update", "apiVersion": "v1",
        "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields,
    }]);
    assert_eq!(created.get(&["metadata", "managedFields"]), Some(&expected));
}

#[test]
fn the_containers_of_a_pod_are_not_an_added_field() {
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    let mut pod = object(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec}));
    track_update(&mut pod, None, &root(POD), &writer("m"));
    let containers = json!({"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}}});
    check_entries(&pod, &[("m Update", json!({"f:spec": {"f:containers": containers}}))]);
}

#[test]
fn who_writes_an_empty_list_writes_it_though_its_items_are_owned_by_themselves() {
    let root = root("io.k8s.api.storage.v1.CSINode");
    let node = |drivers: Value| object(json!({"metadata": {"name": "n"}, "spec": {"drivers": drivers}}));
    let check = |mut created: Object, expected: &[(&str, Value)]| {
        track_update(&mut created, None, &root, &writer("m"));
        check_entries(&created, expected);
    };
    check(node(json!([])), &[("m Update", json!({"f:spec": {"f:drivers": {}}}))]);
    let item = json!({"k:{\"name\":\"d\"}": {".": {}, "f:name": {}}});
    check(node(json!([{"name": "d"}])), &[("m Update", json!({"f:spec": {"f:drivers": item}}))]);
    check(object(json!({"metadata": {"name": "n"}, "spec": {}})), &[]);

    // What is kept of it is null, and to apply an empty list is to change that.
    let mut live = node(json!([]));
    track_update(&mut live, None, &root, &writer("m"));
    live.set(&["spec", "drivers"], Value::Null);
    let refused = apply(Some(&live), &node(json!([])), &root, &writer("x"), false).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Apply failed with 1 conflict: conflict with \"m\" using : .spec.drivers"
    );
}

#[test]
fn a_field_may_divide_what_its_definition_leaves_whole() {
    let volume = json!({"spec": {"claimRef": {"name": "c", "namespace": "n"}}});
    let mut volume = object(volume);
    track_update(&mut volume, None, &root("io.k8s.api.core.v1.PersistentVolume"), &writer("m"));
    let claim = json!({".": {}, "f:name": {}, "f:namespace": {}});
    check_entries(&volume, &[("m Update", json!({"f:spec": {"f:claimRef": claim}}))]);
}

#[test]
fn what_differs_in_its_times_alone_keeps_them() {
    let at = |time: &str, kind: &str| {
        let mut service = service(json!({"type": kind}));
        let entry = json!({"manager": "m", "operation": "Update", "time": time, "fieldsV1": {"f:spec": {}}});
        service.set(&["metadata", "managedFields"], json!([entry]));
        service
    };
    let (first, second) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z");
    let kept = |mut now: Object| {
        keep_times(&mut now, &at(first, "ClusterIP"));
        now.get(&["metadata", "managedFields"]).unwrap()[0]["time"].clone()
    };
    assert_eq!(kept(at(second, "ClusterIP")), first);
    assert_eq!(kept(at(second, "NodePort")), second);
}

#[test]
fn an_update_takes_over_what_it_changes() {
    let mut old = service(json!({"type": "ClusterIP", "clusterIP": "1.2.3.4", "sessionAffinity": "None"}));
    track_update(&mut old, None, &root(SERVICE), &writer("a"));
    let mut new = service(json!({"type": "NodePort", "clusterIP": "1.2.3.4", "externalName": "x"}));
    track_update(&mut new, Some(&old), &root(SERVICE), &writer("b"));
    check_entries(
        &new,
        &[
            ("a Update", json!({"f:spec": {"f:clusterIP": {}}})),
            ("b Update", json!({"f:spec": {"f:externalName": {}, "f:type": {}}})),
        ],
    );
    let mut same = new.clone();
    same.remove(&["metadata", "managedFields"]);
    track_update(&mut same, Some(&new), &root(SERVICE), &writer("c"));
    assert_eq!(same, new);
}

#[test]
fn a_client_may_edit_or_reset_entries() {
    let mut old = service(json!({"type": "ClusterIP"}));
    track_update(&mut old, None, &root(SERVICE), &writer("a"));
    let mut reset = service(json!({"type": "ClusterIP"}));
    reset.set(&["metadata", "managedFields"], json!([{}]));
    track_update(&mut reset, Some(&old), &root(SERVICE), &writer("b"));
    check_entries(&reset, &[]);
    let mut edited = service(json!({"type": "ClusterIP"}));
    let fields = json!({"f:spec": {"f:type": {}}});
    let entry = json!({"manager": "z", "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields});
    edited.set(&["metadata", "managedFields"], json!([entry]));
    track_update(&mut edited, Some(&old), &root(SERVICE), &writer("b"));
    check_entries(&edited, &[("z Apply", fields)]);
}

#[test]
fn many_updaters_are_folded() {
    let mut live: Option<Object> = None;
    for i in 0..15_u8 {
        let mut next = live.clone().unwrap_or_else(|| service(json!({})));
        next.set(&["metadata", "labels", &format!("l{i:02}")], "1");
        let name = format!("m{i:02}");
        let mut by = writer(&name);
        by.now = by.now.checked_add(jiff::SignedDuration::from_secs(i.into())).unwrap();
        track_update(&mut next, live.as_ref(), &root(SERVICE), &by);
        live = Some(next);
    }
    let entries = entries(&live.unwrap());
    assert_eq!(entries.len(), 10);
    assert_eq!(entries[0].0, "ancient-changes Update");
    assert_eq!(entries[9].0, "m14 Update");
}

#[test]
fn an_apply_owns_what_it_mentions_and_removes_what_it_no_longer_does() {
    let config = |labels: Value| {
        let mut object = service(json!({"ports": [{"port": 80, "targetPort": 8080}]}));
        object.remove(&["metadata", "uid"]);
        object.set(&["metadata", "labels"], labels);
        object
    };
    let first =
        apply(None, &config(json!({"a": "1", "b": "2"})), &root(SERVICE), &writer("x"), false).unwrap();
    let port = json!({"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:targetPort": {}}});
    let fields = |labels: Value| json!({"f:metadata": {"f:labels": labels}, "f:spec": {"f:ports": port}});
    check_entries(&first, &[("x Apply", fields(json!({"f:a": {}, "f:b": {}})))]);

    let mut touched = first.clone();
    touched.set(&["metadata", "labels", "other"], "9");
    track_update(&mut touched, Some(&first), &root(SERVICE), &writer("y"));

    let second =
        apply(Some(&touched), &config(json!({"b": "3"})), &root(SERVICE), &writer("x"), false).unwrap();
    assert_eq!(second.labels(), [("b", "3"), ("other", "9")].into());
    check_entries(
        &second,
        &[
            ("x Apply", fields(json!({"f:b": {}}))),
            ("y Update", json!({"f:metadata": {"f:labels": {"f:other": {}}}})),
        ],
    );
    let again =
        apply(Some(&second), &config(json!({"b": "3"})), &root(SERVICE), &writer("x"), false).unwrap();
    assert_eq!(again, second);
}

#[test]
fn an_apply_conflicts_unless_forced() {
    let mut live = service(json!({"type": "ClusterIP", "sessionAffinity": "None"}));
    track_update(&mut live, None, &root(SERVICE), &writer("kubectl-create"));
    let config = service(json!({"type": "NodePort", "sessionAffinity": "None"}));
    let refused = apply(Some(&live), &config, &root(SERVICE), &writer("x"), false).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-create\" using v1: .spec.type"
    );
    let forced = apply(Some(&live), &config, &root(SERVICE), &writer("x"), true).unwrap();
    assert_eq!(forced.str(&["spec", "type"]), "NodePort");
    check_entries(
        &forced,
        &[
            ("x Apply", json!({"f:spec": {"f:sessionAffinity": {}, "f:type": {}}})),
            ("kubectl-create Update", json!({"f:spec": {"f:sessionAffinity": {}}})),
        ],
    );
}

#[test]
fn an_apply_removes_items_that_only_it_owned() {
    let config = |ports: Value| service(json!({"ports": ports}));
    let live =
        apply(None, &config(json!([{"port": 80}, {"port": 443}])), &root(SERVICE), &writer("x"), false)
            .unwrap();
    let next =
        apply(Some(&live), &config(json!([{"port": 443}])), &root(SERVICE), &writer("x"), false).unwrap();
    assert_eq!(next.get(&["spec", "ports"]), Some(&json!([{"port": 443}])));
}

#[test]
fn an_apply_owns_status_only_through_its_subresource() {
    let mut config = service(json!({"type": "ClusterIP"}));
    config.set(&["status", "loadBalancer", "ingress"], json!([{"ip": "1.2.3.4"}]));
    let live = apply(None, &config, &root(SERVICE), &writer("x"), false).unwrap();
    check_entries(&live, &[("x Apply", json!({"f:spec": {"f:type": {}}}))]);
    let by = Writer { subresource: "status", ..writer("x") };
    let next = apply(Some(&live), &config, &root(SERVICE), &by, false).unwrap();
    assert_eq!(next.get(&["status"]), config.get(&["status"]));
    let status = json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}});
    check_entries(&next, &[("x Apply", json!({"f:spec": {"f:type": {}}})), ("x Apply", status)]);
}

#[test]
fn an_item_whose_key_changed_goes_whole() {
    let config = |port: u16| service(json!({"ports": [{"port": port, "name": "a"}]}));
    let mut live = apply(None, &config(80), &root(SERVICE), &writer("me"), false).unwrap();
    // What the server filled in belongs to nobody and does not keep the item.
    live.set(&["spec", "ports"], json!([{"port": 80, "name": "a", "protocol": "TCP", "targetPort": 80}]));
    let changed = apply(Some(&live), &config(81), &root(SERVICE), &writer("me"), false).unwrap();
    assert_eq!(changed.get(&["spec", "ports"]), Some(&json!([{"port": 81, "name": "a"}])));
}

#[test]
fn an_applied_list_keeps_its_order() {
    let check = |live: &[&str], config: &[&str], expected: &[&str]| {
        let pod = |names: &[&str]| {
            let containers: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            object(
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": containers}}),
            )
        };
        let applied = apply(Some(&pod(live)), &pod(config), &root(POD), &writer("m"), true).unwrap();
        let items = applied.get(&["spec", "containers"]).and_then(Value::as_array).unwrap();
        let names: Vec<&str> = items.iter().filter_map(|item| item["name"].as_str()).collect();
        assert_eq!(names, expected, "{live:?} + {config:?}");
    };
    check(&["b"], &["a", "b"], &["a", "b"]);
    check(&["a", "b"], &["b", "a"], &["b", "a"]);
    check(&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]);
    check(&["x", "a"], &["a", "n"], &["x", "a", "n"]);
    check(&["a", "x", "b"], &["b", "n", "a"], &["x", "b", "n", "a"]);
    check(&["a", "x"], &["n", "a"], &["n", "a", "x"]);
    check(&[], &["b", "a"], &["b", "a"]);
}

#[test]
fn who_applies_null_where_nothing_is_writes_now() {
    let config = object(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
        "spec": {"type": "ClusterIP", "externalIPs": null}}));
    let live = service(json!({"type": "ClusterIP"}));
    let applied = apply(Some(&live), &config, &root(SERVICE), &writer("x"), false).unwrap();
    assert_eq!(applied.get(&["spec"]), Some(&json!({"type": "ClusterIP"})));
    let entries = applied.get(&["metadata", "managedFields"]).and_then(Value::as_array).unwrap();
    let own = entries.iter().find(|entry| entry["manager"] == "x").unwrap();
    assert_eq!(own["fieldsV1"], json!({"f:spec": {"f:externalIPs": {}, "f:type": {}}}));
    assert_eq!(own["time"], "2026-01-01T00:00:00Z");
}

#[test]
fn who_applies_null_keeps_what_is_divided() {
    let live = service(json!({"selector": {"a": "b"}, "ports": [{"port": 80, "protocol": "TCP"}]}));
    let config = object(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
        "spec": {"ports": null, "type": null}}));
    let merged = apply(Some(&live), &config, &root(SERVICE), &writer("m"), true).unwrap();
    let ports = json!([{"port": 80, "protocol": "TCP"}]);
    assert_eq!((merged.get(&["spec", "ports"]), merged.get(&["spec", "type"])), (Some(&ports), None));
}

#[test]
fn replicas_that_a_scale_writes_are_in_an_entry_apart() {
    let deployment = |replicas: u32| {
        let spec = json!({"replicas": replicas, "paused": true});
        object(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}),
        )
    };
    let root = root("io.k8s.api.apps.v1.Deployment");
    let scaler = Writer { subresource: "scale", ..writer("scaler") };
    let scaled = |old: &Object, replicas: u32| {
        let mut new = old.clone();
        new.set(&["spec", "replicas"], replicas);
        track_update(&mut new, Some(old), &root, &scaler);
        track_scale(&mut new, old, &["spec", "replicas"], &scaler);
        new
    };
    let mut old = deployment(1);
    track_update(&mut old, None, &root, &writer("m"));
    let (rest, replicas) = (json!({"f:spec": {"f:paused": {}}}), json!({"f:spec": {"f:replicas": {}}}));
    check_entries(&scaled(&old, 1), &[("m Update", replicas.clone()), ("m Update", rest.clone())]);
    let changed = scaled(&old, 2);
    check_entries(&changed, &[("scaler Update", replicas.clone()), ("m Update", rest)]);
    assert_eq!(changed.get(&["metadata", "managedFields"]).unwrap()[0].get("time"), None);
}
