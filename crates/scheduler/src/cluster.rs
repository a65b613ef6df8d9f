//! The scheduler's state: what decisions look at, where pods are or are about to be, and who waits.

mod volumes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skiff_informer::ObjectKey;
use skiff_machinery::selector::LabelSelector;

use crate::configuration::Backoff;
use crate::model::{Budget, Labels, NodeInfo, OwnerKind, PodInfo};
use crate::numbers::Pending;
pub(crate) use crate::picture::Picture;
use crate::preempt::Preemption;
use crate::rules::Rule;
use crate::schedule::{Decision, Room, schedule};
use crate::storage::Reserved;
use crate::waiting::Waiting;

/// Where a pod is counted.
struct Placed {
    node: String,
    pod: Arc<PodInfo>,
    /// Decided by us and not seen bound yet, for the pod of this UID.
    assumed: Option<String>,
}

/// A decision about a pod.
pub(crate) struct Decided {
    pub key: ObjectKey,
    pub pod: Arc<PodInfo>,
    pub decision: Decision,
    /// What is to be bound before the pod is.
    pub reserved: Option<Reserved>,
}

/// Nodes, placements and who waits. A node that is named by a pod but unknown has no place in scheduling until it appears.
#[derive(Default)]
pub(crate) struct Cluster {
    picture: Picture,
    placed: HashMap<ObjectKey, Placed>,
    waiting: Waiting,
    /// The last node that was looked at: the next decision begins behind it.
    last: String,
}

/// Changes that could help a pod that fits nowhere.
const NODE_CHANGED: &[Rule] = &[Rule::Node, Rule::Room, Rule::Others, Rule::Volumes, Rule::Disks];
const ROOM_MADE: &[Rule] = &[Rule::Room, Rule::Others];
/// A pod with claims or disks is gone.
const DISKS_LEFT: &[Rule] = &[Rule::Room, Rule::Others, Rule::Disks];
const OTHERS_CHANGED: &[Rule] = &[Rule::Others];

