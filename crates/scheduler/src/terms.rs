//! The rules that pods on nodes have about others, each counted once for all pods that have it, by the values of the label that it is
//! about: so what a decision asks of them grows with the number of rules, not of pods.

use std::collections::HashMap;

use crate::model::{Labels, PodInfo, Term};
use crate::tallies::{ByValue, add};

/// Terms with what they count for, by value of their topology key.
type Counted = HashMap<Term, ByValue>;

/// Rules of pods on nodes about others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Required affinity: how many pods have it.
    required: Counted,
    /// Required anti-affinity: how many pods have it.
    forbidden: Counted,
    /// Preferred ones: the sum of their weights.
    preferred: Counted,
}

impl Terms {
    /// Counts the rules of a pod on a node with these labels `times` more.
    pub(crate) fn count(&mut self, pod: &PodInfo, labels: &Labels, times: i64) {
        let count = |counted: &mut Counted, term: &Term, times: i64| {
            let Some(value) = labels.get(&term.topology_key) else { return };
            if !counted.contains_key(term) {
                counted.insert(term.clone(), ByValue::new());
            }
            if let Some(values) = counted.get_mut(term) {
                add(values, value, times);
                if values.is_empty() {
                    counted.remove(term);
                }
            }
        };
        pod.required().iter().for_each(|term| count(&mut self.required, term, times));
        pod.forbidden().iter().for_each(|term| count(&mut self.forbidden, term, times));
        for liked in pod.preferred() {
            count(&mut self.preferred, &liked.term, times * liked.weight);
        }
    }

    pub(crate) fn required(&self) -> impl Iterator<Item = (&Term, &ByValue)> {
        self.required.iter()
    }

    pub(crate) fn forbidden(&self) -> impl Iterator<Item = (&Term, &ByValue)> {
        self.forbidden.iter()
    }

    pub(crate) fn preferred(&self) -> impl Iterator<Item = (&Term, &ByValue)> {
        self.preferred.iter()
    }
}
