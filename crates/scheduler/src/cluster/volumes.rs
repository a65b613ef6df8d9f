//! How claims, volumes and what belongs to them change what is decided.

use std::sync::Arc;

use skiff_informer::ObjectKey;
use skiff_volumes::{Claim, Volume};

use super::Cluster;
use crate::model::{Pending, PodInfo};
use crate::rules::Rule;
use crate::rules::volumes::Facts;
use crate::storage::{Attachment, Capacity, Class, Driver, Limits, Reserved, Written};

/// Changes that could help a pod which cannot have its volumes.
const VOLUMES_CHANGED: &[Rule] = &[Rule::Volumes];
const DISKS_LEFT: &[Rule] = &[Rule::Disks];
const BOTH_CHANGED: &[Rule] = &[Rule::Volumes, Rule::Disks];

impl Cluster {
    /// Takes in a claim, or its end. Returns pods that might fit now.
    pub(crate) fn set_claim(&mut self, key: &ObjectKey, claim: Option<&Arc<Claim>>) -> Vec<ObjectKey> {
        if !self.picture.storage.set_claim(key, claim) {
            return Vec::new();
        }
        let seekers = self.picture.storage.seekers.of(key);
        self.waiting.reconsider_those(BOTH_CHANGED, |pod| seekers.contains(pod))
    }

    /// Takes in a volume, or its end. Returns pods that might fit now.
    pub(crate) fn set_volume(&mut self, name: &str, volume: Option<&Arc<Volume>>) -> Vec<ObjectKey> {
        let helps = self.picture.storage.set_volume(name, volume);
        if helps { self.waiting.reconsider(VOLUMES_CHANGED) } else { Vec::new() }
    }

    /// Takes in a class of storage, or its end. Returns pods that might fit now.
    pub(crate) fn set_class(&mut self, name: &str, class: Option<&Arc<Class>>) -> Vec<ObjectKey> {
        let helps = self.picture.storage.set_class(name, class);
        if helps { self.waiting.reconsider(VOLUMES_CHANGED) } else { Vec::new() }
    }

    /// Takes in a CSI driver, or its end. Returns pods that might fit now.
    pub(crate) fn set_driver(&mut self, name: &str, driver: Option<&Arc<Driver>>) -> Vec<ObjectKey> {
        let helps = self.picture.storage.set_driver(name, driver);
        if helps { self.waiting.reconsider(VOLUMES_CHANGED) } else { Vec::new() }
    }

    /// Takes in how much room a driver has. Returns pods that might fit now.
    pub(crate) fn set_capacity(
        &mut self,
        key: &ObjectKey,
        capacity: Option<&Arc<Capacity>>,
    ) -> Vec<ObjectKey> {
        let helps = self.picture.storage.set_capacity(key, capacity);
        if helps { self.waiting.reconsider(VOLUMES_CHANGED) } else { Vec::new() }
    }

    /// Takes in how many volumes a node takes. Returns pods that might fit now.
    pub(crate) fn set_limits(&mut self, node: &str, limits: Option<&Arc<Limits>>) -> Vec<ObjectKey> {
        let helps = self.picture.storage.set_limits(node, limits);
        if helps { self.waiting.reconsider(BOTH_CHANGED) } else { Vec::new() }
    }

    /// Takes in that a volume is attached to a node, or no more. Returns pods that might fit now.
    pub(crate) fn set_attachment(
        &mut self,
        name: &str,
        attachment: Option<&Arc<Attachment>>,
    ) -> Vec<ObjectKey> {
        let helps = self.picture.storage.set_attachment(name, attachment);
        if helps { self.waiting.reconsider(DISKS_LEFT) } else { Vec::new() }
    }

    /// Lets what the pod's claims get on the node count at once. `None` if all are bound.
    pub(super) fn reserve(&mut self, pod: &PodInfo, pending: &Pending, node: &str) -> Option<Reserved> {
        pod.volumes.as_ref()?;
        let state = self.picture.nodes.get(node)?;
        let choice = Facts::gather(pod, &pending.profile, &self.picture.storage).ok()?.choice(state);
        self.picture.storage.reserve(choice, node, pending.profile.arguments.bind_timeout)
    }

    /// Takes back what was reserved and has not been written.
    pub(crate) fn release(&mut self, reserved: &Reserved) {
        self.picture.storage.release(reserved);
    }

    /// Whether everything that was reserved is bound; an error, in Kubernetes' words, if it never will be.
    pub(crate) fn is_bound(&self, reserved: &Reserved, written: &Written) -> Result<bool, String> {
        let node = self.picture.nodes.get(&reserved.node).map(|node| &node.info);
        self.picture.storage.is_bound(reserved, written, node)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;
    use crate::configuration::Configuration;
    use crate::model::NodeInfo;

    #[test]
    fn a_profile_says_how_long_a_pod_waits_for_its_volumes() {
        let args = json!([{"name": "VolumeBinding", "args": {"bindTimeoutSeconds": 5}}]);
        let configuration = Configuration::read(&json!({"profiles": [{"pluginConfig": args}]})).unwrap();
        let mut cluster = Cluster::default();
        let node = json!({"metadata": {"name": "n"}, "status": {"allocatable": {"pods": "10"}}});
        cluster.set_node(&NodeInfo::of(&serde_json::from_value(node).unwrap()));
        let class = json!({"provisioner": "x.io/p", "volumeBindingMode": "WaitForFirstConsumer"});
        cluster.set_class("s", Some(&Arc::new(Class::of(&serde_json::from_value(class).unwrap()))));
        let key = ObjectKey::new("ns", "c");
        let claim = json!({"metadata": {"namespace": "ns", "name": "c"}, "spec": {"storageClassName": "s"}});
        cluster.set_claim(&key, Some(&Arc::new(Claim::of(&serde_json::from_value(claim).unwrap()))));
        let pod = json!({"metadata": {"namespace": "ns", "name": "p"}, "spec": {"containers": [], "volumes": [
            {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}});
        let pod = PodInfo::of(&serde_json::from_value(pod).unwrap(), &configuration).map(Arc::new);
        cluster.ask(&ObjectKey::new("ns", "p"), 0);
        let decided = cluster.decide(|_| pod.clone(), Instant::now()).unwrap();
        assert_eq!(decided.reserved.unwrap().patience, Duration::from_secs(5));
    }
}
