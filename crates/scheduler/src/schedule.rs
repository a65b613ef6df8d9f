//! The decision: on which node a pod goes, or why on none.

use std::collections::BTreeMap;

use skiff_quantity::Needed;

use crate::affinity;
use crate::model::{HostPort, NodeInfo, Pending, PodInfo, Resources};
use crate::taints;

/// A node with what its pods take of it.
#[derive(Clone, Debug, Default)]
pub struct NodeState {
    /// The node itself.
    pub info: NodeInfo,
    /// The sum of its pods' requests.
    pub requested: Resources,
    /// The same for scoring, where a pod without a request counts with a guess.
    pub weighed: Resources,
    /// The number of its pods.
    pub pods: i64,
    /// Ports taken by its pods.
    pub host_ports: Vec<HostPort>,
}

/// What a pod without a request is taken to use, for scoring only.
const GUESSED_MILLICORES: i64 = 100;
const GUESSED_BYTES: i64 = 200 * 1024 * 1024;
/// Weights of the scores, each of which is 0 to 100.
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_AFFINITY: i64 = 2;

impl NodeState {
    /// Counts a pod in.
    pub fn add(&mut self, pod: &PodInfo) {
        self.requested.add(&pod.requests);
        self.weighed.add(&weighed(pod));
        self.host_ports.extend(pod.host_ports.iter().cloned());
        self.pods += 1;
    }

    /// Takes a pod out that was counted in.
    pub fn remove(&mut self, pod: &PodInfo) {
        self.requested.subtract(&pod.requests);
        self.weighed.subtract(&weighed(pod));
        for port in &pod.host_ports {
            if let Some(position) = self.host_ports.iter().position(|taken| taken == port) {
                self.host_ports.swap_remove(position);
            }
        }
        self.pods -= 1;
    }
}

fn weighed(pod: &PodInfo) -> Resources {
    let mut resources = Resources::default();
    let or_guess = |amount: i64, guess: i64| if amount > 0 { amount } else { guess };
    resources.set("cpu", or_guess(pod.requests.get("cpu"), GUESSED_MILLICORES));
    resources.set("memory", or_guess(pod.requests.get("memory"), GUESSED_BYTES));
    resources
}

/// Where a pod goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// To the node of this name.
    Bind(String),
    /// Nowhere, in Kubernetes' words.
    Unschedulable(String),
}

/// Why a pod cannot go to one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Refusal {
    reason: String,
    /// Whether the removal of other pods could help.
    preemptible: bool,
}

/// Chooses the best of `nodes` for `pod`: of the nodes that fit, one with the highest score, fewest pods, first name.
pub fn schedule<'a>(
    pod: &PodInfo,
    pending: &Pending,
    nodes: impl IntoIterator<Item = &'a NodeState>,
) -> Decision {
    let (mut fitting, mut refusals) = (Vec::new(), Vec::new());
    for node in nodes {
        match refusals_of(pod, pending, node) {
            reasons if reasons.is_empty() => fitting.push(node),
            reasons => refusals.push(reasons),
        }
    }
    let worst =
        |score: fn(&Pending, &NodeState) -> i64| fitting.iter().map(|node| score(pending, node)).max();
    let most_disliked = worst(dislike).unwrap_or(0);
    let most_preferred = worst(preference).unwrap_or(0);
    let score = |node: &NodeState| {
        let taints = share(most_disliked - dislike(pending, node), most_disliked).unwrap_or(100);
        let affinity = share(preference(pending, node), most_preferred).unwrap_or(0);
        resource_score(pod, node) + WEIGHT_TAINTS * taints + WEIGHT_AFFINITY * affinity
    };
    let best = fitting.iter().max_by_key(|node| {
        (score(node), std::cmp::Reverse(node.pods), std::cmp::Reverse(node.info.name.as_str()))
    });
    match best {
        Some(node) => Decision::Bind(node.info.name.clone()),
        None => Decision::Unschedulable(message(&refusals)),
    }
}

