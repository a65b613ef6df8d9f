//! On which nodes a DaemonSet has pods, and how these are bound there.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint,
    Toleration,
};
use kube::ResourceExt;
use skiff_scheduler::{node_affinity_matches, tolerated};

use crate::workload::history::REVISION_HASH;
use crate::workload::pod_of;

/// The annotation with the number of the template, by which pods are told apart that have no hash, and its label on pods.
const GENERATION: &str = "deprecated.daemonset.template.generation";
const POD_GENERATION: &str = "pod-template-generation";

/// Taints that the pods of every DaemonSet live with, by what they do.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
/// That besides, of those on the node's network.
const OF_HOST_NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// What a DaemonSet's template says of nodes.
pub(super) struct Placing<'a> {
    spec: &'a PodSpec,
    selector: BTreeMap<String, String>,
    tolerations: Vec<Toleration>,
}

/// What a DaemonSet wants of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// A pod there.
    Runs,
    /// No new pod, but one that is there may stay.
    Stays,
    /// None.
    Never,
}

impl<'a> Placing<'a> {
    pub(super) fn of(spec: &'a PodSpec) -> Self {
        let selector = spec.node_selector.clone().unwrap_or_default();
        Self { spec, selector, tolerations: tolerations(spec) }
    }

    /// What is wanted of `node`.
    pub(super) fn fit(&self, node: &Node) -> Fit {
        let name = node.name_any();
        let named = self.spec.node_name.as_deref().filter(|node| !node.is_empty());
        let affinity = self.spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        if named.is_some_and(|node| node != name)
            || !node_affinity_matches(&self.selector, affinity, &name, node.labels())
        {
            return Fit::Never;
        }
        let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        let refused = |effects: &[&str]| {
            let hard = |taint: &&Taint| effects.contains(&taint.effect.as_str());
            taints.clone().filter(hard).any(|taint| !tolerated(&self.tolerations, taint))
        };
        if !refused(&["NoExecute", "NoSchedule"]) {
            Fit::Runs
        } else if refused(&["NoExecute"]) {
            Fit::Never
        } else {
            Fit::Stays
        }
    }
}

/// The tolerations of the pods: the template's, and those of all DaemonSets.
fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    let mut tolerations = spec.tolerations.clone().unwrap_or_default();
    let of_host = spec.host_network.unwrap_or(false).then_some(OF_HOST_NETWORK);
    for (key, effect) in TOLERATED.into_iter().chain(of_host) {
        let added = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        let same = |t: &Toleration| {
            (&t.key, &t.effect) == (&added.key, &added.effect)
                && t.operator.as_deref().unwrap_or("Equal") == "Exists"
                && t.value.as_deref().unwrap_or("").is_empty()
        };
        match tolerations.iter_mut().find(|toleration| same(toleration)) {
            Some(there) => *there = added,
            None => tolerations.push(added),
        }
    }
    tolerations
}

/// The pod of a DaemonSet for the node of that name, to which the scheduler binds it.
pub(super) fn pod(set: &DaemonSet, hash: &str, node: &str) -> Pod {
    let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let mut pod = pod_of(set, &template);
    if let Some(generation) = generation(set) {
        pod.labels_mut().insert(POD_GENERATION.into(), generation.to_string());
    }
    pod.labels_mut().insert(REVISION_HASH.into(), hash.to_owned());
    let spec = pod.spec.get_or_insert_default();
    spec.tolerations = Some(tolerations(spec));
    let affinity = spec.affinity.get_or_insert_default();
    let rules: &mut NodeAffinity = affinity.node_affinity.get_or_insert_default();
    rules.required_during_scheduling_ignored_during_execution = Some(only(node));
    pod
}

fn only(node: &str) -> NodeSelector {
    let name = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![node.to_owned()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![name]), match_expressions: None };
    NodeSelector { node_selector_terms: vec![term] }
}

/// The number of the present template, if the set says one.
pub(super) fn generation(set: &DaemonSet) -> Option<i64> {
    set.annotations().get(GENERATION)?.parse().ok()
}

/// Whether a pod with these labels is of the present template.
pub(super) fn is_updated(labels: &crate::meta::Labels, hash: &str, generation: Option<i64>) -> bool {
    labels.get(REVISION_HASH) == Some(hash)
        || generation
            .is_some_and(|generation| labels.get(POD_GENERATION) == Some(generation.to_string().as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn nodes_fit_by_name_labels_and_taints() {
        let check = |spec: Value, node: Value, expected: Fit| {
            let (spec, node): (PodSpec, Node) =
                (serde_json::from_value(spec).unwrap(), serde_json::from_value(node).unwrap());
            assert_eq!(Placing::of(&spec).fit(&node), expected, "{node:?}");
        };
        let spec = |more: Value| {
            let mut spec = json!({"containers": []});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            spec
        };
        let node = |taints: Value| json!({"metadata": {"name": "n1", "labels": {"disk": "ssd"}}, "spec": {"taints": taints}});
        let plain = || spec(json!({}));
        check(plain(), node(json!([])), Fit::Runs);
        check(spec(json!({"nodeSelector": {"disk": "ssd"}})), node(json!([])), Fit::Runs);
        check(spec(json!({"nodeSelector": {"disk": "hdd"}})), node(json!([])), Fit::Never);
        check(spec(json!({"nodeName": "n2"})), node(json!([])), Fit::Never);
        let taint = |key: &str, effect: &str| json!([{"key": key, "effect": effect}]);
        check(plain(), node(taint("a", "NoSchedule")), Fit::Stays);
        check(plain(), node(taint("a", "NoExecute")), Fit::Never);
        check(plain(), node(taint("a", "PreferNoSchedule")), Fit::Runs);
        check(plain(), node(taint("node.kubernetes.io/not-ready", "NoExecute")), Fit::Runs);
        check(plain(), node(taint("node.kubernetes.io/unschedulable", "NoSchedule")), Fit::Runs);
        let unavailable = || node(taint("node.kubernetes.io/network-unavailable", "NoSchedule"));
        check(plain(), unavailable(), Fit::Stays);
        check(spec(json!({"hostNetwork": true})), unavailable(), Fit::Runs);
        check(
            spec(json!({"tolerations": [{"operator": "Exists"}]})),
            node(taint("a", "NoExecute")),
            Fit::Runs,
        );
    }

    #[test]
    fn pods_are_meant_for_their_node() {
        let set: DaemonSet = serde_json::from_value(json!({
            "metadata": {"name": "logs", "namespace": "default", "uid": "d",
                         "annotations": {GENERATION: "3"}},
            "spec": {"selector": {}, "template": {"metadata": {"labels": {"app": "logs"}}, "spec": {"containers": []}}},
        }))
        .unwrap();
        let pod = pod(&set, "h1", "n1");
        assert_eq!(crate::pods::KnownPod::of(&pod).target_node(), Some("n1"));
        assert_eq!(pod.labels()["pod-template-generation"], "3");
        assert_eq!(pod.labels()["controller-revision-hash"], "h1");
        assert_eq!(pod.spec.unwrap().tolerations.unwrap().len(), 6);
    }
}
