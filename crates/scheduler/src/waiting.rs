//! Pods that wait for a decision, the most important first, of those the one that waits longest.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use skiff_informer::ObjectKey;

use crate::rules::Rule;

/// What first to last: priority, then order of arrival.
type Rank = (Reverse<i32>, u64);

/// Pods without a node. Its bound is the number of pods there are.
#[derive(Default)]
pub(crate) struct Waiting {
    ready: BTreeSet<(Rank, ObjectKey)>,
    ranks: HashMap<ObjectKey, Rank>,
    arrived: u64,
    /// Pods that fit nowhere, with their priority and the rules that refused them.
    refused: HashMap<ObjectKey, (i32, BTreeSet<Rule>)>,
    /// Pods whose binding failed, and how often in a row.
    failed: HashMap<ObjectKey, u32>,
    /// Of these, those that are to be tried again when their time comes.
    resting: HashSet<ObjectKey>,
}

impl Waiting {
    /// Asks for a decision.
    pub(crate) fn add(&mut self, key: &ObjectKey, priority: i32) {
        self.refused.remove(key);
        if self.resting.contains(key) {
            return;
        }
        if let Some(rank) = self.ranks.get(key) {
            if rank.0 == Reverse(priority) {
                return;
            }
            self.ready.remove(&(*rank, key.clone()));
        }
        self.arrived += 1;
        let rank = (Reverse(priority), self.arrived);
        self.ranks.insert(key.clone(), rank);
        self.ready.insert((rank, key.clone()));
    }

    /// Who is next.
    pub(crate) fn next(&mut self) -> Option<ObjectKey> {
        let (_, key) = self.ready.pop_first()?;
        self.ranks.remove(&key);
        Some(key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// The pod fits nowhere; these rules say so.
    pub(crate) fn refuse(&mut self, key: &ObjectKey, priority: i32, rules: BTreeSet<Rule>) {
        self.refused.insert(key.clone(), (priority, rules));
    }

    /// The binding failed. Says for how long the pod rests: from a second to ten, as in Kubernetes.
    pub(crate) fn fail(&mut self, key: &ObjectKey) -> Duration {
        const LONGEST: u32 = 10;
        let failures = self.failed.entry(key.clone()).or_default();
        let seconds = 1_u32.checked_shl(*failures).unwrap_or(LONGEST).min(LONGEST);
        *failures = (*failures + 1).min(LONGEST);
        self.resting.insert(key.clone());
        Duration::from_secs(seconds.into())
    }

    /// The pod has rested, if it did.
    pub(crate) fn rested(&mut self, key: &ObjectKey, priority: i32) {
        if self.resting.remove(key) {
            self.add(key, priority);
        }
    }

    /// The pod is gone, or on a node.
    pub(crate) fn forget(&mut self, key: &ObjectKey) {
        if let Some(rank) = self.ranks.remove(key) {
            self.ready.remove(&(rank, key.clone()));
        }
        self.refused.remove(key);
        self.failed.remove(key);
        self.resting.remove(key);
    }

    /// Asks again for those that one of these rules refused; returns who they are.
    pub(crate) fn reconsider(&mut self, rules: &[Rule]) -> Vec<ObjectKey> {
        self.reconsider_those(rules, |_| true)
    }

    /// Asks again for those of `which` that one of these rules refused; returns who they are.
    pub(crate) fn reconsider_those(
        &mut self,
        rules: &[Rule],
        which: impl Fn(&ObjectKey) -> bool,
    ) -> Vec<ObjectKey> {
        let concerned = self
            .refused
            .iter()
            .filter(|(key, (_, refusing))| rules.iter().any(|rule| refusing.contains(rule)) && which(key));
        let mut pods: Vec<(ObjectKey, i32)> =
            concerned.map(|(key, (priority, _))| (key.clone(), *priority)).collect();
        pods.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        pods.iter().for_each(|(key, priority)| self.add(key, *priority));
        pods.into_iter().map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    #[test]
    fn the_most_important_comes_first_then_who_waits_longest() {
        let mut waiting = Waiting::default();
        for (name, priority) in [("b", 0), ("a", 0), ("urgent", 10), ("b", 0)] {
            waiting.add(&key(name), priority);
        }
        waiting.add(&key("a"), 5);
        let order: Vec<_> = std::iter::from_fn(|| waiting.next()).collect();
        assert_eq!(order, [key("urgent"), key("a"), key("b")]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn only_a_change_that_could_help_asks_again() {
        let mut waiting = Waiting::default();
        waiting.refuse(&key("big"), 0, [Rule::Room].into());
        waiting.refuse(&key("picky"), 9, [Rule::Node, Rule::Room].into());
        waiting.refuse(&key("shy"), 0, [Rule::Others].into());
        assert_eq!(waiting.reconsider(&[Rule::Room]), [key("picky"), key("big")]);
        assert_eq!(waiting.reconsider(&[Rule::Room]), []);
        assert_eq!(waiting.reconsider(&[Rule::Node, Rule::Others]), [key("shy")]);
    }

    #[test]
    fn a_pod_whose_binding_fails_rests_ever_longer() {
        let mut waiting = Waiting::default();
        let seconds: Vec<u64> = (0..6).map(|_| waiting.fail(&key("a")).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
        waiting.add(&key("a"), 0);
        assert_eq!(waiting.next(), None, "it rests");
        waiting.rested(&key("a"), 0);
        assert_eq!(waiting.next(), Some(key("a")));
        waiting.rested(&key("a"), 0);
        assert_eq!(waiting.next(), None);
        waiting.forget(&key("a"));
        assert_eq!(waiting.fail(&key("a")).as_secs(), 1);
    }
}
