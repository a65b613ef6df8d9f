//! Volumes and claims that were decided about for one pod, until the binder has bound them.

use std::sync::Arc;
use std::time::Duration;

use skiff_informer::ObjectKey;
use skiff_volumes::{Claim, Claimant, Volume, is_promised};

use super::{Known, Storage};
use crate::model::NodeInfo;
use crate::rules::volumes::{Choice, reaches};

/// What was decided for one pod, as it is expected to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reserved {
    /// The pod's node.
    pub node: String,
    /// Volumes that are to be given to claims, as they were and as they shall be.
    pub volumes: Vec<Promise<Volume>>,
    /// Claims for which volumes are to be made, as they were and as they shall be.
    pub claims: Vec<Promise<Claim>>,
    /// The claims that get volumes which are there.
    pub given: Vec<Arc<Claim>>,
    /// How long the pod waits for all of that.
    pub patience: Duration,
}

/// An object before and after a decision; both are the same if nothing is to be written.
#[derive(Clone, Debug)]
pub(crate) struct Promise<T> {
    pub before: Arc<T>,
    pub after: Arc<T>,
}

impl<T> Promise<T> {
    /// Whether something is to be written.
    pub(crate) fn is_new(&self) -> bool {
        !Arc::ptr_eq(&self.before, &self.after)
    }
}

/// What was written of a reservation: names with the `resourceVersion` that each object had then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    pub volumes: Vec<(String, u64)>,
    pub claims: Vec<(ObjectKey, u64)>,
}

/// The key of a claim.
pub(crate) fn key_of(claim: &Claim) -> ObjectKey {
    ObjectKey::new(&claim.namespace, &claim.name)
}

/// A `resourceVersion` as a number; 0 if it is none.
pub(crate) fn version_of(version: &str) -> u64 {
    version.parse().unwrap_or(0)
}

impl Storage {
    /// Lets what was chosen for a pod count from now on. `None` if there is nothing to wait for.
    pub(crate) fn reserve(&mut self, choice: Choice, node: &str, patience: Duration) -> Option<Reserved> {
        if choice.is_empty() {
            return None;
        }
        let mut reserved = Reserved { node: node.to_owned(), patience, ..Reserved::default() };
        for (volume, claim) in choice.given {
            let promise = Promise { before: volume.clone(), after: promised(&volume, &claim) };
            assume(self.volumes.get_mut(&*volume.name), &promise);
            reserved.volumes.push(promise);
            reserved.given.push(claim);
        }
        for claim in choice.made {
            let after = match *claim.selected_node == *node {
                true => claim.clone(),
                false => Arc::new(Claim { selected_node: node.into(), ..(*claim).clone() }),
            };
            let promise = Promise { before: claim.clone(), after };
            assume(self.claims.get_mut(&key_of(&claim)), &promise);
            reserved.claims.push(promise);
        }
        Some(reserved)
    }

    /// Takes back what was reserved and has not been seen written.
    pub(crate) fn release(&mut self, reserved: &Reserved) {
        for promise in &reserved.volumes {
            forget(self.volumes.get_mut(&*promise.after.name), promise);
        }
        for promise in &reserved.claims {
            forget(self.claims.get_mut(&key_of(&promise.after)), promise);
        }
    }

    /// Whether everything that was reserved is bound; an error, in Kubernetes' words, if it never will be.
    pub(crate) fn is_bound(
        &self,
        reserved: &Reserved,
        written: &Written,
        node: Option<&NodeInfo>,
    ) -> Result<bool, String> {
        let Some(node) = node else {
            return Err(format!("failed to get node \"{0}\": node \"{0}\" not found", reserved.node));
        };
        for ((name, version), claim) in written.volumes.iter().zip(&reserved.given) {
            if !self.is_given(name, *version, &key_of(claim), node)? {
                return Ok(false);
            }
        }
        for (key, version) in &written.claims {
            if !self.is_made(key, *version, node)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_given(&self, name: &str, version: u64, claim: &ObjectKey, node: &NodeInfo) -> Result<bool, String> {
        let Some(volume) = self.volumes.get(name).map(|known| &known.seen) else {
            return Err(format!("failed to check binding: could not find v1.PersistentVolume \"{name}\""));
        };
        let Some(claim) = self.claims.get(claim).map(|known| &known.seen) else {
            return Err(missing_claim("failed to check binding", claim));
        };
        if version_of(&volume.version) < version {
            return Ok(false);
        }
        check_reach(volume, node)?;
        if volume.claimant.as_ref().is_none_or(|claimant| claimant.uid.is_empty()) {
            return Err(format!("ClaimRef got reset for pv \"{name}\""));
        }
        Ok(claim.is_bound() && claim.is_told)
    }

    fn is_made(&self, key: &ObjectKey, version: u64, node: &NodeInfo) -> Result<bool, String> {
        let Some(claim) = self.claims.get(key).map(|known| &known.seen) else {
            return Err(missing_claim("failed to check provisioning pvc", key));
        };
        if version_of(&claim.version) < version {
            return Ok(false);
        }
        if *claim.selected_node != *node.name {
            return Err(format!("provisioning failed for PVC \"{}\"", claim.name));
        }
        if !claim.volume.is_empty() {
            let Some(volume) = self.volumes.get(&*claim.volume) else { return Ok(false) };
            check_reach(&volume.seen, node)?;
        }
        Ok(claim.is_bound() && claim.is_told)
    }
}

fn missing_claim(what: &str, claim: &ObjectKey) -> String {
    format!("{what}: could not find v1.PersistentVolumeClaim \"{claim}\"")
}

fn check_reach(volume: &Volume, node: &NodeInfo) -> Result<(), String> {
    if reaches(volume, node) {
        return Ok(());
    }
    Err(format!(
        "pv \"{}\" node affinity doesn't match node \"{}\": no matching NodeSelectorTerms",
        volume.name, node.name
    ))
}

/// The volume, for that claim alone.
fn promised(volume: &Arc<Volume>, claim: &Claim) -> Arc<Volume> {
    if is_promised(volume, claim) && volume.claimant.as_ref().is_some_and(|to| to.uid == claim.uid) {
        return volume.clone();
    }
    let claimant =
        Claimant { namespace: claim.namespace.clone(), name: claim.name.clone(), uid: claim.uid.clone() };
    Arc::new(Volume { claimant: Some(claimant), ..(**volume).clone() })
}

fn assume<T>(known: Option<&mut Known<T>>, promise: &Promise<T>) {
    if let Some(known) = known.filter(|_| promise.is_new()) {
        known.assumed = Some(promise.after.clone());
    }
}

fn forget<T>(known: Option<&mut Known<T>>, promise: &Promise<T>) {
    let is_ours = |known: &&mut Known<T>| {
        known.assumed.as_ref().is_some_and(|assumed| Arc::ptr_eq(assumed, &promise.after))
    };
    if let Some(known) = known.filter(is_ours) {
        known.assumed = None;
    }
}
