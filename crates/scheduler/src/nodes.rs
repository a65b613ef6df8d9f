//! Nodes with what their pods take of them, and where the pods are that have rules about others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use skiff_informer::ObjectKey;
use skiff_quantity::Needed;

use crate::model::{HostPort, Labels, Namespaces, NodeInfo, PodInfo, Resources, Shares};
use crate::tallies::{Tallies, Tally, Which};
use crate::terms::Terms;

/// A node with what its pods take of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeState {
    /// The node itself.
    pub info: NodeInfo,
    /// The sum of its pods' requests.
    pub requested: Resources,
    /// The same for scoring.
    pub weighed: Shares,
    /// Ports taken by its pods.
    pub host_ports: Vec<HostPort>,
    /// Its pods.
    pub pods: BTreeMap<ObjectKey, Arc<PodInfo>>,
}

impl NodeState {
    /// Counts a pod in that is not there yet.
    pub(crate) fn add(&mut self, key: ObjectKey, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.weighed = self.weighed.plus(pod.weighed);
        self.host_ports.extend(pod.host_ports.iter().cloned());
        self.pods.insert(key, pod);
    }

    /// Takes a pod out, if it is there.
    pub(crate) fn remove(&mut self, key: &ObjectKey) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(key)?;
        self.requested.subtract(&pod.requests);
        self.weighed = self.weighed.minus(pod.weighed);
        for port in &pod.host_ports {
            if let Some(position) = self.host_ports.iter().position(|taken| taken == port) {
                self.host_ports.swap_remove(position);
            }
        }
        Some(pod)
    }

    /// The value of one of its labels.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.info.labels.get(key).map(String::as_str)
    }
}

/// All nodes. What only few pods ask for is indexed, so that other pods do not pay for it.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    by_name: BTreeMap<String, NodeState>,
    /// The rules of their pods about other pods.
    terms: Terms,
    /// On how many nodes an image is.
    images: HashMap<String, usize>,
    labels: LabelCounts,
    tallies: Tallies,
}

impl Nodes {
    /// Takes in a node. Returns whether it is new.
    pub(crate) fn set(&mut self, info: &NodeInfo) -> bool {
        if self.by_name.get(&info.name).is_some_and(|node| node.info.images != info.images) {
            self.count_images(&info.name, false);
        }
        let new = !self.by_name.contains_key(&info.name);
        let node = self.by_name.entry(info.name.clone()).or_default();
        let images_changed = new || node.info.images != info.images;
        if new || node.info.labels != info.labels {
            let before = std::mem::take(&mut node.info.labels);
            self.labels.remove(&before);
            self.labels.add(&info.labels);
            for pod in node.pods.values().filter(|pod| pod.affinities.is_some()) {
                self.terms.count(pod, &before, -1);
                self.terms.count(pod, &info.labels, 1);
            }
            if !new {
                self.tallies.clear();
            }
        }
        node.info = info.clone();
        if images_changed {
            self.count_images(&info.name, true);
        }
        new
    }

    pub(crate) fn forget(&mut self, name: &str) {
        self.count_images(name, false);
        if let Some(node) = self.by_name.remove(name) {
            self.labels.remove(&node.info.labels);
            for pod in node.pods.values().filter(|pod| pod.affinities.is_some()) {
                self.terms.count(pod, &node.info.labels, -1);
            }
            self.tallies.clear();
        }
    }

    fn count_images(&mut self, name: &str, there: bool) {
        let Some(node) = self.by_name.get(name) else { return };
        for image in node.info.images.keys() {
            if there {
                *self.images.entry(image.clone()).or_default() += 1;
            } else {
                count_down(&mut self.images, image);
            }
        }
    }

    /// Counts a pod in, if the node is known.
    pub(crate) fn put(&mut self, name: &str, key: &ObjectKey, pod: &Arc<PodInfo>, known: &Namespaces) {
        let Some(node) = self.by_name.get_mut(name) else { return };
        node.add(key.clone(), pod.clone());
        self.tallies.count(pod, node, 1, known);
        if pod.affinities.is_some() {
            self.terms.count(pod, &node.info.labels, 1);
        }
    }

    /// Takes a pod out, if it is there.
    pub(crate) fn take(&mut self, name: &str, key: &ObjectKey, known: &Namespaces) {
        let Some(node) = self.by_name.get_mut(name) else { return };
        let Some(pod) = node.remove(key) else { return };
        self.tallies.count(&pod, node, -1, known);
        if pod.affinities.is_some() {
            self.terms.count(&pod, &node.info.labels, -1);
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&NodeState> {
        self.by_name.get(name)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Every node, ordered by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &NodeState> {
        self.by_name.values()
    }

    /// Every node once, beginning behind the one of this name.
    pub(crate) fn behind<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a NodeState> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let later = self.by_name.range::<str, _>((Excluded(name), Unbounded));
        let earlier = self.by_name.range::<str, _>((Unbounded, Included(name)));
        later.chain(earlier).map(|(_, node)| node)
    }

    /// The rules that pods on nodes have about others.
    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Whether every node has a label of this key.
    pub(crate) fn all_have(&self, key: &str) -> bool {
        self.labels.nodes_with(key) == self.by_name.len()
    }

    /// How many values a label has among the nodes.
    pub(crate) fn values_of(&self, key: &str) -> usize {
        self.labels.values_of(key)
    }

    /// Keeps counts of these pods from now on, also by these labels of nodes.
    pub(crate) fn keep_tally(&mut self, which: Which, keys: &[&str], known: &Namespaces) {
        self.tallies.keep(which, keys, self.by_name.values(), known);
    }

    /// The counts of these pods, also by these labels of nodes.
    pub(crate) fn tally(&self, which: &Which, keys: &[&str], known: &Namespaces) -> Arc<Tally> {
        self.tallies.get(which, keys, self.by_name.values(), known)
    }

    /// Forgets what was counted with other labels of namespaces.
    pub(crate) fn namespaces_changed(&mut self) {
        self.tallies.forget_by_namespaces();
    }

    /// On how many nodes the image of this name is.
    pub(crate) fn holding(&self, image: &str) -> usize {
        self.images.get(image).copied().unwrap_or(0)
    }
}

/// How many nodes have a label, and each value of it.
#[derive(Debug, Default)]
struct LabelCounts(HashMap<String, LabelCount>);

#[derive(Debug, Default)]
struct LabelCount {
    nodes: usize,
    by_value: HashMap<String, usize>,
}

impl LabelCounts {
    fn add(&mut self, labels: &Labels) {
        for (key, value) in labels {
            let count = self.0.entry(key.clone()).or_default();
            count.nodes += 1;
            *count.by_value.entry(value.clone()).or_default() += 1;
        }
    }

    fn remove(&mut self, labels: &Labels) {
        for (key, value) in labels {
            if let Some(count) = self.0.get_mut(key) {
                count.nodes = count.nodes.saturating_sub(1);
                count_down(&mut count.by_value, value);
                if count.nodes == 0 {
                    self.0.remove(key);
                }
            }
        }
    }

    fn nodes_with(&self, key: &str) -> usize {
        self.0.get(key).map_or(0, |count| count.nodes)
    }

    fn values_of(&self, key: &str) -> usize {
        self.0.get(key).map_or(0, |count| count.by_value.len())
    }
}

fn count_down(counts: &mut HashMap<String, usize>, key: &str) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
