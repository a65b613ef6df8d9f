use super::super::graph::tests::example;
use super::*;
use serde_json::json;
use skiff_identity::UserInfo;

/// `verb resource[/subresource]`; expected is a part of the message, empty for success.
fn check(request: &str, new: Value, old: Value, expected: &str) {
    let (verb, resource) = request.split_once(' ').unwrap();
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let user = UserInfo::node("n1");
    let group = match resource {
        "leases" => "coordination.k8s.io",
        "csinodes" => "storage.k8s.io",
        _ => "",
    };
    let namespace = match resource {
        "leases" => LEASES,
        "nodes" | "csinodes" => "",
        _ => "default",
    };
    let attributes =
        Attributes { subresource, namespace, ..Attributes::resource(&user, verb, group, resource) };
    let object = |value: &Value| Object::from_value(value.clone()).ok();
    let (new, old) = (object(&new), object(&old));
    let graph = example();
    let allowed = |attributes: &Attributes<'_>| attributes.resource == "anybody";
    let known = Known { graph: &graph, own_node: Some("n1-uid"), allowed: &allowed };
    match admit(known, &attributes, new.as_ref(), old.as_ref()) {
        Ok(()) => assert_eq!(expected, "", "{request} was allowed"),
        Err(error) => {
            let text = error.to_string();
            assert!(!expected.is_empty() && text.contains(expected), "{request}: {text}");
        }
    }
}

#[test]
fn pods() {
    let on = |node: &str| json!({"metadata": {"name": "p"}, "spec": {"nodeName": node}});
    check("create pods", on("n1"), Value::Null, "can only create mirror pods");
    check("delete pods", Value::Null, on("n1"), "");
    check("delete pods", Value::Null, on("n2"), r#"pods is forbidden: node "n1" can only delete"#);
    check("update pods", on("n1"), on("n1"), r#"unexpected operation "UPDATE""#);
    check("patch pods/status", on("n1"), on("n1"), "");
    check("patch pods/status", on("n2"), on("n2"), "can only update pod status");
    let mut labelled = on("n1");
    labelled["metadata"]["labels"] = json!({"a": "b"});
    check("update pods/status", labelled, on("n1"), "cannot update labels");
    check("update pods/binding", on("n1"), on("n1"), "unexpected pod subresource");
}

/// A mirror pod on `n1` with these owners.
fn mirror(owners: Value) -> Value {
    json!({
        "metadata": {"name": "p", "annotations": {MIRROR: "x"}, "ownerReferences": owners},
        "spec": {"nodeName": "n1"},
    })
}

fn node_owner() -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "n1-uid", "controller": true})
}

