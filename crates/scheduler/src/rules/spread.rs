//! Topology spread constraints that must be kept (KEP-895, with minDomains of KEP-3022 and the policies of KEP-3094).

use std::cell::Cell;
use std::collections::HashMap;

use skiff_machinery::selector::LabelSelector;

use super::{Refusal, Rule, node};
use crate::cluster::Picture;
use crate::model::{Pending, PodInfo, Spread, WhenUnsatisfiable};
use crate::nodes::NodeState;
use crate::taints;
use crate::tallies::Tally;

/// The domains of one constraint.
#[derive(Clone)]
struct Domains<'a> {
    rule: &'a Spread,
    /// Matching pods by value of the topology key.
    pods: HashMap<String, i64>,
    /// The pod itself, if it matches.
    own: i64,
    least: Cell<Option<i64>>,
    /// What is counted already.
    tally: Option<&'a Tally>,
}

impl Domains<'_> {
    /// The smallest number of matching pods in a domain.
    fn least(&self) -> i64 {
        if self.pods.len() < self.rule.min_domains {
            return 0;
        }
        let least = self.least.get().unwrap_or_else(|| self.pods.values().copied().min().unwrap_or(0));
        self.least.set(Some(least));
        least
    }
}

/// How the pods are spread that one pod's constraints count.
#[derive(Clone)]
pub(crate) struct Facts<'a> {
    pending: &'a Pending,
    constraints: Vec<Domains<'a>>,
}

impl<'a> Facts<'a> {
    pub(crate) fn gather(
        pod: &PodInfo,
        pending: &'a Pending,
        rules: &'a [Spread],
        picture: &'a Picture,
    ) -> Self {
        let hard = rules.iter().filter(|rule| rule.when == WhenUnsatisfiable::DoNotSchedule);
        let constraints = hard.map(|rule| Domains {
            rule,
            pods: HashMap::new(),
            own: i64::from(counts(rule, pod, pod)),
            least: Cell::new(None),
            tally: tally_of(rule, pod, picture),
        });
        let mut facts = Self { pending, constraints: constraints.collect() };
        if !facts.constraints.is_empty() {
            picture.nodes.all().for_each(|node| facts.take_in(pod, node));
        }
        facts
    }

    fn take_in(&mut self, pod: &PodInfo, node: &NodeState) {
        if !self.has_all_keys(node) {
            return;
        }
        for domains in &mut self.constraints {
            let Some(value) = node.label(&domains.rule.topology_key) else { continue };
            if counted_in(domains.rule, self.pending, node) {
                let matching = matching_on(domains.rule, pod, node, domains.tally);
                *domains.pods.entry(value.to_owned()).or_default() += matching;
            }
        }
    }

    fn has_all_keys(&self, node: &NodeState) -> bool {
        self.constraints.iter().all(|domains| node.label(&domains.rule.topology_key).is_some())
    }

    /// Counts `other`, a pod of `node`, `times` more.
    pub(crate) fn count(&mut self, pod: &PodInfo, other: &PodInfo, node: &NodeState, times: i64) {
        if !self.has_all_keys(node) {
            return;
        }
        for domains in &mut self.constraints {
            let Some(value) = node.label(&domains.rule.topology_key) else { continue };
            if counts(domains.rule, pod, other) && counted_in(domains.rule, self.pending, node) {
                *domains.pods.entry(value.to_owned()).or_default() += times;
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
            let here = domains.pods.get(value).copied().unwrap_or(0);
            if here + domains.own - domains.least() > domains.rule.max_skew {
                return Some(Refusal::resolvable(Rule::Others, REASON));
            }
        }
        None
    }
}

/// Whether `other` is one of those that `rule` of `pod` spreads.
pub(crate) fn counts(rule: &Spread, pod: &PodInfo, other: &PodInfo) -> bool {
    let selected = || rule.selector.as_ref().is_some_and(|selector| selector.selects(&other.labels));
    other.namespace == pod.namespace && !other.terminating && selected()
}

/// The number of the node's pods that `rule` of `pod` spreads; a selector of everything counts none, as in Kubernetes.
pub(crate) fn matching_on(rule: &Spread, pod: &PodInfo, node: &NodeState, tally: Option<&Tally>) -> i64 {
    if rule.selector.as_ref().is_some_and(LabelSelector::is_everything) {
        return 0;
    }
    if let Some(tally) = tally {
        return tally.on(node);
    }
    i64::try_from(node.pods.values().filter(|other| counts(rule, pod, other)).count()).unwrap_or(i64::MAX)
}

/// The counts of the pods that `rule` of `pod` spreads, if they are kept.
pub(crate) fn tally_of<'a>(rule: &Spread, pod: &PodInfo, picture: &'a Picture) -> Option<&'a Tally> {
    picture.nodes.tallied(&pod.namespace, rule.selector.as_ref()?)
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
