//! Pods that wait for a decision, the most important first, of those the one that waits longest.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use skiff_informer::ObjectKey;

use crate::configuration::Backoff;
use crate::numbers::Pending;
use crate::rules::Rule;

/// What first to last: priority, then order of arrival.
type Rank = (Reverse<i32>, u64);

/// Pods without a node. Its bound is the number of pods there are.
#[derive(Default)]
pub(crate) struct Waiting {
    backoff: Backoff,
    ready: BTreeSet<(Rank, ObjectKey)>,
    ranks: HashMap<ObjectKey, Rank>,
    arrived: u64,
    /// Pods that fit nowhere.
    refused: HashMap<ObjectKey, Refused>,
    /// How often in a row a pod fitted nowhere, and until when others come first for that.
    tried: HashMap<ObjectKey, (u32, Instant)>,
    /// Pods that may fit now, by the time until which others come first.
    again: BTreeSet<(Instant, ObjectKey)>,
    /// Pods whose binding failed, and how often in a row.
    failed: HashMap<ObjectKey, u32>,
    /// Of these, those that are to be tried again when their time comes.
    resting: HashSet<ObjectKey>,
}

/// A pod's priority, and the rules that refused it.
struct Refused {
    priority: i32,
    rules: BTreeSet<Rule>,
    /// Whether it may fit now, and is in [`Waiting::again`].
    again: bool,
}

impl Waiting {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, ..Self::default() }
    }

    /// Asks for a decision.
    pub(crate) fn add(&mut self, key: &ObjectKey, priority: i32) {
        self.drop_refusal(key);
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

    /// Who is next. Those that fitted nowhere lately come when nobody else waits, or after their time, as in Kubernetes.
    pub(crate) fn next(&mut self, now: Instant) -> Option<ObjectKey> {
        while self.again.first().is_some_and(|(until, _)| *until <= now || self.ready.is_empty()) {
            let (_, key) = self.again.pop_first()?;
            let priority = self.refused.get(&key).map_or(0, |refused| refused.priority);
            self.add(&key, priority);
        }
        let (_, key) = self.ready.pop_first()?;
        self.ranks.remove(&key);
        Some(key)
    }

    /// How many wait for what.
    pub(crate) fn pending(&self) -> Pending {
        let backoff = self.again.len();
        let unschedulable = self.refused.len().saturating_sub(backoff);
        Pending { active: self.ready.len(), backoff: backoff + self.resting.len(), unschedulable }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.again.is_empty()
    }

    /// The pod fits nowhere; these rules say so.
    pub(crate) fn refuse(&mut self, key: &ObjectKey, priority: i32, rules: BTreeSet<Rule>, now: Instant) {
        let (times, until) = self.tried.entry(key.clone()).or_insert((0, now));
        *times = times.saturating_add(1);
        *until = now + self.backoff.after(*times);
        self.drop_refusal(key);
        self.refused.insert(key.clone(), Refused { priority, rules, again: false });
    }

    /// The binding failed. Says for how long the pod rests.
    pub(crate) fn fail(&mut self, key: &ObjectKey) -> Duration {
        let failures = self.failed.entry(key.clone()).or_default();
        *failures = failures.saturating_add(1);
        self.resting.insert(key.clone());
        self.backoff.after(*failures)
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
        self.drop_refusal(key);
        self.tried.remove(key);
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
        let concerned = self.refused.iter_mut().filter(|(key, refused)| {
            !refused.again && rules.iter().any(|rule| refused.rules.contains(rule)) && which(key)
        });
        let mut pods: Vec<(i32, ObjectKey)> = Vec::new();
        for (key, refused) in concerned {
            refused.again = true;
            pods.push((refused.priority, key.clone()));
            if let Some((_, until)) = self.tried.get(key) {
                self.again.insert((*until, key.clone()));
            }
        }
        skiff_ordered::sort_by(&mut pods, |a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        pods.into_iter().map(|(_, key)| key).collect()
    }

    fn drop_refusal(&mut self, key: &ObjectKey) {
        if self.refused.remove(key).is_some_and(|refused| refused.again)
            && let Some((_, until)) = self.tried.get(key)
        {
            self.again.remove(&(*until, key.clone()));
        }
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
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        for (name, priority) in [("b", 0), ("a", 0), ("urgent", 10), ("b", 0)] {
            waiting.add(&key(name), priority);
        }
        waiting.add(&key("a"), 5);
        let order: Vec<_> = std::iter::from_fn(|| waiting.next(now)).collect();
        assert_eq!(order, [key("urgent"), key("a"), key("b")]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn only_a_change_that_could_help_asks_again() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        waiting.refuse(&key("big"), 0, [Rule::Room].into(), now);
        waiting.refuse(&key("picky"), 9, [Rule::Node, Rule::Room].into(), now);
        waiting.refuse(&key("shy"), 0, [Rule::Others].into(), now);
        assert_eq!(waiting.reconsider(&[Rule::Room]), [key("picky"), key("big")]);
        assert_eq!(waiting.reconsider(&[Rule::Room]), []);
        assert_eq!(waiting.reconsider(&[Rule::Node, Rule::Others]), [key("shy")]);
    }

    #[test]
    fn who_fitted_nowhere_lately_comes_after_others() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        let refuse = |waiting: &mut Waiting, at| {
            waiting.refuse(&key("big"), 9, [Rule::Room].into(), at);
            waiting.reconsider(&[Rule::Room]);
        };
        refuse(&mut waiting, now);
        waiting.add(&key("small"), 0);
        assert_eq!(waiting.next(now), Some(key("small")), "its second is not over");
        assert!(!waiting.is_empty());
        assert_eq!(waiting.next(now), Some(key("big")), "nobody else waits");
        refuse(&mut waiting, now);
        waiting.add(&key("small"), 0);
        assert_eq!(waiting.next(after(2)), Some(key("big")), "its two seconds are over");
        refuse(&mut waiting, now);
        assert_eq!(waiting.next(after(1)), Some(key("small")));
        waiting.forget(&key("big"));
        assert!(waiting.is_empty());
    }

    #[test]
    fn a_pod_whose_binding_fails_rests_ever_longer() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let seconds: Vec<u64> = (0..6).map(|_| waiting.fail(&key("a")).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
        waiting.add(&key("a"), 0);
        assert_eq!(waiting.next(now), None, "it rests");
        waiting.rested(&key("a"), 0);
        assert_eq!(waiting.next(now), Some(key("a")));
        waiting.rested(&key("a"), 0);
        assert_eq!(waiting.next(now), None);
        waiting.forget(&key("a"));
        assert_eq!(waiting.fail(&key("a")).as_secs(), 1);
    }
}
