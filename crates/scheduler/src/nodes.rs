//! Nodes with what their pods take of them, and where the pods are that have rules about others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use skiff_informer::ObjectKey;
use skiff_quantity::Needed;

use crate::model::{HostPort, NodeInfo, PodInfo, Resources};

/// What a pod without a request is taken to use, for scoring only: millicores and bytes.
const GUESSED: Shares = Shares { cpu: 100, memory: 200 * 1024 * 1024 };

/// CPU in millicores and memory in bytes, as scores weigh them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    pub cpu: i64,
    pub memory: i64,
}

impl Shares {
    /// What a pod counts with, a guess where it says nothing.
    pub(crate) fn of(pod: &PodInfo) -> Self {
        let or_guess = |amount: i64, guess: i64| if amount > 0 { amount } else { guess };
        Self {
            cpu: or_guess(pod.requests.get("cpu"), GUESSED.cpu),
            memory: or_guess(pod.requests.get("memory"), GUESSED.memory),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        let (cpu, memory) = (self.cpu.saturating_add(other.cpu), self.memory.saturating_add(other.memory));
        Self { cpu, memory }
    }

    fn minus(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(other.cpu), memory: self.memory.saturating_sub(other.memory) }
    }
}

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
        self.weighed = self.weighed.plus(Shares::of(&pod));
        self.host_ports.extend(pod.host_ports.iter().cloned());
        self.pods.insert(key, pod);
    }

    /// Takes a pod out, if it is there.
    pub(crate) fn remove(&mut self, key: &ObjectKey) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(key)?;
        self.requested.subtract(&pod.requests);
        self.weighed = self.weighed.minus(Shares::of(&pod));
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
    /// Names of nodes with a pod that has rules about other pods, and how many.
    with_rules: BTreeMap<String, usize>,
    /// On how many nodes an image is.
    images: HashMap<String, usize>,
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
        node.info = info.clone();
        if images_changed {
            self.count_images(&info.name, true);
        }
        new
    }

    pub(crate) fn forget(&mut self, name: &str) {
        self.count_images(name, false);
        self.by_name.remove(name);
        self.with_rules.remove(name);
    }

    fn count_images(&mut self, name: &str, there: bool) {
        let Some(node) = self.by_name.get(name) else { return };
        for image in node.info.images.keys() {
            let count = self.images.entry(image.clone()).or_default();
            *count = if there { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.images.remove(image);
            }
        }
    }

    /// Counts a pod in, if the node is known.
    pub(crate) fn put(&mut self, name: &str, key: &ObjectKey, pod: &Arc<PodInfo>) {
        let Some(node) = self.by_name.get_mut(name) else { return };
        node.add(key.clone(), pod.clone());
        if pod.affinities.is_some() {
            *self.with_rules.entry(name.to_owned()).or_default() += 1;
        }
    }

    /// Takes a pod out, if it is there.
    pub(crate) fn take(&mut self, name: &str, key: &ObjectKey) {
        let Some(pod) = self.by_name.get_mut(name).and_then(|node| node.remove(key)) else { return };
        if pod.affinities.is_some()
            && let Some(count) = self.with_rules.get_mut(name)
        {
            *count -= 1;
            if *count == 0 {
                self.with_rules.remove(name);
            }
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

    /// The nodes with a pod that has rules about other pods.
    pub(crate) fn with_rules(&self) -> impl Iterator<Item = &NodeState> {
        self.with_rules.keys().filter_map(|name| self.by_name.get(name))
    }

    /// On how many nodes the image of this name is.
    pub(crate) fn holding(&self, image: &str) -> usize {
        self.images.get(image).copied().unwrap_or(0)
    }
}
