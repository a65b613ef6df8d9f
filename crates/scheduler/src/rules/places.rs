//! Numbers of pods by the values of one label of nodes: what is counted, and what one decision would change of it.

use std::collections::HashMap;

use crate::nodes::NodeState;
use crate::tallies::ByValue;

/// Pods by where they are. All that is counted is added up.
#[derive(Clone, Debug, Default)]
pub(super) struct Places<'a> {
    key: String,
    counted: Vec<&'a ByValue>,
    changed: HashMap<String, i64>,
}

impl<'a> Places<'a> {
    /// No pods yet, by the values of the label `key`.
    pub(super) fn by(key: &str) -> Self {
        Self { key: key.to_owned(), ..Self::default() }
    }

    /// The same with these pods.
    pub(super) fn with(mut self, counted: Option<&'a ByValue>) -> Self {
        self.counted.extend(counted);
        self
    }

    /// The label.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Counts these as well.
    pub(super) fn take_in(&mut self, counted: &'a ByValue) {
        self.counted.push(counted);
    }

    /// How many are where the node is; `None` if it is nowhere.
    pub(super) fn near(&self, node: &NodeState) -> Option<i64> {
        Some(self.of(node.label(&self.key)?))
    }

    fn of(&self, value: &str) -> i64 {
        let counted: i64 = self.counted.iter().filter_map(|counts| counts.get(value)).sum();
        counted + self.changed.get(value).copied().unwrap_or(0)
    }

    /// Counts so many more where the node is.
    pub(super) fn add(&mut self, node: &NodeState, times: i64) {
        if let Some(value) = node.label(&self.key) {
            *self.changed.entry(value.to_owned()).or_default() += times;
        }
    }

    /// Whether there are none anywhere.
    pub(super) fn are_empty(&self) -> bool {
        let values = self.counted.iter().flat_map(|counts| counts.keys()).chain(self.changed.keys());
        values.into_iter().all(|value| self.of(value) <= 0)
    }
}
