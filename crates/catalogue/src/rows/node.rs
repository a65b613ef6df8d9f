//! Node.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{self, NONE, age, age_column, items, name_column, or_none, str_of, text, wide};
use super::{CORE, Plain, stored};
use crate::{Kind, Object, Row, Scope, Selectable, Subresource};

pub(super) fn row() -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Status", "Whether the node can run pods."),
            text("Roles", "Roles from the node's labels."),
            age_column(),
            text("Version", "Kubernetes version of the node agent."),
            wide("Internal-IP", "Address inside the cluster."),
            wide("External-IP", "Address outside the cluster."),
            wide("OS-Image", "Operating system of the node."),
            wide("Kernel-Version", "Kernel of the node."),
            wide("Container-Runtime", "Container runtime of the node."),
        ],
        print,
        selectable: &[Selectable {
            label: "spec.unschedulable",
            value: |node| unschedulable(node).to_string(),
        }],
        ..stored(CORE, "io.k8s.api.core.v1.Node", Scope::Cluster, Plain)
            .short(&["no"])
            .below(&[Subresource::Proxy, Subresource::Status])
    }
}

fn unschedulable(node: &Object) -> bool {
    node.get(&["spec", "unschedulable"]).and_then(Value::as_bool).unwrap_or(false)
}

fn print(node: &Object, now: Timestamp) -> Row {
    let info = |field: &str| or_unknown(node.str(&["status", "nodeInfo", field]).to_owned());
    let architecture = node.str(&["status", "nodeInfo", "architecture"]);
    let mut kernel = info("kernelVersion");
    if !architecture.is_empty() {
        kernel = format!("{kernel} ({architecture})");
    }
    cells::row([
        node.name().into(),
        status(node).into(),
        roles(node).into(),
        age(node, now),
        node.str(&["status", "nodeInfo", "kubeletVersion"]).into(),
        address(node, "InternalIP").into(),
        address(node, "ExternalIP").into(),
        info("osImage").into(),
        kernel.into(),
        info("containerRuntimeVersion").into(),
    ])
}

fn or_unknown(text: String) -> String {
    if text.is_empty() { "<unknown>".to_owned() } else { text }
}

fn status(node: &Object) -> String {
    let conditions = items(node, &["status", "conditions"]);
    let ready = conditions.iter().find(|condition| str_of(condition, "type") == "Ready");
    let mut text = match ready {
        Some(condition) if str_of(condition, "status") == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if unschedulable(node) {
        text.push_str(",SchedulingDisabled");
    }
    text
}

fn roles(node: &Object) -> String {
    let mut roles: Vec<&str> = Vec::new();
    for (label, value) in node.labels() {
        match label.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => roles.push(role),
            None if label == "kubernetes.io/role" && !value.is_empty() => roles.push(value),
            _ => {}
        }
    }
    roles.sort_unstable();
    roles.dedup();
    or_none(roles.join(","))
}

fn address(node: &Object, kind: &str) -> String {
    let addresses = items(node, &["status", "addresses"]);
    let found = addresses.iter().find(|address| str_of(address, "type") == kind);
    found.map_or(NONE, |address| str_of(address, "address")).to_owned()
}
