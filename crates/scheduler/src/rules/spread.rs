//! Topology spread constraints that must be kept (KEP-895, with minDomains of KEP-3022 and the policies of KEP-3094).

use std::cell::Cell;
use std::collections::HashMap;

use super::{Refusal, Rule, node};
use crate::cluster::Picture;
use crate::counts::{Counts, Spreading};
use crate::model::{Pending, PodInfo, Spread, WhenUnsatisfiable};
use crate::nodes::NodeState;
use crate::taints;
use crate::tallies::ByValue;

/// The domains of one constraint.
#[derive(Clone)]
struct Domains<'a> {
    rule: &'a Spread,
    counted: Counted<'a>,
    /// What was counted since, by value of the topology key.
    changed: HashMap<String, i64>,
    /// The pod itself, if it matches.
    own: i64,
    least: Cell<Option<i64>>,
}

/// Matching pods by value of the topology key.
#[derive(Clone)]
enum Counted<'a> {
    /// Every value that there is; of those that are left out there are no pods.
    All { pods: Option<&'a ByValue>, domains: usize },
    /// Those of the nodes that count.
    Some(HashMap<&'a str, i64>),
}

impl Counted<'_> {
    fn domains(&self) -> usize {
        match self {
            Self::All { domains, .. } => *domains,
            Self::Some(pods) => pods.len(),
        }
    }

    /// How many [`Self::iter`] has.
    fn listed(&self) -> usize {
        match self {
            Self::All { pods, .. } => pods.map_or(0, HashMap::len),
            Self::Some(pods) => pods.len(),
        }
    }

    /// Domains with pods, or all of them.
    fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        let (all, some) = match self {
            Self::All { pods, .. } => (*pods, None),
            Self::Some(pods) => (None, Some(pods)),
        };
        let all = all.into_iter().flatten().map(|(value, pods)| (value.as_str(), *pods));
        all.chain(some.into_iter().flatten().map(|(value, pods)| (*value, *pods)))
    }

    fn get(&self, value: &str) -> Option<i64> {
        match self {
            Self::All { pods, .. } => pods.and_then(|pods| pods.get(value)),
            Self::Some(pods) => pods.get(value),
        }
        .copied()
    }
}

impl Domains<'_> {
    /// Matching pods in the domain of this value.
    fn pods(&self, value: &str) -> i64 {
        self.counted.get(value).unwrap_or(0) + self.changed.get(value).copied().unwrap_or(0)
    }

    /// The smallest number of matching pods in a domain.
    fn least(&self) -> i64 {
        if self.counted.domains() < self.rule.min_domains {
            return 0;
        }
        let least = self.least.get().unwrap_or_else(|| self.find_least());
        self.least.set(Some(least));
        least
    }

    fn find_least(&self) -> i64 {
        let more = || self.changed.iter().filter(|(value, _)| self.counted.get(value).is_none());
        if self.counted.listed() + more().count() < self.counted.domains() {
            return 0;
        }
        let changed = |value: &str| self.changed.get(value).copied().unwrap_or(0);
        let known = self.counted.iter();
        let known =
            known.map(|(value, pods)| if self.changed.is_empty() { pods } else { pods + changed(value) });
        known.chain(more().map(|(_, pods)| *pods)).min().unwrap_or(0)
    }
}

/// How the pods are spread that one pod's constraints count.
#[derive(Clone)]
pub(crate) struct Facts<'a> {
    pending: &'a Pending,
    constraints: Vec<Domains<'a>>,
}

impl<'a> Facts<'a> {
    /// Looks at all nodes only if some of them do not count.
    pub(crate) fn gather(
        pod: &PodInfo,
        pending: &'a Pending,
        counts: &'a Counts,
        picture: &'a Picture,
    ) -> Self {
        let hard = counts.spread.iter().filter(|one| one.rule.when == WhenUnsatisfiable::DoNotSchedule);
        let hard: Vec<&Spreading> = hard.collect();
        let nodes = &picture.nodes;
        let have_keys = hard.len() < 2 || hard.iter().all(|one| nodes.all_have(&one.rule.topology_key));
        let has_keys = |node: &NodeState| hard.iter().all(|one| node.label(&one.rule.topology_key).is_some());
        let constraints = hard.iter().map(|Spreading { rule, pods }| Domains {
            rule,
            counted: if have_keys && counts_all(rule, pending) {
                let key = &rule.topology_key;
                Counted::All { pods: pods.by(key), domains: nodes.values_of(key) }
            } else {
                let mut counted: HashMap<&str, i64> = HashMap::new();
                for node in nodes.all().filter(|node| has_keys(node) && counted_in(rule, pending, node)) {
                    if let Some(value) = node.label(&rule.topology_key) {
                        *counted.entry(value).or_default() += pods.on(node);
                    }
                }
                Counted::Some(counted)
            },
            changed: HashMap::new(),
            own: i64::from(counts_pod(rule, pod, pod)),
            least: Cell::new(None),
        });
        Self { pending, constraints: constraints.collect() }
    }

    /// No constraints.
    pub(crate) fn none(pending: &'a Pending) -> Self {
        Self { pending, constraints: Vec::new() }
    }

    /// Counts `other`, a pod of `node`, `times` more.
    pub(crate) fn count(&mut self, pod: &PodInfo, other: &PodInfo, node: &NodeState, times: i64) {
        if self.constraints.iter().any(|domains| node.label(&domains.rule.topology_key).is_none()) {
            return;
        }
        for domains in &mut self.constraints {
            let Some(value) = node.label(&domains.rule.topology_key) else { continue };
            if counts_pod(domains.rule, pod, other) && counted_in(domains.rule, self.pending, node) {
                *domains.changed.entry(value.to_owned()).or_default() += times;
                domains.least.set(None);
            }
        }
    }

    /// The first constraint that would not be kept with the pod on the node.
    pub(crate) fn refusal(&self, node: &NodeState) -> Option<Refusal> {
        const REASON: &str = "node(s) didn't match pod topology spread constraints";
        for domains in &self.constraints {
            let Some(value) = node.label(&domains.rule.topology_key) else {
                return Some(Refusal::firm(Rule::Others, format!("{REASON} (missing required label)")));
            };
            if domains.pods(value) + domains.own - domains.least() > domains.rule.max_skew {
                return Some(Refusal::resolvable(Rule::Others, REASON));
            }
        }
        None
    }
}

/// Whether `other` is one of those that `rule` of `pod` spreads.
fn counts_pod(rule: &Spread, pod: &PodInfo, other: &PodInfo) -> bool {
    let selected = || rule.selector.as_ref().is_some_and(|selector| selector.selects(&other.labels));
    other.namespace == pod.namespace && !other.terminating && selected()
}

/// Whether the policies of `rule` let every node count.
pub(crate) fn counts_all(rule: &Spread, pending: &Pending) -> bool {
    let anywhere = pending.node_selector.is_empty() && pending.affinity.allow_all();
    (!rule.honours_affinity || anywhere) && !rule.honours_taints
}

/// Whether the policies of `rule` let the node count.
pub(crate) fn counted_in(rule: &Spread, pending: &Pending, node: &NodeState) -> bool {
    (!rule.honours_affinity || node::allowed(pending, &node.info))
        && (!rule.honours_taints || !taints::refused(&pending.tolerations, &node.info.taints))
}
