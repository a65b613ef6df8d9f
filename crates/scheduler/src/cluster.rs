//! The scheduler's picture of the cluster: nodes with their pods, bound or about to be.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use skiff_informer::ObjectKey;

use crate::model::{NodeInfo, PodInfo};
use crate::schedule::{Decision, NodeState, schedule};

/// Where a pod is counted.
struct Placed {
    node: String,
    pod: Arc<PodInfo>,
    /// Decided by us and not seen bound yet, for the pod of this UID.
    assumed: Option<String>,
}

/// Nodes and placements. A node that is named by a pod but unknown has no place in scheduling until it appears.
#[derive(Default)]
pub(crate) struct Cluster {
    nodes: BTreeMap<String, NodeState>,
    placed: HashMap<ObjectKey, Placed>,
    /// Pods that fit nowhere, tried again when something changes that could help.
    unschedulable: HashMap<ObjectKey, i32>,
}

impl Cluster {
    /// Takes in a node. Returns whether a pod that fitted nowhere might fit now.
    pub(crate) fn set_node(&mut self, info: &NodeInfo) -> bool {
        if let Some(node) = self.nodes.get_mut(&info.name) {
            let changed = node.info != *info;
            node.info = info.clone();
            return changed;
        }
        let mut node = NodeState { info: info.clone(), ..NodeState::default() };
        let pods = self.placed.values().filter(|placed| placed.node == info.name);
        pods.for_each(|placed| node.add(&placed.pod));
        self.nodes.insert(info.name.clone(), node);
        true
    }

