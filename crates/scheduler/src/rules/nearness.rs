//! Pod affinity and anti-affinity: near which pods a pod must be, near which it must not be, and which will not have it near.

use super::places::Places;
use super::{Refusal, Rule};
use crate::counts::Counts;
use crate::model::{Namespaces, PodInfo, Term};
use crate::nodes::{NodeState, Nodes};
use crate::tallies::ByValue;

/// How many pods there are, at each place, that matter to one pod.
#[derive(Clone, Default)]
pub(crate) struct Facts<'a> {
    /// Pods of which all required terms speak, for each of those.
    wanted: Vec<Places<'a>>,
    /// Pods of which a forbidding term speaks, for each of those.
    unwanted: Vec<Places<'a>>,
    /// Forbidding terms of other pods that speak of this one, by their topology keys.
    unwelcome: Vec<Places<'a>>,
}

impl<'a> Facts<'a> {
    pub(crate) fn gather(pod: &PodInfo, counts: &'a Counts, nodes: &'a Nodes, known: &Namespaces) -> Self {
        let wanted = pod
            .required()
            .iter()
            .map(|term| Places::by(&term.topology_key).with(counts.required.by(&term.topology_key)));
        let unwanted = pod.forbidden().iter().zip(&counts.forbidden);
        let unwanted =
            unwanted.map(|(term, pods)| Places::by(&term.topology_key).with(pods.by(&term.topology_key)));
        let (wanted, unwanted) = (wanted.collect(), unwanted.collect());
        let mut facts = Self { wanted, unwanted, unwelcome: Vec::new() };
        for (term, pods) in nodes.terms().forbidden() {
            if term.speaks_of(&pod.namespace, &pod.labels, known) {
                facts.unwelcome_by(&term.topology_key).take_in(pods);
            }
        }
        facts
    }

    fn unwelcome_by(&mut self, key: &str) -> &mut Places<'a> {
        let found = self.unwelcome.iter().position(|places| places.key() == key);
        let at = found.unwrap_or(self.unwelcome.len());
        if found.is_none() {
            self.unwelcome.push(Places::by(key));
        }
        &mut self.unwelcome[at]
    }

    /// Counts `other`, a pod of `node`, `times` more.
    pub(crate) fn count(
        &mut self,
        pod: &PodInfo,
        other: &PodInfo,
        node: &NodeState,
        known: &Namespaces,
        times: i64,
    ) {
        for term in other.forbidden() {
            if term.speaks_of(&pod.namespace, &pod.labels, known) {
                self.unwelcome_by(&term.topology_key).add(node, times);
            }
        }
        let speaks = |term: &Term| term.speaks_of(&other.namespace, &other.labels, known);
        if pod.required().iter().all(speaks) {
            self.wanted.iter_mut().for_each(|places| places.add(node, times));
        }
        for (term, places) in pod.forbidden().iter().zip(&mut self.unwanted) {
            if speaks(term) {
                places.add(node, times);
            }
        }
    }

    /// Why the pod cannot be on the node, in the order in which Kubernetes asks.
    pub(crate) fn refusal(&self, pod: &PodInfo, node: &NodeState, known: &Namespaces) -> Option<Refusal> {
        if !self.wanted_near(pod, node, known) {
            return Some(Refusal::firm(Rule::Others, "node(s) didn't match pod affinity rules"));
        }
        let are_near = |places: &Places<'_>| places.near(node).is_some_and(|pods| pods > 0);
        if self.unwanted.iter().any(are_near) {
            return Some(Refusal::resolvable(Rule::Others, "node(s) didn't match pod anti-affinity rules"));
        }
        self.unwelcome.iter().any(are_near).then(|| {
            let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
            Refusal::resolvable(Rule::Others, reason)
        })
    }

    /// Whether what each required term speaks of is near; of the first of its kind, which is what its terms speak of, nothing
    /// can be.
    fn wanted_near(&self, pod: &PodInfo, node: &NodeState, known: &Namespaces) -> bool {
        let mut near = true;
        for places in &self.wanted {
            let Some(pods) = places.near(node) else { return false };
            near &= pods > 0;
        }
        let first = || {
            self.wanted.iter().all(Places::are_empty)
                && pod.required().iter().all(|term| term.speaks_of(&pod.namespace, &pod.labels, known))
        };
        near || first()
    }
}

/// What a pod would like to be near, or what would like to be near it: by the values of a label, how much for each.
pub(crate) struct Wish<'a> {
    pub key: &'a str,
    pub values: &'a ByValue,
    /// What one of the values is worth.
    pub weight: i64,
}

/// How much the pod would like to be near the pods of each place, and they near it: pods that must have others near them
/// like them by as much as the profile says (`hardPodAffinityWeight`).
pub(crate) fn wishes<'a>(
    pod: &'a PodInfo,
    counts: &'a Counts,
    nodes: &'a Nodes,
    known: &Namespaces,
    required: i64,
) -> Vec<Wish<'a>> {
    let own = pod.preferred().iter().zip(&counts.preferred);
    let own = own.filter_map(|(liked, pods)| {
        let key = liked.term.topology_key.as_str();
        Some(Wish { key, values: pods.by(key)?, weight: liked.weight })
    });
    let theirs = nodes.terms().preferred().map(|(term, values)| (term, values, 1));
    let musts = nodes.terms().required().filter(|_| required > 0);
    let musts = musts.map(|(term, values)| (term, values, required));
    let theirs = theirs.chain(musts);
    let theirs = theirs.filter(|(term, ..)| term.speaks_of(&pod.namespace, &pod.labels, known));
    let theirs = theirs.map(|(term, values, weight)| Wish { key: &term.topology_key, values, weight });
    own.chain(theirs).filter(|wish| !wish.values.is_empty()).collect()
}
