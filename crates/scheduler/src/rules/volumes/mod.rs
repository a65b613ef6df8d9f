//! Rules about volumes: whether a node can give a pod those that it claims, and the disks that it mounts.

mod binding;
mod limits;
#[cfg(test)]
mod tests;
mod zones;

use std::sync::Arc;

use skiff_volumes::{Claim, Volume};

use super::{Refusal, Rule};
use crate::configuration::{Plugin, Profile};
use crate::model::{Claimed, PodInfo, PodVolumes};
use crate::nodes::NodeState;
use crate::storage::Storage;

pub(crate) use binding::{Choice, reaches};

/// The mode of a claim that one pod alone may have.
const EXCLUSIVE: &str = "ReadWriteOncePod";

/// Why no node will do for a pod, whatever is on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hopeless {
    /// The plugin that says so.
    pub by: Plugin,
    /// Kubernetes' words.
    pub why: String,
}

/// What is known of a pod's volumes whatever the node.
#[derive(Clone, Default)]
pub(crate) struct Facts<'a> {
    /// None if every node can give the pod its volumes.
    of_pod: Option<Arc<OfPod<'a>>>,
    /// How often claims that the pod must have for itself alone are used on nodes.
    in_use: i64,
}

struct OfPod<'a> {
    volumes: &'a PodVolumes,
    storage: &'a Storage,
    /// The volumes of claims that are bound.
    bound: Vec<Arc<Volume>>,
    /// Whether a volume that a claim is bound to is not there.
    is_missing: bool,
    /// Claims that get a volume with a node, the smallest first.
    open: Vec<Arc<Claim>>,
    zones: Vec<zones::Zone>,
    /// The pod's volumes of CSI drivers.
    attached: limits::Attached,
}

impl<'a> Facts<'a> {
    /// Looks at the pod's volumes as the profile's plugins do before any node is looked at.
    pub(crate) fn gather(
        pod: &'a PodInfo,
        profile: &Profile,
        storage: &'a Storage,
    ) -> Result<Self, Hopeless> {
        let Some(volumes) = pod.volumes.as_deref() else { return Ok(Self::default()) };
        let (mut of_pod, mut in_use) = (OfPod::new(volumes, storage), 0);
        for plugin in &profile.pre_filters {
            let looked = match plugin {
                Plugin::VolumeRestrictions => of_pod.uses().map(|uses| in_use = uses),
                Plugin::VolumeBinding => of_pod.take_claims(pod),
                Plugin::VolumeZone => zones::gather(volumes, storage).map(|zones| of_pod.zones = zones),
                _ => Ok(()),
            };
            looked.map_err(|why| Hopeless { by: *plugin, why })?;
        }
        Ok(Self { of_pod: Some(Arc::new(of_pod)), in_use })
    }

    /// Counts `other`, a pod on a node, `times` more.
    pub(crate) fn count(&mut self, other: &PodInfo, times: i64) {
        let (Some(of_pod), Some(theirs)) = (&self.of_pod, other.volumes.as_deref()) else { return };
        let shared = theirs.claims.iter().filter(|claim| !claim.is_own && of_pod.has_alone(claim));
        let shared = i64::try_from(shared.count()).unwrap_or(i64::MAX);
        self.in_use += times * shared;
    }

    /// Why the pod cannot share what it mounts with the pods of the node, or with those that have its claims.
    pub(crate) fn restricted(&self, node: &NodeState) -> Option<Refusal> {
        let of_pod = self.of_pod.as_ref()?;
        let theirs = || node.pods.values().filter_map(|pod| pod.volumes.as_deref());
        let taken = of_pod
            .volumes
            .disks
            .iter()
            .any(|disk| theirs().any(|volumes| volumes.disks.iter().any(|other| disk.conflicts(other))));
        let reason = if taken {
            "node(s) had no available disk"
        } else if self.in_use > 0 {
            "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
        } else {
            return None;
        };
        Some(Refusal::resolvable(Rule::Disks, reason))
    }

    /// Whether the node has as many volumes of a driver as it can have.
    pub(crate) fn over_limit(&self, node: &NodeState) -> Option<Refusal> {
        let of_pod = self.of_pod.as_ref()?;
        limits::exceeded(of_pod.storage, &of_pod.attached, node)
            .then(|| Refusal::resolvable(Rule::Disks, "node(s) exceed max volume count"))
    }

