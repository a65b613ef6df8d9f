//! Node restriction: what an agent may write depends on the object, not only on its kind.

use skiff_machinery::{Namespace, Object};

use super::NodeGraph;
use super::authorizer::LEASES;
use super::graph::MIRROR;
use super::labels::forbidden;
use super::references;
use crate::{Attributes, Refusal};

/// Checks a write of a node agent; writes of others pass. `new` is absent for deletions, `old` for
/// creations; for pods' subresources both are the pod.
pub(crate) fn admit(
    graph: &NodeGraph,
    request: &Attributes<'_>,
    new: Option<&Object>,
    old: Option<&Object>,
) -> Result<(), Refusal> {
    let Some(node) = request.user.node_name() else { return Ok(()) };
    let check = if node.is_empty() {
        Err(format!("could not determine node from user {:?}", request.user.name))
    } else {
        match (request.group, request.resource, request.subresource) {
            ("", "pods", "") => pod(node, request.verb, new, old),
            ("", "pods", "status") => pod_status(node, new, old),
            ("", "pods", "eviction") => eviction(graph, node, request),
            ("", "pods", other) => {
                Err(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))
            }
            ("", "nodes", _) => own_node(node, request, new, old),
            ("", "serviceaccounts", "token") => token(graph, node, Namespace::new(request.namespace), new),
            ("coordination.k8s.io", "leases", _) => lease(node, request, new),
            _ => Ok(()),
        }
    };
    check.map_err(|text| {
        let name = if request.name.is_empty() { new.map_or("", Object::name) } else { request.name };
        let resource = request.qualified_resource();
        Refusal::Forbidden(if name.is_empty() {
            format!("{resource} is forbidden: {text}")
        } else {
            format!("{resource} {name:?} is forbidden: {text}")
        })
    })
}

fn is_on(pod: Option<&Object>, node: &str) -> bool {
    pod.is_some_and(|pod| pod.str(&["spec", "nodeName"]) == node)
}

