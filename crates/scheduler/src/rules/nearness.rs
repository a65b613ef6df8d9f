//! Pod affinity and anti-affinity: near which pods a pod must be, near which it must not be, and which will not have it near.

use std::collections::HashMap;

use super::{Refusal, Rule};
use crate::model::{Namespaces, PodInfo, Term};
use crate::nodes::{NodeState, Nodes};

/// A label of nodes and its value: the nodes that have it are near each other.
type Place<'a> = (&'a str, &'a str);

/// Pods by place.
type Counts<'a> = HashMap<(&'a str, String), i64>;

/// How many pods there are, at each place, that matter to one pod.
#[derive(Clone, Default)]
pub(crate) struct Facts<'a> {
    /// Pods of which all required terms speak.
    wanted: Counts<'a>,
    /// Pods of which a forbidding term speaks.
    unwanted: Counts<'a>,
    /// Forbidding terms of other pods that speak of this one.
    unwelcome: HashMap<(String, String), i64>,
}

impl<'a> Facts<'a> {
    /// Looks at all pods only if the pod has rules about others, else at those that have.
    pub(crate) fn gather(pod: &'a PodInfo, nodes: &Nodes, known: &Namespaces) -> Self {
        let mut facts = Self::default();
        let particular = !pod.required().is_empty() || !pod.forbidden().is_empty();
        let mut look = |node: &NodeState| {
            node.pods.values().for_each(|other| facts.count(pod, other, node, known, 1));
        };
        if particular {
            nodes.all().for_each(&mut look)
        } else {
            nodes.with_rules().for_each(&mut look)
        }
        facts
    }

    /// Counts `other`, a pod of `node`, `times` more.
    pub(crate) fn count(
        &mut self,
        pod: &'a PodInfo,
        other: &PodInfo,
        node: &NodeState,
        known: &Namespaces,
        times: i64,
    ) {
        for term in other.forbidden() {
            if let Some(value) = node.label(&term.topology_key)
                && term.speaks_of(&pod.namespace, &pod.labels, known)
            {
                let place = (term.topology_key.clone(), value.to_owned());
                *self.unwelcome.entry(place).or_default() += times;
            }
        }
        let speaks = |term: &Term| term.speaks_of(&other.namespace, &other.labels, known);
        if !pod.required().is_empty() && pod.required().iter().all(speaks) {
            add(&mut self.wanted, pod.required().iter(), node, times);
        }
        add(&mut self.unwanted, pod.forbidden().iter().filter(|term| speaks(term)), node, times);
    }

    /// Why the pod cannot be on the node, in the order in which Kubernetes asks.
    pub(crate) fn refusal(&self, pod: &PodInfo, node: &NodeState, known: &Namespaces) -> Option<Refusal> {
        if !self.wanted_near(pod, node, known) {
            return Some(Refusal::firm(Rule::Others, "node(s) didn't match pod affinity rules"));
        }
        let found =
            |place: Place<'_>| self.unwanted.get(&(place.0, place.1.to_owned())).is_some_and(|n| *n > 0);
        let mut places = pod
            .forbidden()
            .iter()
            .filter_map(|term| Some((&*term.topology_key, node.label(&term.topology_key)?)));
        if places.any(found) {
            return Some(Refusal::resolvable(Rule::Others, "node(s) didn't match pod anti-affinity rules"));
        }
        let here = |((key, value), count): (&(String, String), &i64)| {
            *count > 0 && node.label(key).is_some_and(|here| here == value)
        };
        self.unwelcome.iter().any(here).then(|| {
            let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
            Refusal::resolvable(Rule::Others, reason)
        })
    }

    /// Whether what each required term speaks of is near; of the first of its kind, which is what its terms speak of, nothing
    /// can be.
    fn wanted_near(&self, pod: &PodInfo, node: &NodeState, known: &Namespaces) -> bool {
        let mut near = true;
        for term in pod.required() {
            let Some(value) = node.label(&term.topology_key) else { return false };
            let count = self.wanted.get(&(term.topology_key.as_str(), value.to_owned()));
            near &= count.is_some_and(|count| *count > 0);
        }
        let first = || {
            let nowhere = self.wanted.values().all(|count| *count <= 0);
            nowhere && pod.required().iter().all(|term| term.speaks_of(&pod.namespace, &pod.labels, known))
        };
        near || first()
    }
}

fn add<'a>(counts: &mut Counts<'a>, terms: impl Iterator<Item = &'a Term>, node: &NodeState, times: i64) {
    for term in terms {
        if let Some(value) = node.label(&term.topology_key) {
            *counts.entry((term.topology_key.as_str(), value.to_owned())).or_default() += times;
        }
    }
}

/// How much the pod would like to be near the pods of each place, and they near it: pods that must have others near them
/// like them by as much as the profile says (`hardPodAffinityWeight`).
pub(crate) fn wishes<'a>(
    pod: &'a PodInfo,
    nodes: &'a Nodes,
    known: &Namespaces,
    required: i64,
) -> HashMap<(String, String), i64> {
    let mut wishes = HashMap::new();
    let mut wish = |term: &Term, weight: i64, node: &NodeState| {
        if let Some(value) = node.label(&term.topology_key) {
            *wishes.entry((term.topology_key.clone(), value.to_owned())).or_default() += weight;
        }
    };
    let mut look = |node: &NodeState, other: &PodInfo| {
        let liked = pod.preferred().iter().map(|liked| (&liked.term, liked.weight));
        let liked = liked.filter(|(term, _)| term.speaks_of(&other.namespace, &other.labels, known));
        let theirs = other.preferred().iter().map(|liked| (&liked.term, liked.weight));
        let musts = other.required().iter().filter(|_| required > 0).map(|term| (term, required));
        let theirs = theirs.chain(musts);
        let theirs = theirs.filter(|(term, _)| term.speaks_of(&pod.namespace, &pod.labels, known));
        liked.chain(theirs).for_each(|(term, weight)| wish(term, weight, node));
    };
    if pod.preferred().is_empty() {
        nodes.with_rules().for_each(|node| node.pods.values().for_each(|other| look(node, other)));
    } else {
        nodes.all().for_each(|node| node.pods.values().for_each(|other| look(node, other)));
    }
    wishes
}
