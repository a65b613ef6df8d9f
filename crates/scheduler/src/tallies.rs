//! How many pods of one kind there are on each node, and by the labels of nodes: kept for the kinds of pods that were spread lately, so
//! that not all pods are looked at for each decision.

use std::collections::HashMap;

use skiff_machinery::selector::LabelSelector;

use crate::model::PodInfo;
use crate::nodes::NodeState;

/// Kinds of pods that are remembered; the one that was asked for longest ago makes way.
const KEPT: usize = 256;

/// Counts of pods, by the namespace and the selector that they are of.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    kept: Vec<Tally>,
    asked: u64,
}

/// The pods of one namespace that a selector selects, but for those that are ending.
#[derive(Debug)]
pub(crate) struct Tally {
    namespace: String,
    selector: LabelSelector,
    asked: u64,
    by_node: HashMap<String, i64>,
    /// By a label's key, then by its value.
    by_label: HashMap<String, HashMap<String, i64>>,
}

impl Tallies {
    /// The counts of what the selector selects, if they are kept.
    pub(crate) fn get(&self, namespace: &str, selector: &LabelSelector) -> Option<&Tally> {
        self.kept.iter().find(|tally| tally.is_of(namespace, selector))
    }

    /// Keeps counts of what the selector selects, also by this label.
    pub(crate) fn keep<'n>(
        &mut self,
        namespace: &str,
        selector: &LabelSelector,
        key: &str,
        nodes: impl Iterator<Item = &'n NodeState> + Clone,
    ) {
        self.asked += 1;
        let asked = self.asked;
        let found = self.kept.iter_mut().find(|tally| tally.is_of(namespace, selector));
        if let Some(tally) = found {
            tally.asked = asked;
            tally.count_by(key, nodes);
            return;
        }
        if self.kept.len() >= KEPT
            && let Some(oldest) = (0..self.kept.len()).min_by_key(|at| self.kept[*at].asked)
        {
            self.kept.swap_remove(oldest);
        }
        let mut tally = Tally {
            namespace: namespace.to_owned(),
            selector: selector.clone(),
            asked,
            by_node: HashMap::new(),
            by_label: HashMap::new(),
        };
        for node in nodes.clone() {
            node.pods.values().for_each(|pod| tally.count(pod, node, 1));
        }
        tally.count_by(key, nodes);
        self.kept.push(tally);
    }

    /// Counts a pod of the node `times` more.
    pub(crate) fn count(&mut self, pod: &PodInfo, node: &NodeState, times: i64) {
        self.kept.iter_mut().for_each(|tally| tally.count(pod, node, times));
    }

    /// Forgets all counts: those of nodes that are gone or have other labels are wrong.
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }
}

impl Tally {
    fn is_of(&self, namespace: &str, selector: &LabelSelector) -> bool {
        self.namespace == namespace && self.selector == *selector
    }

    fn count(&mut self, pod: &PodInfo, node: &NodeState, times: i64) {
        if pod.terminating || pod.namespace != self.namespace || !self.selector.selects(&pod.labels) {
            return;
        }
        add(&mut self.by_node, &node.info.name, times);
        for (key, counts) in &mut self.by_label {
            if let Some(value) = node.label(key) {
                add(counts, value, times);
            }
        }
    }

    fn count_by<'n>(&mut self, key: &str, nodes: impl Iterator<Item = &'n NodeState>) {
        if self.by_label.contains_key(key) {
            return;
        }
        let mut counts = HashMap::new();
        for node in nodes {
            if let (Some(pods), Some(value)) = (self.by_node.get(&node.info.name), node.label(key)) {
                add(&mut counts, value, *pods);
            }
        }
        self.by_label.insert(key.to_owned(), counts);
    }

    /// How many there are on a node.
    pub(crate) fn on(&self, node: &NodeState) -> i64 {
        self.by_node.get(&node.info.name).copied().unwrap_or(0)
    }

    /// How many there are on nodes whose label has each value; `None` if that is not counted.
    pub(crate) fn by(&self, key: &str) -> Option<&HashMap<String, i64>> {
        self.by_label.get(key)
    }
}

fn add(counts: &mut HashMap<String, i64>, at: &str, times: i64) {
    match counts.get_mut(at) {
        Some(count) => *count += times,
        None => drop(counts.insert(at.to_owned(), times)),
    }
    if counts.get(at) == Some(&0) {
        counts.remove(at);
    }
}
