//! Which pods without a node wait for which claims.

use std::collections::{BTreeSet, HashMap};

use skiff_informer::ObjectKey;

use crate::model::PodVolumes;

/// Pods without a node, by the claims among their volumes.
#[derive(Debug, Default)]
pub(crate) struct Seekers {
    of_claim: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    of_pod: HashMap<ObjectKey, Vec<ObjectKey>>,
}

impl Seekers {
    /// Remembers the claims of a pod.
    pub(crate) fn add(&mut self, pod: &ObjectKey, volumes: Option<&PodVolumes>) {
        self.remove(pod);
        let Some(volumes) = volumes.filter(|volumes| !volumes.claims.is_empty()) else { return };
        let claims: Vec<_> = volumes.claims.iter().map(|claim| claim.key.clone()).collect();
        for claim in &claims {
            self.of_claim.entry(claim.clone()).or_default().insert(pod.clone());
        }
        self.of_pod.insert(pod.clone(), claims);
    }

    /// Forgets a pod that is gone, or on a node.
    pub(crate) fn remove(&mut self, pod: &ObjectKey) {
        for claim in self.of_pod.remove(pod).unwrap_or_default() {
            if let Some(pods) = self.of_claim.get_mut(&claim) {
                pods.remove(pod);
                if pods.is_empty() {
                    self.of_claim.remove(&claim);
                }
            }
        }
    }

    /// The pods that have the claim among their volumes.
    pub(crate) fn of(&self, claim: &ObjectKey) -> BTreeSet<ObjectKey> {
        self.of_claim.get(claim).cloned().unwrap_or_default()
    }
}