fn dislike(pending: &Pending, node: &NodeState) -> i64 {
    taints::disliked(&pending.tolerations, &node.info.taints)
}

fn preference(pending: &Pending, node: &NodeState) -> i64 {
    affinity::preferred(pending, &node.info)
}

/// `part` of `whole` in percent; `None` of nothing.
fn share(part: i64, whole: i64) -> Option<i64> {
    (whole > 0).then(|| part.saturating_mul(100) / whole)
}

/// The reasons of the first rule that the node breaks; none if the pod fits.
fn refusals_of(pod: &PodInfo, pending: &Pending, node: &NodeState) -> Vec<Refusal> {
    let firm = |reason: &str| vec![Refusal { reason: reason.into(), preemptible: false }];
    if node.info.unschedulable && !taints::ignores_cordon(&pending.tolerations) {
        return firm("node(s) were unschedulable");
    }
    if taints::refused(&pending.tolerations, &node.info.taints) {
        return firm("node(s) had untolerated taint(s)");
    }
    let NodeInfo { name, labels, .. } = &node.info;
    if !affinity::required(&pending.node_selector, Some(&pending.affinity), name, labels) {
        return firm("node(s) didn't match Pod's node affinity/selector");
    }
    if pod.host_ports.iter().any(|port| node.host_ports.iter().any(|taken| taken.conflicts(port))) {
        let reason = "node(s) didn't have free ports for the requested pod ports".into();
        return vec![Refusal { reason, preemptible: true }];
    }
    lacking(pod, node)
}

/// The resources that the node has too little of.
fn lacking(pod: &PodInfo, node: &NodeState) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if node.pods + 1 > node.info.allocatable.get("pods") {
        refusals.push(Refusal { reason: "Too many pods".into(), preemptible: true });
    }
    for (name, wanted) in pod.requests.iter().filter(|(_, wanted)| *wanted > 0) {
        let allocatable = node.info.allocatable.get(name);
        if wanted > allocatable - node.requested.get(name) {
            refusals
                .push(Refusal { reason: format!("Insufficient {name}"), preemptible: wanted <= allocatable });
        }
    }
    refusals
}

/// Prefers nodes with much left, and with CPU and memory used alike: 0 to 200.
fn resource_score(pod: &PodInfo, node: &NodeState) -> i64 {
    let mut total = node.weighed.clone();
    total.add(&weighed(pod));
    let used = ["cpu", "memory"].map(|name| {
        let allocatable = node.info.allocatable.get(name);
        share(total.get(name).min(allocatable), allocatable)
    });
    let known: Vec<i64> = used.into_iter().flatten().collect();
    let Some(sum) = known.iter().copied().reduce(|a, b| a + b) else { return 0 };
    let mean = sum / i64::try_from(known.len()).unwrap_or(1);
    let spread = known.iter().max().zip(known.iter().min()).map_or(0, |(most, least)| (most - least) / 2);
    (100 - mean) + (100 - spread)
}

/// Counts the reasons of all nodes and says whether preemption could help.
fn message(refusals: &[Vec<Refusal>]) -> String {
    if refusals.is_empty() {
        return "no nodes available to schedule pods".into();
    }
    let nodes = refusals.len();
    let reasons = counted(refusals.iter().flatten().map(|refusal| refusal.reason.as_str()));
    let helpful = |reasons: &Vec<Refusal>| reasons.iter().all(|refusal| refusal.preemptible);
    let preemption = counted(refusals.iter().map(|reasons| match helpful(reasons) {
        true => "No preemption victims found for incoming pod",
        false => "Preemption is not helpful for scheduling",
    }));
    format!(
        "0/{nodes} nodes are available: {reasons}. no new claims to deallocate, preemption: 0/{nodes} nodes are \
         available: {preemption}."
    )
}

/// `2 reason, 1 other reason`, in the order of the texts.
fn counted<'a>(reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    reasons.for_each(|reason| *counts.entry(reason).or_default() += 1);
    let mut texts: Vec<_> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    texts.join(", ")
}
