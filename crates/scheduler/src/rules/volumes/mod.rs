//! Rules about volumes: whether a node can give a pod those that it claims, and the disks that it mounts.

mod binding;
mod limits;
#[cfg(test)]
mod tests;
mod zones;

use std::sync::Arc;

use skiff_volumes::{Claim, Volume};

use super::{Refusal, Rule};
use crate::model::{PodInfo, PodVolumes};
use crate::nodes::NodeState;
use crate::storage::Storage;

pub(crate) use binding::{Choice, reaches};

/// The mode of a claim that one pod alone may have.
const EXCLUSIVE: &str = "ReadWriteOncePod";

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
    /// Looks at the pod's claims; fails, in Kubernetes' words, if no node will do.
    pub(crate) fn gather(pod: &'a PodInfo, storage: &'a Storage) -> Result<Self, String> {
        let Some(volumes) = pod.volumes.as_deref() else { return Ok(Self::default()) };
        let claims = usable(pod, volumes, storage)?;
        let is_exclusive = |claim: &Claim| claim.modes.iter().any(|mode| &**mode == EXCLUSIVE);
        let in_use =
            volumes.claims.iter().zip(&claims).filter(|(named, claim)| {
                !named.is_own && is_exclusive(claim) && storage.users(&named.key) > 0
            });
        let in_use = i64::try_from(in_use.count()).unwrap_or(i64::MAX);
        let (mut bound, mut open, mut is_missing, mut zones) = (Vec::new(), Vec::new(), false, Vec::new());
        for (named, claim) in volumes.claims.iter().zip(claims) {
            if !claim.is_bound() {
                open.push(claim);
                continue;
            }
            match storage.volume(&claim.volume) {
                Some(volume) => {
                    if !named.is_own {
                        zones.extend(zones::of(volume));
                    }
                    bound.push(volume.clone());
                }
                None if named.is_own => is_missing = true,
                None => return Err(format!("persistentvolume \"{}\" not found", claim.volume)),
            }
        }
        open.sort_by_key(|claim| claim.size);
        let attached = limits::of(volumes, storage);
        let of_pod = OfPod { volumes, storage, bound, is_missing, open, zones, attached };
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

impl OfPod<'_> {
    /// Whether it is one of the pod's claims that no other pod may have.
    fn has_alone(&self, claim: &crate::model::Claimed) -> bool {
        let is_ours = self.volumes.claims.iter().any(|ours| !ours.is_own && ours.key == claim.key);
        let modes = |claim: &Arc<Claim>| claim.modes.iter().any(|mode| &**mode == EXCLUSIVE);
        is_ours && self.storage.claim(&claim.key).is_some_and(modes)
    }
}

/// The pod's claims, if all are there and none is lost, goes, is another pod's, or waits for the binder.
fn usable(pod: &PodInfo, volumes: &PodVolumes, storage: &Storage) -> Result<Vec<Arc<Claim>>, String> {
    let missing = |name: &str| Err(format!("persistentvolumeclaim \"{name}\" not found"));
    let unknown = volumes.claims.iter().find(|one| !one.is_own && storage.claim(&one.key).is_none());
    if let Some(unknown) = unknown {
        return missing(unknown.key.name());
    }
    let mut claims = Vec::new();
    for named in &volumes.claims {
        let name = named.key.name();
        let Some(claim) = storage.claim(&named.key) else {
            return Err(format!(
                "waiting for ephemeral volume controller to create the persistentvolumeclaim \"{name}\""
            ));
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
