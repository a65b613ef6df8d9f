//! Volumes, bound before the pods that wait for them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use skiff_informer::{Cache, ObjectKey, describe};
use skiff_volumes::{Claim, Volume, annotations};
use tokio::sync::Notify;

use crate::cluster::Cluster;
use crate::model::PodInfo;
use crate::storage::{Reserved, Written, key_of, version_of};

/// What became of a pod's volumes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All are bound.
    Bound,
    /// The pod is gone; nobody needs them.
    Unneeded,
    /// They could not be bound, for this reason, in Kubernetes' words.
    Failed(String),
}

/// What writes which volumes belong to which claims, and waits for the binder.
#[derive(Clone)]
pub(crate) struct VolumeHand {
    client: Client,
    cluster: Arc<Mutex<Cluster>>,
    pods: Cache<PodInfo>,
    /// Told of each change of a claim or a volume that `cluster` has taken in, and of each end of a pod.
    changed: Arc<Notify>,
}

impl VolumeHand {
    pub(crate) fn new(
        client: Client,
        cluster: Arc<Mutex<Cluster>>,
        pods: Cache<PodInfo>,
        changed: Arc<Notify>,
    ) -> Self {
        Self { client, cluster, pods, changed }
    }

    /// Writes what was reserved for the pod, and waits until it is bound.
    pub(crate) async fn bind(&self, key: &ObjectKey, pod: &PodInfo, reserved: &Reserved) -> Outcome {
        let written = match self.write(reserved).await {
            Ok(written) => written,
            Err(error) => return Outcome::Failed(describe(&error)),
        };
        let waiting = self.wait(key, pod, reserved, &written);
        match tokio::time::timeout(reserved.patience, waiting).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Failed("binding volumes: context deadline exceeded".to_owned()),
        }
    }

    async fn write(&self, reserved: &Reserved) -> kube::Result<Written> {
        let mut written = Written::default();
        let parameters = PatchParams::default();
        for (promise, claim) in reserved.volumes.iter().zip(&reserved.given) {
            let name = promise.before.name.to_string();
            let mut version = version_of(&promise.before.version);
            if promise.is_new() {
                let patch = Patch::Merge(given(&promise.before, claim));
                let api = Api::<PersistentVolume>::all(self.client.clone());
                let stored = api.patch(&name, &parameters, &patch).await?;
                version = version_of(&stored.resource_version().unwrap_or_default());
            }
            written.volumes.push((name, version));
        }
        for promise in &reserved.claims {
            let (claim, key) = (&promise.before, key_of(&promise.before));
            let mut version = version_of(&claim.version);
            if promise.is_new() {
                let patch = Patch::Merge(selected(claim, &reserved.node));
                let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), key.namespace());
                let stored = api.patch(key.name(), &parameters, &patch).await?;
                version = version_of(&stored.resource_version().unwrap_or_default());
            }
            written.claims.push((key, version));
        }
        Ok(written)
    }

    async fn wait(&self, key: &ObjectKey, pod: &PodInfo, reserved: &Reserved, written: &Written) -> Outcome {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if self.pods.get(key).is_none_or(|now| now.uid != pod.uid) {
                return Outcome::Unneeded;
            }
            let bound = self.cluster.lock().is_bound(reserved, written);
            match bound {
                Ok(true) => return Outcome::Bound,
                Ok(false) => changed.await,
                Err(why) => return Outcome::Failed(format!("binding volumes: {why}")),
            }
        }
    }
}

/// Gives the volume, as it was when that was decided, to the claim.
fn given(volume: &Volume, claim: &Claim) -> Value {
    let mut metadata = json!({"resourceVersion": volume.version});
    if !skiff_volumes::is_promised(volume, claim) {
        metadata["annotations"] = json!({annotations::BOUND_BY_CONTROLLER: "yes"});
    }
    json!({"metadata": metadata, "spec": {"claimRef": {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.namespace, "name": claim.name,
        "uid": claim.uid, "resourceVersion": claim.version,
    }}})
}

/// Asks for a volume for the claim, as it was when that was decided, on the node.
fn selected(claim: &Claim, node: &str) -> Value {
    json!({"metadata": {"resourceVersion": claim.version, "annotations": {annotations::SELECTED_NODE: node}}})
}
