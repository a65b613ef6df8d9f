//! Node restriction: what an agent may write depends on the object, not only on its kind.

use serde_json::Value;
use skiff_machinery::{Namespace, Object};

use super::NodeGraph;
use super::authorizer::LEASES;
use super::graph::{MIRROR, PodFacts};
use super::labels::forbidden;
use super::references;
use crate::{Attributes, Refusal};

/// What the checks know beside the request and its objects.
#[derive(Clone, Copy)]
pub(crate) struct Known<'k> {
    /// Which node runs which pods.
    pub(crate) graph: &'k NodeGraph,
    /// The UID of the caller's own Node; it is only asked for when [`needs_own_node`] says so.
    pub(crate) own_node: Option<&'k str>,
    /// Whether roles allow something.
    pub(crate) allowed: &'k dyn Fn(&Attributes<'_>) -> bool,
}

/// Whether a write of a node agent is checked against its own Node, and that node's name.
pub(crate) fn needs_own_node<'r>(request: &Attributes<'r>) -> Option<&'r str> {
    let creates_pod = (request.verb, request.group, request.resource) == ("create", "", "pods");
    request.user.node_name().filter(|node| creates_pod && request.subresource.is_empty() && !node.is_empty())
}

/// Checks a write of a node agent; writes of others pass. `new` is absent for deletions, `old` for
/// creations; for pods' subresources both are the pod.
pub(crate) fn admit(
    known: Known<'_>,
    request: &Attributes<'_>,
    new: Option<&Object>,
    old: Option<&Object>,
) -> Result<(), Refusal> {
    let Some(node) = request.user.node_name() else { return Ok(()) };
    check(known, node, request, new, old).map_err(|wrong| {
        let text = match wrong {
            Wrong::NoSuchNode => {
                return Refusal::NotFound { group: "", resource: "node", name: node.to_owned() };
            }
            Wrong::Says(text) => text,
        };
        let name = if request.name.is_empty() { new.map_or("", Object::name) } else { request.name };
        let resource = request.qualified_resource();
        Refusal::Forbidden(if name.is_empty() {
            format!("{resource} is forbidden: {text}")
        } else {
            format!("{resource} {name:?} is forbidden: {text}")
        })
    })
}

/// Why a node agent may not write something.
enum Wrong {
    /// It is forbidden, with this text.
    Says(String),
    /// The node itself is not there.
    NoSuchNode,
}

impl From<String> for Wrong {
    fn from(text: String) -> Self {
        Self::Says(text)
    }
}

fn check(
    known: Known<'_>,
    node: &str,
    request: &Attributes<'_>,
    new: Option<&Object>,
    old: Option<&Object>,
) -> Result<(), Wrong> {
    if node.is_empty() {
        return Err(format!("could not determine node from user {:?}", request.user.name).into());
    }
    let graph = known.graph;
    match (request.group, request.resource, request.subresource) {
        ("", "pods", "") => match (request.verb, new) {
            ("create", Some(new)) => mirror_pod(node, known.own_node, new)?,
            (verb, _) => pod(node, verb, old)?,
        },
        ("", "pods", "status") => pod_status(node, new, old)?,
        ("", "pods", "eviction") => eviction(graph, node, request)?,
        ("", "pods", other) => {
            let text =
                format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed");
            return Err(text.into());
        }
        ("", "nodes", _) => own_node(node, request, new, old)?,
        ("", "persistentvolumeclaims", "status") => claim_status(node, request.verb, new, old)?,
        ("", "persistentvolumeclaims", _) => return Err("may only update PVC status".to_owned().into()),
        ("", "serviceaccounts", "token") => token(known, node, request, new)?,
        ("coordination.k8s.io", "leases", _) => lease(node, request, new)?,
        ("storage.k8s.io", "csinodes", _) if new.map_or(request.name, Object::name) != node => {
            let text = "can only access CSINode with the same name as the requesting node";
            return Err(text.to_owned().into());
        }
        _ => {}
    }
    Ok(())
}

fn is_on(pod: Option<&Object>, node: &str) -> bool {
    pod.is_some_and(|pod| pod.str(&["spec", "nodeName"]) == node)
}

/// Nodes create pods only to show what they run already, which belongs to them and gives no access to anything.
fn mirror_pod(node: &str, own_node: Option<&str>, pod: &Object) -> Result<(), Wrong> {
    if !pod.annotations().contains_key(MIRROR) {
        let text =
            format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods");
        return Err(text.into());
    }
    if !is_on(Some(pod), node) {
        return Err(format!("node {node:?} can only create pods with spec.nodeName set to itself").into());
    }
    let said = owner_of_mirror(node, pod)?["uid"].as_str().unwrap_or_default();
    let uid = own_node.ok_or(Wrong::NoSuchNode)?;
    if said != uid {
        return Err(format!("node {node} UID mismatch: expected {said} got {uid}").into());
    }
    match references::of_pod(pod)? {
        Some(what) => Err(format!("node {node:?} can not create pods that reference {what}").into()),
        None => Ok(()),
    }
}