fn pod(node: &str, verb: &str, new: Option<&Object>, old: Option<&Object>) -> Result<(), String> {
    match (verb, new) {
        ("create", Some(new)) if !new.annotations().contains_key(MIRROR) => {
            Err(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"))
        }
        ("create", new) if !is_on(new, node) => {
            Err(format!("node {node:?} can only create pods with spec.nodeName set to itself"))
        }
        ("create", new) => match new.map(references::of_pod).transpose()?.flatten() {
            Some(what) => Err(format!("node {node:?} can not create pods that reference {what}")),
            None => Ok(()),
        },
        ("delete", _) if !is_on(old, node) => {
            Err(format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
        }
        ("delete", _) => Ok(()),
        (other, _) => {
            let verb = other.to_uppercase();
            Err(format!(
                "unexpected operation {verb:?}, node {node:?} can only create and delete mirror pods"
            ))
        }
    }
}

fn pod_status(node: &str, new: Option<&Object>, old: Option<&Object>) -> Result<(), String> {
    if !is_on(old, node) {
        return Err(format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        ));
    }
    match (new, old) {
        (Some(new), Some(old)) if new.labels() != old.labels() => {
            Err(format!("node {node:?} cannot update labels through pod status"))
        }
        _ => Ok(()),
    }
}

fn eviction(graph: &NodeGraph, node: &str, request: &Attributes<'_>) -> Result<(), String> {
    match graph.pod(node, Namespace::new(request.namespace), request.name) {
        Some(_) => Ok(()),
        None => Err(format!("node {node} can only evict pods with spec.nodeName set to itself")),
    }
}

fn own_node(
    node: &str,
    request: &Attributes<'_>,
    new: Option<&Object>,
    old: Option<&Object>,
) -> Result<(), String> {
    let named = new.or(old).map_or(request.name, Object::name);
    if named != node {
        return Err(format!("node {node:?} is not allowed to modify node {named:?}"));
    }
    match (new, old) {
        (Some(new), None) => {
            let labels = forbidden(&new.labels(), &Default::default());
            if !labels.is_empty() {
                let labels = labels.join(", ");
                return Err(format!("node {node:?} is not allowed to set the following labels: {labels}"));
            }
        }
        (Some(new), Some(old)) => {
            let labels = forbidden(&new.labels(), &old.labels());
            if !labels.is_empty() {
                return Err(format!("is not allowed to modify labels: {}", labels.join(", ")));
            }
            if new.get(&["spec", "taints"]) != old.get(&["spec", "taints"]) {
                return Err(format!("node {node:?} is not allowed to modify taints"));
            }
            let owners = |object: &Object| object.get(&["metadata", "ownerReferences"]).cloned();
            if owners(new) != owners(old) {
                return Err(format!("node {node:?} is not allowed to modify ownerReferences"));
            }
        }
        _ => {}
    }
    Ok(())
}

/// A token for a pod's ServiceAccount, bound to that pod.
fn token(
    graph: &NodeGraph,
    node: &str,
    namespace: Namespace<'_>,
    request: Option<&Object>,
) -> Result<(), String> {
    let bound = |field: &str| request.map_or("", |r| r.str(&["spec", "boundObjectRef", field]));
    if bound("apiVersion") != "v1" || bound("kind") != "Pod" || bound("name").is_empty() {
        return Err("node requested token not bound to a pod".to_owned());
    }
    if bound("uid").is_empty() {
        return Err("node requested token with a pod binding without a uid".to_owned());
    }
    // The issuing checks that the pod exists and runs under the ServiceAccount.
    match graph.pod(node, namespace, bound("name")) {
        None => Err("node requested token bound to a pod scheduled on a different node".to_owned()),
        Some(pod) if pod.uid != bound("uid") => Err(format!(
            "the UID in the bound object reference ({}) does not match the UID in record. \
             The object might have been deleted and then recreated",
            bound("uid")
        )),
        Some(_) => Ok(()),
    }
}

fn lease(node: &str, request: &Attributes<'_>, new: Option<&Object>) -> Result<(), String> {
    if request.namespace != LEASES {
        return Err(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    if new.map_or(request.name, Object::name) != node {
        return Err("can only access node lease with the same name as the requesting node".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::graph::tests::example;
    use super::*;
    use serde_json::{Value, json};
    use skiff_identity::UserInfo;

    /// `verb resource[/subresource]`; expected is a part of the message, empty for success.
    fn check(request: &str, new: Value, old: Value, expected: &str) {
        let (verb, resource) = request.split_once(' ').unwrap();
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let user = UserInfo::node("n1");
        let group = if resource == "leases" { "coordination.k8s.io" } else { "" };
        let namespace = match resource {
            "leases" => LEASES,
            "nodes" => "",
            _ => "default",
        };
        let attributes =
            Attributes { subresource, namespace, ..Attributes::resource(&user, verb, group, resource) };
        let object = |value: &Value| Object::from_value(value.clone()).ok();
        let (new, old) = (object(&new), object(&old));
        match admit(&example(), &attributes, new.as_ref(), old.as_ref()) {
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
        let mut mirror = on("n1");
        mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        check("create pods", on("n1"), Value::Null, "can only create mirror pods");
        check("create pods", mirror.clone(), Value::Null, "");
        mirror["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
        check(
            "create pods",
            mirror,
            Value::Null,
            r#"node "n1" can not create pods that reference persistentvolumeclaims"#,
        );
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
    }

    #[test]
    fn tokens_and_leases() {
        let bound = |name: &str, uid: &str| json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}}});
        check("create serviceaccounts/token", bound("p", "u1"), Value::Null, "");
        check("create serviceaccounts/token", bound("p", "u2"), Value::Null, "does not match the UID");
        check("create serviceaccounts/token", bound("p", ""), Value::Null, "without a uid");
        check("create serviceaccounts/token", bound("q", "u1"), Value::Null, "different node");
        check("create serviceaccounts/token", json!({"spec": {}}), Value::Null, "not bound to a pod");
        check("create leases", json!({"metadata": {"name": "n1"}}), Value::Null, "");
        check("create leases", json!({"metadata": {"name": "n2"}}), Value::Null, "same name");
    }
}
