//! Rules about a node by itself: whether it takes pods, which, and how much is left.

use super::{Refusal, Rule};
use crate::model::{NodeInfo, Pending, PodInfo};
use crate::nodes::NodeState;
use crate::{affinity, taints};

/// Why the node is nothing for the pod, whatever runs there.
pub(crate) fn unsuitable(pending: &Pending, node: &NodeInfo) -> Option<Refusal> {
    let reason = if node.unschedulable && !taints::ignores_cordon(&pending.tolerations) {
        "node(s) were unschedulable"
    } else if taints::refused(&pending.tolerations, &node.taints) {
        "node(s) had untolerated taint(s)"
    } else if !allowed(pending, node) {
        "node(s) didn't match Pod's node affinity/selector"
    } else {
        return None;
    };
    Some(Refusal::firm(Rule::Node, reason))
}

/// Whether the pod's node selector and required node affinity allow the node.
pub(crate) fn allowed(pending: &Pending, node: &NodeInfo) -> bool {
    affinity::required(&pending.node_selector, Some(&pending.affinity), &node.name, &node.labels)
}

/// Whether a port that the pod takes on its node is taken there.
pub(crate) fn ports_taken(pod: &PodInfo, node: &NodeState) -> Option<Refusal> {
    let taken = pod.host_ports.iter().any(|port| node.host_ports.iter().any(|taken| taken.conflicts(port)));
    taken.then(|| {
        Refusal::resolvable(Rule::Room, "node(s) didn't have free ports for the requested pod ports")
    })
}

/// The resources that the node has too little of. What it could not give if it were empty is not won by removing pods.
pub(crate) fn lacking(pod: &PodInfo, node: &NodeState) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let pods = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
    if pods >= node.info.allocatable.get("pods") {
        refusals.push(Refusal::resolvable(Rule::Room, "Too many pods"));
    }
    for (name, wanted) in pod.requests.iter().filter(|(_, wanted)| *wanted > 0) {
        let allocatable = node.info.allocatable.get(name);
        if wanted > allocatable - node.requested.get(name) {
            let reason = format!("Insufficient {name}");
            let possible = wanted <= allocatable;
            refusals.push(Refusal { reason: reason.into(), rule: Rule::Room, resolvable: possible });
        }
    }
    refusals
}
