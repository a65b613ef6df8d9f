//! Rules about a node by itself: whether it takes pods, which, and how much is left.

use super::{Refusal, Rule};
use crate::configuration::Arguments;
use crate::model::{NodeInfo, Pending, PodInfo};
use crate::nodes::NodeState;
use crate::{affinity, taints};

/// Whether the node takes no pods, and the pod does not ignore that.
pub(crate) fn cordoned(pending: &Pending, node: &NodeInfo) -> Option<Refusal> {
    let refused = node.unschedulable && !taints::ignores_cordon(&pending.tolerations);
    refused.then(|| Refusal::firm(Rule::Node, "node(s) were unschedulable"))
}

/// Whether a taint keeps the pod off.
pub(crate) fn tainted(pending: &Pending, node: &NodeInfo) -> Option<Refusal> {
    let refused = taints::refused(&pending.tolerations, &node.taints);
    refused.then(|| Refusal::firm(Rule::Node, "node(s) had untolerated taint(s)"))
}

/// Whether the node's labels are not what the profile or the pod asks for.
pub(crate) fn unsuitable(pending: &Pending, node: &NodeInfo) -> Option<Refusal> {
    let reason = if !pending.profile.arguments.added_affinity.allow(&node.name, &node.labels) {
        "node(s) didn't match scheduler-enforced node affinity"
    } else if !allowed(pending, node) {
        "node(s) didn't match Pod's node affinity/selector"
    } else {
        return None;
    };
    Some(Refusal::firm(Rule::Node, reason))
}

/// Whether the pod's node selector and required node affinity allow the node.
pub(crate) fn allowed(pending: &Pending, node: &NodeInfo) -> bool {
    affinity::selects(&pending.node_selector, &node.labels)
        && pending.affinity.allow(&node.name, &node.labels)
}

/// Whether a port that the pod takes on its node is taken there.
pub(crate) fn ports_taken(pod: &PodInfo, node: &NodeState) -> Option<Refusal> {
    let taken = pod.host_ports.iter().any(|port| node.host_ports.iter().any(|taken| taken.conflicts(port)));
    taken.then(|| {
        Refusal::resolvable(Rule::Room, "node(s) didn't have free ports for the requested pod ports")
    })
}

/// The resources that the node has too little of, but for those that do not matter. What it could not give if it were empty is not
/// won by removing pods.
pub(crate) fn lacking(pod: &PodInfo, node: &NodeState, arguments: &Arguments) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let pods = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
    if pods >= node.info.allocatable.get("pods") {
        refusals.push(Refusal::resolvable(Rule::Room, "Too many pods"));
    }
    for (name, wanted) in pod.requests.iter().filter(|(_, wanted)| *wanted > 0) {
        let allocatable = node.info.allocatable.get(name);
        if wanted > allocatable - node.requested.get(name) && !ignored(name, arguments) {
            let reason = format!("Insufficient {name}");
            let possible = wanted <= allocatable;
            refusals.push(Refusal { reason: reason.into(), rule: Rule::Room, resolvable: possible });
        }
    }
    refusals
}

/// Whether an extended resource is not looked at.
fn ignored(name: &str, arguments: &Arguments) -> bool {
    let Some((group, _)) = name.split_once('/') else { return false };
    let extended = group != "kubernetes.io" && !group.ends_with(".kubernetes.io");
    let named = |list: &[String], word: &str| list.iter().any(|one| one == word);
    extended && (named(&arguments.ignored_resources, name) || named(&arguments.ignored_groups, group))
}