/// The only owner of a pod, which has to be the node.
fn owner_of_mirror<'p>(node: &str, pod: &'p Object) -> Result<&'p Value, String> {
    let owners = pod.get(&["metadata", "ownerReferences"]).and_then(Value::as_array);
    let owner = match owners.map_or(&[][..], Vec::as_slice) {
        [owner] => owner,
        [] => {
            return Err(format!("node {node:?} can only create pods with an owner reference set to itself"));
        }
        _ => {
            let text = "can only create pods with a single owner reference set to itself";
            return Err(format!("node {node:?} {text}"));
        }
    };
    if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != node {
        return Err(format!("node {node:?} can only create pods with an owner reference set to itself"));
    }
    if owner["controller"] != true {
        let text = "can only create pods with a controller owner reference set to itself";
        return Err(format!("node {node:?} {text}"));
    }
    if owner["blockOwnerDeletion"] == true {
        return Err(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
    }
    Ok(owner)
}

fn pod(node: &str, verb: &str, old: Option<&Object>) -> Result<(), String> {
    match verb {
        "delete" if is_on(old, node) => Ok(()),
        "delete" => Err(format!("node {node:?} can only delete pods with spec.nodeName set to itself")),
        other => {
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
    let Some(new) = new else { return Ok(()) };
    let source = new.get(&["spec", "configSource"]).filter(|source| !source.is_null());
    let Some(old) = old else {
        if source.is_some() {
            return Err(format!("node {node:?} is not allowed to create pods with a non-nil configSource"));
        }
        let labels = forbidden(&new.labels(), &Default::default());
        if !labels.is_empty() {
            let labels = labels.join(", ");
            return Err(format!("node {node:?} is not allowed to set the following labels: {labels}"));
        }
        return Ok(());
    };
    let differs = |path: &[&str]| new.get(path) != old.get(path);
    if source.is_some() && differs(&["spec", "configSource"]) {
        return Err(format!(
            "node {node:?} is not allowed to update configSource to a new non-nil configSource"
        ));
    }
    if differs(&["spec", "taints"]) {
        return Err(format!("node {node:?} is not allowed to modify taints"));
    }
    if differs(&["metadata", "ownerReferences"]) {
        return Err(format!("node {node:?} is not allowed to modify ownerReferences"));
    }
    let labels = forbidden(&new.labels(), &old.labels());
    if !labels.is_empty() {
        return Err(format!("is not allowed to modify labels: {}", labels.join(", ")));
    }
    Ok(())
}

/// Of a claim, a node tells how large its volume has become.
fn claim_status(node: &str, verb: &str, new: Option<&Object>, old: Option<&Object>) -> Result<(), String> {
    const FREE: [&[&str]; 6] = [
        &["metadata", "resourceVersion"],
        &["metadata", "managedFields"],
        &["status", "capacity"],
        &["status", "conditions"],
        &["status", "allocatedResources"],
        &["status", "allocatedResourceStatuses"],
    ];
    let (Some(new), Some(old), "update" | "patch") = (new, old, verb) else {
        return Err(format!("unexpected operation {:?}", verb.to_uppercase()));
    };
    let rest = |object: &Object| {
        let mut rest = object.clone();
        FREE.iter().for_each(|path| drop(rest.remove(path)));
        rest
    };
    if rest(new) != rest(old) {
        return Err(format!(
            "node {node:?} is not allowed to update fields other than status.quantity and status.conditions"
        ));
    }
    Ok(())
}

/// A token for a pod's ServiceAccount, bound to that pod, and for somebody for whom the pod has tokens.
fn token(known: Known<'_>, node: &str, request: &Attributes<'_>, new: Option<&Object>) -> Result<(), String> {
    let bound = |field: &str| new.map_or("", |token| token.str(&["spec", "boundObjectRef", field]));
    if bound("apiVersion") != "v1" || bound("kind") != "Pod" || bound("name").is_empty() {
        return Err("node requested token not bound to a pod".to_owned());
    }
    if bound("uid").is_empty() {
        return Err("node requested token with a pod binding without a uid".to_owned());
    }
    // The issuing checks that the pod exists and runs under the ServiceAccount.
    match known.graph.pod(node, Namespace::new(request.namespace), bound("name")) {
        None => Err("node requested token bound to a pod scheduled on a different node".to_owned()),
        Some(pod) if pod.uid != bound("uid") => Err(format!(
            "the UID in the bound object reference ({}) does not match the UID in record. \
             The object might have been deleted and then recreated",
            bound("uid")
        )),
        Some(pod) => audience(known, pod, request, new),
    }
}

/// For whom a token is: somebody whom the pod names, or for whom a role lets the node ask.
fn audience(
    known: Known<'_>,
    pod: &PodFacts,
    request: &Attributes<'_>,
    new: Option<&Object>,
) -> Result<(), String> {
    let asked = new.and_then(|token| token.get(&["spec", "audiences"])).and_then(Value::as_array);
    let audience = match asked.map_or(&[][..], Vec::as_slice) {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return Err("node may only request 0 or 1 audiences".to_owned()),
    };
    // Drivers of volumes would be looked at as well, but there are none that get tokens.
    let ask = Attributes {
        version: "v1",
        namespace: request.namespace,
        name: request.name,
        ..Attributes::resource(request.user, "request-serviceaccounts-token-audience", "", audience)
    };
    if pod.has_token_for(audience) || (known.allowed)(&ask) {
        return Ok(());
    }
    let user = &request.user.name;
    Err(format!(
        "audience {audience:?} not found in pod spec volume, {user} is not authorized to request tokens for this audience"
    ))
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
mod tests;