    /// Why the pod's claims cannot be bound, or mounted, on the node.
    pub(crate) fn unbindable(&self, node: &NodeState) -> Vec<Refusal> {
        let Some(of_pod) = &self.of_pod else { return Vec::new() };
        match of_pod.choose(&node.info) {
            Ok(_) => Vec::new(),
            Err(reasons) => reasons.into_iter().map(|reason| Refusal::firm(Rule::Volumes, reason)).collect(),
        }
    }

    /// What is to be bound for the pod if it goes to the node.
    pub(crate) fn choice(&self, node: &NodeState) -> Choice {
        let chosen = self.of_pod.as_ref().and_then(|of_pod| of_pod.choose(&node.info).ok());
        chosen.unwrap_or_default()
    }

    /// Whether the node is in another zone or region than a volume.
    pub(crate) fn outside(&self, node: &NodeState) -> Option<Refusal> {
        let of_pod = self.of_pod.as_ref()?;
        zones::outside(&of_pod.zones, &node.info.labels)
            .then(|| Refusal::firm(Rule::Volumes, "node(s) had no available volume zone"))
    }
}

impl<'a> OfPod<'a> {
    fn new(volumes: &'a PodVolumes, storage: &'a Storage) -> Self {
        let (bound, open, zones) = (Vec::new(), Vec::new(), Vec::new());
        let attached = limits::of(volumes, storage);
        Self { volumes, storage, bound, is_missing: false, open, zones, attached }
    }

    /// How many claims that the pod must have for itself alone are used by other pods.
    fn uses(&self) -> Result<i64, String> {
        let mut uses = 0;
        for named in self.volumes.claims.iter().filter(|named| !named.is_own) {
            let claim = self.storage.claim(&named.key).ok_or_else(|| missing(named))?;
            uses += i64::from(is_exclusive(claim) && self.storage.users(&named.key) > 0);
        }
        Ok(uses)
    }

    /// Takes up the claims, which are bound or will be with a node.
    fn take_claims(&mut self, pod: &PodInfo) -> Result<(), String> {
        for claim in usable(pod, self.volumes, self.storage)? {
            if !claim.is_bound() {
                self.open.push(claim);
                continue;
            }
            match self.storage.volume(&claim.volume) {
                Some(volume) => self.bound.push(volume.clone()),
                None => self.is_missing = true,
            }
        }
        self.open.sort_by_key(|claim| claim.size);
        Ok(())
    }

    /// Whether it is one of the pod's claims that no other pod may have.
    fn has_alone(&self, claim: &Claimed) -> bool {
        let is_ours = self.volumes.claims.iter().any(|ours| !ours.is_own && ours.key == claim.key);
        is_ours && self.storage.claim(&claim.key).is_some_and(|claim| is_exclusive(claim))
    }
}

fn is_exclusive(claim: &Claim) -> bool {
    claim.modes.iter().any(|mode| &**mode == EXCLUSIVE)
}

fn missing(claim: &Claimed) -> String {
    format!("persistentvolumeclaim \"{}\" not found", claim.key.name())
}

/// The pod's claims, if all are there and none is lost, goes, is another pod's, or waits for the binder.
fn usable(pod: &PodInfo, volumes: &PodVolumes, storage: &Storage) -> Result<Vec<Arc<Claim>>, String> {
    let mut claims = Vec::new();
    for named in &volumes.claims {
        let name = named.key.name();
        let Some(claim) = storage.claim(&named.key) else {
            return Err(match named.is_own {
                true => format!(
                    "waiting for ephemeral volume controller to create the persistentvolumeclaim \"{name}\""
                ),
                false => missing(named),
            });
        };
        if claim.is_lost {
            let volume = &claim.volume;
            return Err(format!(
                "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{volume}\""
            ));
        }
        if claim.is_going {
            return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
        }
        if named.is_own && *claim.controller != *pod.uid {
            let (namespace, pod) = (&pod.namespace, &volumes.pod);
            return Err(format!(
                "PVC {namespace}/{name} was not created for pod {namespace}/{pod} (pod is not owner)"
            ));
        }
        claims.push(claim.clone());
    }
    let waits =
        |claim: &Claim| claim.volume.is_empty() && storage.class(&claim.class).is_some_and(|c| c.waits);
    if claims.iter().any(|claim| !claim.is_bound() && !waits(claim)) {
        return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
    }
    Ok(claims)
}