impl Cluster {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { waiting: Waiting::new(backoff), ..Self::default() }
    }

    /// Takes in a node. Returns pods that might fit now.
    pub(crate) fn set_node(&mut self, info: &NodeInfo) -> Vec<ObjectKey> {
        if let Some(node) = self.picture.nodes.get(&info.name) {
            if node.info == *info {
                return Vec::new();
            }
            // Which images are there makes a node better, not possible.
            let helps = NodeInfo { images: HashMap::new(), ..node.info.clone() }
                != NodeInfo { images: HashMap::new(), ..info.clone() };
            self.picture.nodes.set(info);
            return if helps { self.waiting.reconsider(NODE_CHANGED) } else { Vec::new() };
        }
        self.picture.nodes.set(info);
        for (key, placed) in self.placed.iter().filter(|(_, placed)| placed.node == info.name) {
            self.picture.nodes.put(&info.name, key, &placed.pod, &self.picture.namespaces);
        }
        self.waiting.reconsider(NODE_CHANGED)
    }

    /// Forgets a node; its pods stay known. Returns pods whose reason to report has changed.
    pub(crate) fn remove_node(&mut self, name: &str) -> Vec<ObjectKey> {
        self.picture.nodes.forget(name);
        self.waiting.reconsider(NODE_CHANGED)
    }

    /// Takes in a namespace's labels, or its end. Returns pods that might fit now.
    pub(crate) fn set_namespace(&mut self, name: &str, labels: Option<&Labels>) -> Vec<ObjectKey> {
        let known = &mut self.picture.namespaces;
        let before = match labels {
            Some(labels) => known.insert(name.to_owned(), labels.clone()),
            None => known.remove(name),
        };
        if before.as_ref() == labels {
            return Vec::new();
        }
        self.picture.nodes.namespaces_changed();
        self.waiting.reconsider(OTHERS_CHANGED)
    }

    /// Takes in what a Service selects, or its end.
    pub(crate) fn set_service(&mut self, key: &ObjectKey, selector: Option<&Labels>) {
        self.picture.selectors.set_service(key, selector);
    }

    /// Takes in what an owner of pods selects, or its end.
    pub(crate) fn set_owner(&mut self, kind: OwnerKind, key: &ObjectKey, selector: Option<&LabelSelector>) {
        self.picture.selectors.set_owner(kind, key, selector);
    }

    /// Takes in all disruption budgets.
    pub(crate) fn set_budgets(&mut self, budgets: Vec<Arc<Budget>>) {
        self.picture.budgets = budgets;
    }

    /// Takes in a pod, or its end. Returns pods that might fit now.
    pub(crate) fn set_pod(&mut self, key: &ObjectKey, pod: Option<&Arc<PodInfo>>) -> Vec<ObjectKey> {
        match pod {
            Some(pod) if pod.node.is_none() => self.set_unbound(key, pod),
            Some(pod) => {
                self.waiting.forget(key);
                self.picture.storage.seekers.remove(key);
                self.picture.withdraw(key);
                let node = pod.node.clone().unwrap_or_default();
                let before = self.take_out(key);
                let helps = match &before {
                    Some(placed) if placed.node != node || placed.pod.requests != pod.requests => ROOM_MADE,
                    Some(placed) if as_others_see(&placed.pod) == as_others_see(pod) => &[],
                    _ => OTHERS_CHANGED,
                };
                self.put_in(key, Placed { node, pod: pod.clone(), assumed: None });
                self.waiting.reconsider(helps)
            }
            None => {
                self.waiting.forget(key);
                self.picture.storage.seekers.remove(key);
                self.picture.withdraw(key);
                match self.take_out(key) {
                    Some(placed) if placed.pod.volumes.is_some() => self.waiting.reconsider(DISKS_LEFT),
                    Some(_) => self.waiting.reconsider(ROOM_MADE),
                    None => Vec::new(),
                }
            }
        }
    }

    /// A pod that is not bound yet. A placement that we assumed for this very pod is ahead of the cache; any other is stale.
    fn set_unbound(&mut self, key: &ObjectKey, pod: &Arc<PodInfo>) -> Vec<ObjectKey> {
        let ahead = self.placed.get(key).is_some_and(|placed| placed.assumed.as_ref() == Some(&pod.uid));
        if ahead {
            return Vec::new();
        }
        let nominated = pod.pending.as_ref().and_then(|pending| pending.nominated.as_deref());
        self.picture.nominate(key, pod, nominated);
        self.picture.storage.seekers.add(key, pod.volumes.as_deref());
        match self.take_out(key) {
            Some(_) => self.waiting.reconsider(ROOM_MADE),
            None => Vec::new(),
        }
    }

    /// Asks for a decision about a pod.
    pub(crate) fn ask(&mut self, key: &ObjectKey, priority: i32) {
        self.waiting.add(key, priority);
    }

    /// Asks again, if the pod rested after a failure.
    pub(crate) fn rested(&mut self, key: &ObjectKey, priority: i32) {
        self.waiting.rested(key, priority);
    }

    /// How many pods wait.
    pub(crate) fn pending(&self) -> Pending {
        self.waiting.pending()
    }

    /// Whether nobody waits for a decision.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Decides about the pod that is next; one that is bound is counted in at once. Pods that need no node any more are passed
    /// over.
    pub(crate) fn decide(
        &mut self,
        find: impl Fn(&ObjectKey) -> Option<Arc<PodInfo>>,
        now: Instant,
    ) -> Option<Decided> {
        while let Some(key) = self.waiting.next(now) {
            let Some(pod) = find(&key) else { continue };
            let Some(pending) = pod.pending.as_deref() else { continue };
            if self.placed.contains_key(&key) {
                continue;
            }
            self.picture.prepare(&pod, pending);
            let (decision, examined) = schedule(&key, &pod, pending, &self.picture, &self.last);
            self.last = examined.unwrap_or_else(|| std::mem::take(&mut self.last));
            let mut reserved = None;
            match &decision {
                Decision::Bind(node) => {
                    reserved = self.reserve(&pod, pending, node);
                    self.picture.withdraw(&key);
                    let assumed = Some(pod.uid.clone());
                    self.put_in(&key, Placed { node: node.clone(), pod: pod.clone(), assumed });
                }
                Decision::Unschedulable(why) => {
                    self.waiting.refuse(&key, pod.priority, why.rules.clone(), now);
                    match &why.room {
                        Room::Made(preemption) => self.picture.nominate(&key, &pod, Some(&preemption.node)),
                        Room::None => self.picture.withdraw(&key),
                        Room::AsBefore => {}
                    }
                }
            }
            return Some(Decided { key, pod, decision, reserved });
        }
        None
    }

    /// Pods for which room was to be made where a more important pod takes it now. They are decided about again.
    pub(crate) fn outranked(
        &mut self,
        by: &PodInfo,
        preemption: &Preemption,
    ) -> Vec<(ObjectKey, Arc<PodInfo>)> {
        let outranked = self.picture.outranked_on(&preemption.node, by.priority);
        outranked.iter().for_each(|(key, _)| self.picture.withdraw(key));
        outranked
    }

    /// Takes back a decision that could not be written.
    pub(crate) fn forget(&mut self, key: &ObjectKey) {
        if self.placed.get(key).is_some_and(|placed| placed.assumed.is_some()) {
            self.take_out(key);
        }
    }

    /// As [`Self::forget`]; says for how long the pod rests before it is decided about again.
    pub(crate) fn failed(&mut self, key: &ObjectKey) -> Duration {
        self.forget(key);
        self.waiting.fail(key)
    }

    fn put_in(&mut self, key: &ObjectKey, placed: Placed) {
        self.picture.nodes.put(&placed.node, key, &placed.pod, &self.picture.namespaces);
        self.picture.storage.count(placed.pod.volumes.as_deref(), 1);
        self.placed.insert(key.clone(), placed);
    }

    fn take_out(&mut self, key: &ObjectKey) -> Option<Placed> {
        let placed = self.placed.remove(key)?;
        self.picture.nodes.take(&placed.node, key, &self.picture.namespaces);
        self.picture.storage.count(placed.pod.volumes.as_deref(), -1);
        Some(placed)
    }
}

