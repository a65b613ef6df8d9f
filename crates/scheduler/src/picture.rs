//! What a decision looks at.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use skiff_informer::ObjectKey;

use crate::model::{Budget, Namespaces, PodInfo, Selectors};
use crate::nodes::Nodes;
use crate::storage::Storage;

/// The cluster as decisions see it.
#[derive(Default)]
pub(crate) struct Picture {
    pub nodes: Nodes,
    pub namespaces: Namespaces,
    pub budgets: Vec<Arc<Budget>>,
    pub selectors: Selectors,
    pub storage: Storage,
    nominated: Nominated,
}

/// Pods that fit nowhere yet, on the nodes on which room is made for them.
#[derive(Default)]
struct Nominated {
    by_node: HashMap<String, BTreeMap<ObjectKey, Arc<PodInfo>>>,
    of: HashMap<ObjectKey, String>,
}

impl Picture {
    /// Pods that come to the node, as important as `priority` at least, but for the one of `key`.
    pub(crate) fn nominated_on(
        &self,
        node: &str,
        key: &ObjectKey,
        priority: i32,
    ) -> Vec<(&ObjectKey, &Arc<PodInfo>)> {
        let coming = self.nominated.by_node.get(node).into_iter().flatten();
        coming.filter(|(other, pod)| *other != key && pod.priority >= priority).collect()
    }

    /// Pods that were to come to the node, less important than `priority`: room is no longer made for them.
    pub(crate) fn outranked_on(&self, node: &str, priority: i32) -> Vec<(ObjectKey, Arc<PodInfo>)> {
        let coming = self.nominated.by_node.get(node).into_iter().flatten();
        let outranked = coming.filter(|(_, pod)| pod.priority < priority);
        outranked.map(|(key, pod)| (key.clone(), pod.clone())).collect()
    }

    /// Where room is made for the pod of `key`; nowhere if `node` is none.
    pub(crate) fn nominate(&mut self, key: &ObjectKey, pod: &Arc<PodInfo>, node: Option<&str>) {
        self.withdraw(key);
        if let Some(node) = node {
            self.nominated.of.insert(key.clone(), node.to_owned());
            self.nominated.by_node.entry(node.to_owned()).or_default().insert(key.clone(), pod.clone());
        }
    }

    pub(crate) fn withdraw(&mut self, key: &ObjectKey) {
        let Some(node) = self.nominated.of.remove(key) else { return };
        if let Some(coming) = self.nominated.by_node.get_mut(&node) {
            coming.remove(key);
            if coming.is_empty() {
                self.nominated.by_node.remove(&node);
            }
        }
    }
}