    /// Forgets a node; its pods stay known.
    pub(crate) fn remove_node(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// Takes in a pod, or its end. Returns whether room was made.
    pub(crate) fn set_pod(&mut self, key: &ObjectKey, pod: Option<&Arc<PodInfo>>) -> bool {
        match pod {
            Some(pod) if pod.node.is_none() => {
                // Not bound yet. A placement we assumed for this very pod is ahead of the cache; any other is stale.
                let uid = pod.pending.as_ref().map(|pending| pending.uid.as_str());
                let ahead = self.placed.get(key).is_some_and(|placed| placed.assumed.as_deref() == uid);
                !ahead && self.take_out(key)
            }
            Some(pod) => {
                self.unschedulable.remove(key);
                let before =
                    self.placed.get(key).map(|placed| (placed.node.clone(), placed.pod.requests.clone()));
                self.take_out(key);
                let node = pod.node.clone().unwrap_or_default();
                let made_room = before.is_some_and(|before| before != (node.clone(), pod.requests.clone()));
                self.put_in(key, Placed { node, pod: pod.clone(), assumed: None });
                made_room
            }
            None => {
                self.unschedulable.remove(key);
                self.take_out(key)
            }
        }
    }

    /// Chooses a node and counts the pod in at once; nothing if the pod needs no node any more.
    pub(crate) fn decide(&mut self, key: &ObjectKey, pod: &Arc<PodInfo>) -> Option<Decision> {
        let pending = pod.pending.as_deref()?;
        if self.placed.contains_key(key) {
            return None;
        }
        let decision = schedule(pod, pending, self.nodes.values());
        match &decision {
            Decision::Bind(node) => {
                self.unschedulable.remove(key);
                let assumed = Some(pending.uid.clone());
                self.put_in(key, Placed { node: node.clone(), pod: pod.clone(), assumed });
            }
            Decision::Unschedulable(_) => {
                self.unschedulable.insert(key.clone(), pending.priority);
            }
        }
        Some(decision)
    }

    /// Takes back a decision that could not be written.
    pub(crate) fn forget(&mut self, key: &ObjectKey) {
        if self.placed.get(key).is_some_and(|placed| placed.assumed.is_some()) {
            self.take_out(key);
        }
    }

    /// The pods that fit nowhere, the most important first. They are decided again, so they leave the list.
    pub(crate) fn take_unschedulable(&mut self) -> Vec<ObjectKey> {
        let mut pods: Vec<_> = self.unschedulable.drain().collect();
        pods.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        pods.into_iter().map(|(key, _)| key).collect()
    }

    fn put_in(&mut self, key: &ObjectKey, placed: Placed) {
        if let Some(node) = self.nodes.get_mut(&placed.node) {
            node.add(&placed.pod);
        }
        self.placed.insert(key.clone(), placed);
    }

    /// Whether the pod was counted anywhere.
    fn take_out(&mut self, key: &ObjectKey) -> bool {
        let Some(placed) = self.placed.remove(key) else { return false };
        if let Some(node) = self.nodes.get_mut(&placed.node) {
            node.remove(&placed.pod);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Pending;

    fn pod(uid: &str, node: Option<&str>, cpu: i64) -> Arc<PodInfo> {
        let mut pod = PodInfo { node: node.map(String::from), ..PodInfo::default() };
        pod.requests.set("cpu", cpu);
        pod.pending = node.is_none().then(|| Box::new(Pending { uid: uid.into(), ..Pending::default() }));
        Arc::new(pod)
    }

    fn cluster() -> Cluster {
        let mut cluster = Cluster::default();
        let mut node = NodeInfo { name: "n".into(), ..NodeInfo::default() };
        node.allocatable.set("cpu", 1000);
        node.allocatable.set("pods", 10);
        assert!(cluster.set_node(&node));
        assert!(!cluster.set_node(&node), "a heartbeat helps nobody");
        cluster
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    fn bound(decision: Option<Decision>) -> bool {
        matches!(decision, Some(Decision::Bind(_)))
    }

    #[test]
    fn an_assumed_pod_takes_its_room_at_once() {
        let mut cluster = cluster();
        assert!(bound(cluster.decide(&key("a"), &pod("a", None, 800))));
        assert!(!bound(cluster.decide(&key("b"), &pod("b", None, 300))));
        assert_eq!(cluster.decide(&key("a"), &pod("a", None, 800)), None, "decided already");
        assert_eq!(cluster.take_unschedulable(), [key("b")]);
    }

    #[test]
    fn a_late_cache_does_not_undo_a_decision_but_a_new_pod_of_that_name_does() {
        let mut cluster = cluster();
        assert!(bound(cluster.decide(&key("a"), &pod("a", None, 800))));
        assert!(!cluster.set_pod(&key("a"), Some(&pod("a", None, 800))));
        assert_eq!(cluster.decide(&key("a"), &pod("a", None, 800)), None);
        assert!(cluster.set_pod(&key("a"), Some(&pod("a2", None, 800))));
        assert!(bound(cluster.decide(&key("a"), &pod("a2", None, 800))));
    }

    #[test]
    fn room_comes_back_when_a_pod_ends_or_cannot_be_bound() {
        let mut cluster = cluster();
        assert!(!cluster.set_pod(&key("a"), Some(&pod("a", Some("n"), 800))));
        assert!(!bound(cluster.decide(&key("b"), &pod("b", None, 300))));
        assert!(cluster.set_pod(&key("a"), None));
        assert!(bound(cluster.decide(&key("b"), &pod("b", None, 300))));
        cluster.forget(&key("b"));
        assert!(bound(cluster.decide(&key("c"), &pod("c", None, 1000))));
    }

    #[test]
    fn pods_of_a_node_that_appears_later_are_counted() {
        let mut cluster = Cluster::default();
        cluster.set_pod(&key("a"), Some(&pod("a", Some("n"), 800)));
        let mut node = NodeInfo { name: "n".into(), ..NodeInfo::default() };
        node.allocatable.set("cpu", 1000);
        node.allocatable.set("pods", 10);
        cluster.set_node(&node);
        assert!(!bound(cluster.decide(&key("b"), &pod("b", None, 300))));
        cluster.remove_node("n");
        let decision = cluster.decide(&key("b"), &pod("b", None, 300));
        assert_eq!(decision, Some(Decision::Unschedulable("no nodes available to schedule pods".into())));
    }
}