/// What rules of other pods can see of a pod.
fn as_others_see(pod: &PodInfo) -> (&Labels, bool) {
    (&pod.labels, pod.terminating)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Pending;

    fn pod(uid: &str, node: Option<&str>, cpu: i64) -> Arc<PodInfo> {
        let mut pod = PodInfo { uid: uid.into(), node: node.map(String::from), ..PodInfo::default() };
        pod.requests.set("cpu", cpu);
        pod.pending = node.is_none().then(Box::<Pending>::default);
        Arc::new(pod)
    }

    fn node() -> NodeInfo {
        let mut node = NodeInfo { name: "n".into(), ..NodeInfo::default() };
        node.allocatable.set("cpu", 1000);
        node.allocatable.set("pods", 10);
        node
    }

    fn cluster() -> Cluster {
        let mut cluster = Cluster::default();
        cluster.set_node(&node());
        cluster
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    /// Whether `pod` gets a node.
    fn binds(cluster: &mut Cluster, name: &str, pod: &Arc<PodInfo>) -> bool {
        cluster.ask(&key(name), 0);
        let decided = cluster.decide(|_| Some(pod.clone()), Instant::now());
        decided.is_some_and(|decided| matches!(decided.decision, Decision::Bind(_)))
    }

    #[test]
    fn an_assumed_pod_takes_its_room_at_once() {
        let mut cluster = cluster();
        assert!(binds(&mut cluster, "a", &pod("a", None, 800)));
        assert!(!binds(&mut cluster, "b", &pod("b", None, 300)));
        assert!(!binds(&mut cluster, "a", &pod("a", None, 800)), "decided already");
        assert!(cluster.set_node(&node()).is_empty(), "a heartbeat helps nobody");
        let mut greater = node();
        greater.allocatable.set("cpu", 2000);
        assert_eq!(cluster.set_node(&greater), [key("b")]);
    }

    #[test]
    fn a_late_cache_does_not_undo_a_decision_but_a_new_pod_of_that_name_does() {
        let mut cluster = cluster();
        assert!(binds(&mut cluster, "a", &pod("a", None, 800)));
        cluster.set_pod(&key("a"), Some(&pod("a", None, 800)));
        assert!(!binds(&mut cluster, "a", &pod("a", None, 800)));
        cluster.set_pod(&key("a"), Some(&pod("a2", None, 800)));
        assert!(binds(&mut cluster, "a", &pod("a2", None, 800)));
    }

    #[test]
    fn room_comes_back_when_a_pod_ends_or_cannot_be_bound() {
        let mut cluster = cluster();
        assert!(cluster.set_pod(&key("a"), Some(&pod("a", Some("n"), 800))).is_empty());
        assert!(!binds(&mut cluster, "b", &pod("b", None, 300)));
        assert_eq!(cluster.set_pod(&key("a"), None), [key("b")]);
        assert!(binds(&mut cluster, "b", &pod("b", None, 300)));
        cluster.forget(&key("b"));
        assert!(binds(&mut cluster, "c", &pod("c", None, 1000)));
    }

    #[test]
    fn pods_of_a_node_that_appears_later_are_counted() {
        let mut cluster = Cluster::default();
        cluster.set_pod(&key("a"), Some(&pod("a", Some("n"), 800)));
        cluster.set_node(&node());
        assert!(!binds(&mut cluster, "b", &pod("b", None, 300)));
        assert_eq!(cluster.remove_node("n"), [key("b")]);
        let decided = cluster.decide(|_| Some(pod("b", None, 300)), Instant::now());
        let Some(Decided { decision: Decision::Unschedulable(why), .. }) = decided else { panic!("it fits") };
        assert_eq!(why.message, "no nodes available to schedule pods");
    }
}
