//! Decisions without an API, for measurements: what a scheduler decides of which every decision is carried out at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use skiff_informer::ObjectKey;
use skiff_machinery::selector::LabelSelector;
use skiff_volumes::{Claim, Volume};

use crate::cluster::Cluster;
use crate::configuration::Configuration;
use crate::model::{NodeInfo, OwnerKind, PodInfo};
use crate::schedule::Decision;

/// Nodes, and pods that wait for one.
#[derive(Default)]
pub struct Simulation {
    configuration: Configuration,
    cluster: Cluster,
    waiting: HashMap<ObjectKey, Arc<PodInfo>>,
}

impl Simulation {
    /// Nothing yet; decides as `configuration` says.
    pub fn new(configuration: Configuration) -> Self {
        Self { cluster: Cluster::new(configuration.backoff()), configuration, waiting: HashMap::new() }
    }

    /// Takes in a node.
    pub fn node(&mut self, node: &Node) {
        self.cluster.set_node(&NodeInfo::of(node));
    }

    /// Takes in what makes pods.
    pub fn replica_set(&mut self, set: &ReplicaSet) {
        let selector = set.spec.as_ref().and_then(|spec| LabelSelector::try_from(&spec.selector).ok());
        let key = ObjectKey::new(&set.namespace().unwrap_or_default(), &set.name_any());
        self.cluster.set_owner(OwnerKind::ReplicaSet, &key, selector.as_ref());
    }

    /// Takes in a claim.
    pub fn claim(&mut self, claim: &PersistentVolumeClaim) {
        let key = ObjectKey::new(&claim.namespace().unwrap_or_default(), &claim.name_any());
        self.cluster.set_claim(&key, Some(&Arc::new(Claim::of(claim))));
    }

    /// Takes in a volume.
    pub fn volume(&mut self, volume: &PersistentVolume) {
        self.cluster.set_volume(&volume.name_any(), Some(&Arc::new(Volume::of(volume))));
    }

    /// Takes in a pod without a node.
    pub fn pod(&mut self, pod: &Pod) {
        let Some(info) = PodInfo::of(pod, &self.configuration).map(Arc::new) else { return };
        let key = ObjectKey::new(&pod.namespace().unwrap_or_default(), &pod.name_any());
        self.cluster.ask(&key, info.priority);
        self.waiting.insert(key, info);
    }

    /// Decides about the pod that is next, and says whether it got a node; `None` when nobody waits.
    pub fn decide(&mut self) -> Option<bool> {
        let decided = self.cluster.decide(|key| self.waiting.get(key).cloned(), Instant::now())?;
        Some(matches!(decided.decision, Decision::Bind(_)))
    }
}
