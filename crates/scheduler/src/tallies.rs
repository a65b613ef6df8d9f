//! How many pods of one kind there are on each node, and by the labels of nodes: kept for the kinds of pods that decisions asked for
//! lately, so that not all pods are looked at for each decision.

use std::collections::HashMap;
use std::sync::Arc;

use skiff_machinery::selector::LabelSelector;

use crate::model::{Namespaces, PodInfo, Term};
use crate::nodes::NodeState;

/// Kinds of pods that are remembered; the one that was asked for longest ago makes way.
const KEPT: usize = 256;

/// Numbers of pods by the value of one label of their nodes. What there is none of is left out.
pub(crate) type ByValue = HashMap<String, i64>;

/// Which pods are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Which {
    /// Those of a namespace that a selector selects, but for those that are ending. A selector of everything counts none, as in
    /// Kubernetes.
    Selected { namespace: String, selector: LabelSelector },
    /// Those of which all these terms speak.
    Spoken(Vec<Term>),
}

impl Which {
    fn includes(&self, pod: &PodInfo, known: &Namespaces) -> bool {
        match self {
            Self::Selected { namespace, selector } => {
                !pod.terminating
                    && pod.namespace == *namespace
                    && !selector.is_everything()
                    && selector.selects(&pod.labels)
            }
            Self::Spoken(terms) => {
                terms.iter().all(|term| term.speaks_of(&pod.namespace, &pod.labels, known))
            }
        }
    }

    fn selects_namespaces(&self) -> bool {
        matches!(self, Self::Spoken(terms) if terms.iter().any(Term::selects_namespaces))
    }
}

/// Counts of pods, by which they are of.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    kept: HashMap<Which, Kept>,
    asked: u64,
}

#[derive(Debug)]
struct Kept {
    /// Shared while a decision looks at it, never while it is changed.
    tally: Arc<Tally>,
    asked: u64,
}

/// How many pods of one kind are where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    by_node: HashMap<String, i64>,
    /// By a label's key.
    by_label: HashMap<String, ByValue>,
}

impl Tallies {
    /// Counts of these pods, also by this label: those that are kept, or new ones.
    pub(crate) fn get<'n>(
        &self,
        which: &Which,
        keys: &[&str],
        nodes: impl Iterator<Item = &'n NodeState> + Clone,
        known: &Namespaces,
    ) -> Arc<Tally> {
        match self
            .kept
            .get(which)
            .filter(|kept| keys.iter().all(|key| kept.tally.by_label.contains_key(*key)))
        {
            Some(kept) => kept.tally.clone(),
            None => Arc::new(Tally::new(which, keys, nodes, known)),
        }
    }

    /// Keeps counts of these pods from now on, also by these labels.
    pub(crate) fn keep<'n>(
        &mut self,
        which: Which,
        keys: &[&str],
        nodes: impl Iterator<Item = &'n NodeState> + Clone,
        known: &Namespaces,
    ) {
        self.asked += 1;
        let asked = self.asked;
        if let Some(kept) = self.kept.get_mut(&which) {
            kept.asked = asked;
            if keys.iter().any(|key| !kept.tally.by_label.contains_key(*key)) {
                Arc::make_mut(&mut kept.tally).count_by(keys, nodes);
            }
            return;
        }
        if self.kept.len() >= KEPT
            && let Some(oldest) = self.kept.iter().min_by_key(|(_, kept)| kept.asked)
        {
            let oldest = oldest.0.clone();
            self.kept.remove(&oldest);
        }
        let tally = Arc::new(Tally::new(&which, keys, nodes, known));
        self.kept.insert(which, Kept { tally, asked });
    }

    /// Counts a pod of the node `times` more.
    pub(crate) fn count(&mut self, pod: &PodInfo, node: &NodeState, times: i64, known: &Namespaces) {
        for (which, kept) in &mut self.kept {
            if which.includes(pod, known) {
                Arc::make_mut(&mut kept.tally).count(node, times);
            }
        }
    }

    /// Forgets all counts: those of nodes that are gone or have other labels are wrong.
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }

    /// Forgets the counts that depend on the labels of namespaces.
    pub(crate) fn forget_by_namespaces(&mut self) {
        self.kept.retain(|which, _| !which.selects_namespaces());
    }
}

impl Tally {
    fn new<'n>(
        which: &Which,
        keys: &[&str],
        nodes: impl Iterator<Item = &'n NodeState> + Clone,
        known: &Namespaces,
    ) -> Self {
        let mut tally = Self::default();
        for node in nodes.clone() {
            let there = node.pods.values().filter(|pod| which.includes(pod, known)).count();
            if there > 0 {
                tally.count(node, i64::try_from(there).unwrap_or(i64::MAX));
            }
        }
        tally.count_by(keys, nodes);
        tally
    }

    fn count(&mut self, node: &NodeState, times: i64) {
        add(&mut self.by_node, &node.info.name, times);
        for (key, counts) in &mut self.by_label {
            if let Some(value) = node.label(key) {
                add(counts, value, times);
            }
        }
    }

    /// Counts by these labels as well.
    fn count_by<'n>(&mut self, keys: &[&str], nodes: impl Iterator<Item = &'n NodeState> + Clone) {
        for key in keys {
            if self.by_label.contains_key(*key) {
                continue;
            }
            let mut counts = ByValue::new();
            for node in nodes.clone() {
                if let (Some(pods), Some(value)) = (self.by_node.get(&node.info.name), node.label(key)) {
                    add(&mut counts, value, *pods);
                }
            }
            self.by_label.insert((*key).to_owned(), counts);
        }
    }

    /// How many there are on a node.
    pub(crate) fn on(&self, node: &NodeState) -> i64 {
        self.by_node.get(&node.info.name).copied().unwrap_or(0)
    }

    /// How many there are by the value of a label that was asked for.
    pub(crate) fn by(&self, key: &str) -> Option<&ByValue> {
        self.by_label.get(key)
    }
}

/// Adds to a count, and leaves it out if it comes to nothing.
pub(crate) fn add(counts: &mut HashMap<String, i64>, at: &str, times: i64) {
    match counts.get_mut(at) {
        Some(count) if *count + times == 0 => drop(counts.remove(at)),
        Some(count) => *count += times,
        None if times == 0 => {}
        None => drop(counts.insert(at.to_owned(), times)),
    }
}