#[test]
fn mirror_pods_belong_to_their_node() {
    let with = |field: &str, value: Value| {
        let mut owner = node_owner();
        owner[field] = value;
        mirror(json!([owner]))
    };
    let of_itself = "can only create pods with an owner reference set to itself";
    let cases = [
        (mirror(json!([node_owner()])), ""),
        (with("blockOwnerDeletion", false.into()), ""),
        (mirror(Value::Null), of_itself),
        (mirror(json!([])), of_itself),
        (with("apiVersion", "v2".into()), of_itself),
        (with("kind", "Pod".into()), of_itself),
        (with("name", "n2".into()), of_itself),
        (mirror(json!([node_owner(), node_owner()])), "with a single owner reference set to itself"),
        (with("controller", false.into()), "with a controller owner reference set to itself"),
        (with("controller", Value::Null), "with a controller owner reference set to itself"),
        (
            with("blockOwnerDeletion", true.into()),
            r#"pods "p" is forbidden: node "n1" must not set blockOwnerDeletion on an owner reference"#,
        ),
        (with("uid", "other".into()), "node n1 UID mismatch: expected other got n1-uid"),
    ];
    for (pod, expected) in cases {
        check("create pods", pod, Value::Null, expected);
    }
    let mut elsewhere = mirror(json!([node_owner()]));
    elsewhere["spec"]["nodeName"] = "n2".into();
    check("create pods", elsewhere, Value::Null, "spec.nodeName set to itself");
    let mut refers = mirror(json!([node_owner()]));
    refers["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    let text = r#"node "n1" can not create pods that reference persistentvolumeclaims"#;
    check("create pods", refers, Value::Null, text);
}

#[test]
fn a_mirror_pod_of_a_node_that_is_not_there() {
    let (user, graph) = (UserInfo::node("n1"), example());
    let request = Attributes { namespace: "default", ..Attributes::resource(&user, "create", "", "pods") };
    assert_eq!(needs_own_node(&request), Some("n1"));
    assert_eq!(needs_own_node(&Attributes { subresource: "eviction", ..request }), None);
    let pod = Object::from_value(mirror(json!([node_owner()]))).unwrap();
    let known = Known { graph: &graph, own_node: None, allowed: &|_| false };
    let refused = admit(known, &request, Some(&pod), None).unwrap_err();
    assert_eq!(refused.to_string(), r#"node "n1" not found"#);
}

#[test]
fn nodes() {
    let named = |name: &str| json!({"metadata": {"name": name}});
    let labelled = |label: &str| json!({"metadata": {"name": "n1", "labels": {label: "x"}}});
    check("create nodes", named("n1"), Value::Null, "");
    check("create nodes", named("n2"), Value::Null, r#"node "n1" is not allowed to modify node "n2""#);
    check("create nodes", labelled("kubernetes.io/os"), Value::Null, "");
    check(
        "create nodes",
        labelled("node-role.kubernetes.io/x"),
        Value::Null,
        r#"nodes "n1" is forbidden: node "n1" is not allowed to set the following labels: node-role.kubernetes.io/x"#,
    );
    check(
        "update nodes",
        named("n1"),
        labelled("node-restriction.kubernetes.io/a"),
        "is not allowed to modify labels",
    );
    let mut tainted = named("n1");
    tainted["spec"] = json!({"taints": [{"key": "a", "effect": "NoSchedule"}]});
    check("create nodes", tainted.clone(), Value::Null, "");
    check("update nodes", named("n1"), tainted, "is not allowed to modify taints");
    let mut configured = named("n1");
    configured["spec"] = json!({"configSource": {"configMap": {"name": "c"}}});
    check("create nodes", configured.clone(), Value::Null, "non-nil configSource");
    check("update nodes", configured.clone(), named("n1"), "to a new non-nil configSource");
    check("update nodes", configured.clone(), configured.clone(), "");
    check("update nodes", named("n1"), configured, "");
}

#[test]
fn storage() {
    let claim = |metadata: Value, status: Value| json!({"metadata": metadata, "status": status});
    let old = || claim(json!({"name": "c", "resourceVersion": "1"}), json!({"phase": "Bound"}));
    let grown = claim(
        json!({"name": "c"}),
        json!({"phase": "Bound", "capacity": {"storage": "2Gi"}, "conditions": []}),
    );
    check("patch persistentvolumeclaims/status", grown, old(), "");
    let lost = claim(json!({"name": "c"}), json!({"phase": "Lost"}));
    let other = "is not allowed to update fields other than status.quantity and status.conditions";
    check("update persistentvolumeclaims/status", lost, old(), other);
    let labelled = claim(json!({"name": "c", "labels": {"a": "b"}}), json!({"phase": "Bound"}));
    check("update persistentvolumeclaims/status", labelled, old(), other);
    check("update persistentvolumeclaims", old(), old(), "may only update PVC status");
    check("create csinodes", json!({"metadata": {"name": "n1"}}), Value::Null, "");
    check("update csinodes", json!({"metadata": {"name": "n2"}}), Value::Null, "can only access CSINode");
}

#[test]
fn tokens_and_leases() {
    let bound = |name: &str, uid: &str| json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}}});
    check("create serviceaccounts/token", bound("p", "u1"), Value::Null, "");
    let to = |audiences: Value| {
        let mut request = bound("p", "u1");
        request["spec"]["audiences"] = audiences;
        request
    };
    check("create serviceaccounts/token", to(json!(["vault"])), Value::Null, "");
    check("create serviceaccounts/token", to(json!(["anybody"])), Value::Null, "");
    check(
        "create serviceaccounts/token",
        to(json!(["other"])),
        Value::Null,
        r#"audience "other" not found in pod spec volume, system:node:n1 is not authorized"#,
    );
    let text = "node may only request 0 or 1 audiences";
    check("create serviceaccounts/token", to(json!(["vault", "anybody"])), Value::Null, text);
    check("create serviceaccounts/token", bound("p", "u2"), Value::Null, "does not match the UID");
    check("create serviceaccounts/token", bound("p", ""), Value::Null, "without a uid");
    check("create serviceaccounts/token", bound("q", "u1"), Value::Null, "different node");
    check("create serviceaccounts/token", json!({"spec": {}}), Value::Null, "not bound to a pod");
    check("create leases", json!({"metadata": {"name": "n1"}}), Value::Null, "");
    check("create leases", json!({"metadata": {"name": "n2"}}), Value::Null, "same name");
}
