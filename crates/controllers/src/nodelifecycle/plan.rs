//! What a node's conditions and taints should say.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The node agent reports that the node cannot run pods.
pub(crate) const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// The node agent reports nothing.
pub(crate) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that mean trouble when true, and the taint that tells of it.
const TROUBLES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
/// Conditions that the node agent posts, and that nobody knows when it does not.
const POSTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// The status of a condition; `None` if the node has none of that kind.
pub(super) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// The conditions to write for a node that has not been heard of for too long; none if they are written already.
pub(super) fn unknown_conditions(node: &Node, now: Timestamp) -> Vec<NodeCondition> {
    let unknown = |kind: &&str| {
        let old = condition(node, kind);
        if old.is_some_and(|old| old.status == "Unknown") {
            return None;
        }
        let (reason, message) = match old {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        Some(NodeCondition {
            type_: (*kind).to_owned(),
            status: "Unknown".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: old
                .and_then(|old| old.last_heartbeat_time.clone())
                .or_else(|| node.metadata.creation_timestamp.clone()),
            last_transition_time: Some(Time(now)),
        })
    };
    POSTED.iter().filter_map(unknown).collect()
}

/// The node's taints with those that follow from its conditions; `None` if they are right already.
pub(super) fn taints(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let present = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let wanted = wanted(node);
    let is_ours = |taint: &&Taint| {
        let troubles = TROUBLES.iter().map(|(_, key)| *key).chain([UNSCHEDULABLE, NOT_READY, UNREACHABLE]);
        let by_conditions = taint.effect == "NoSchedule" && troubles.into_iter().any(|key| key == taint.key);
        by_conditions
            || (taint.effect == "NoExecute" && [NOT_READY, UNREACHABLE].contains(&taint.key.as_str()))
    };
    let same = |taint: &Taint, (key, effect): &(&str, &str)| taint.key == *key && taint.effect == *effect;
    let mut taints: Vec<Taint> = present
        .iter()
        .filter(|taint| !is_ours(taint) || wanted.iter().any(|wish| same(taint, wish)))
        .cloned()
        .collect();
    for wish in &wanted {
        if !taints.iter().any(|taint| same(taint, wish)) {
            let time_added = Some(Time(now));
            taints.push(Taint { key: wish.0.into(), effect: wish.1.into(), time_added, value: None });
        }
    }
    (taints != present).then_some(taints)
}

/// Keys and effects that follow from the node's conditions.
fn wanted(node: &Node) -> Vec<(&'static str, &'static str)> {
    let status = |kind: &str| condition(node, kind).map(|condition| condition.status.as_str());
    let mut wanted = Vec::new();
    match status("Ready") {
        Some("True") => {}
        Some("False") => wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
        Some(_) => wanted.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
        // Just registered: keep pods away until it says something.
        None => wanted.push((NOT_READY, "NoSchedule")),
    }
    let trouble = TROUBLES.iter().filter(|(kind, _)| status(kind) == Some("True"));
    wanted.extend(trouble.map(|(_, key)| (*key, "NoSchedule")));
    if node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(conditions: &[(&str, &str)], spec: Value) -> Node {
        let conditions: Vec<_> =
            conditions.iter().map(|(kind, status)| json!({"type": kind, "status": status})).collect();
        serde_json::from_value(json!({"spec": spec, "status": {"conditions": conditions}})).unwrap()
    }

    /// The taints to write, `-` if none need writing.
    fn check(conditions: &[(&str, &str)], spec: Value) -> String {
        let Some(taints) = taints(&node(conditions, spec), Timestamp::UNIX_EPOCH) else { return "-".into() };
        let short =
            |taint: &Taint| format!("{}:{}", taint.key.replace("node.kubernetes.io/", ""), taint.effect);
        taints.iter().map(short).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn taints_follow_conditions() {
        let none = || json!({});
        assert_eq!(check(&[("Ready", "True")], none()), "-");
        assert_eq!(check(&[("Ready", "False")], none()), "not-ready:NoSchedule not-ready:NoExecute");
        assert_eq!(check(&[("Ready", "Unknown")], none()), "unreachable:NoSchedule unreachable:NoExecute");
        assert_eq!(check(&[("Ready", "True"), ("DiskPressure", "True")], none()), "disk-pressure:NoSchedule");
        assert_eq!(check(&[("Ready", "True")], json!({"unschedulable": true})), "unschedulable:NoSchedule");
        assert_eq!(check(&[], none()), "not-ready:NoSchedule");
    }

    #[test]
    fn other_taints_stay_and_stale_ones_go() {
        let spec = || {
            json!({"taints": [
                {"key": "mine", "effect": "NoExecute"},
                {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
                {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},
                {"key": "node.kubernetes.io/unschedulable", "effect": "NoExecute"},
            ]})
        };
        assert_eq!(check(&[("Ready", "True")], spec()), "mine:NoExecute unschedulable:NoExecute");
        assert_eq!(check(&[("Ready", "False")], spec()), "-");
    }

    #[test]
    fn silence_makes_conditions_unknown_once() {
        let silent = node(&[("Ready", "True"), ("DiskPressure", "False")], json!({}));
        let conditions = unknown_conditions(&silent, Timestamp::UNIX_EPOCH);
        let reasons: Vec<_> =
            conditions.iter().map(|c| (c.type_.as_str(), c.reason.as_deref().unwrap())).collect();
        let expected = [
            ("Ready", "NodeStatusUnknown"),
            ("MemoryPressure", "NodeStatusNeverUpdated"),
            ("DiskPressure", "NodeStatusUnknown"),
            ("PIDPressure", "NodeStatusNeverUpdated"),
        ];
        assert_eq!(reasons, expected);
        let known = POSTED.map(|kind| (kind, "Unknown"));
        assert!(unknown_conditions(&node(&known, json!({})), Timestamp::UNIX_EPOCH).is_empty());
    }
}
