//! Removes pods that no node agent will ever remove: of nodes that no longer exist, and those deleted before they were
//! bound.

use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde_json::json;
use skiff_informer::{Next, ObjectKey, is_conflict, is_not_found};
use tracing::info;

use crate::environment::{Controller, Environment};
use crate::informers::Informers;
use crate::pods::KnownPod;

const NAME: &str = "pod-garbage-collector";
/// How long a node must be missing: it may register again.
const QUARANTINE: Duration = Duration::from_secs(40);

/// A pod that could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove pod {pod}")]
struct Error {
    pod: ObjectKey,
    source: kube::Error,
}

struct PodGc {
    client: Client,
    informers: Informers,
}

/// Subscribes to pods and nodes and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("podgc");
    let (wake, nodes) = (queue.clone(), informers.nodes.clone());
    informers.pods.subscribe(move |change| {
        let Some(pod) = change.new else { return };
        match pod.node() {
            None if pod.is_deleting() => wake.add(change.key.clone()),
            Some(node) if nodes.get(&ObjectKey::cluster(node)).is_none() => {
                wake.add_after(change.key.clone(), QUARANTINE);
            }
            _ => {}
        }
    });
    let (wake, caches) = (queue.clone(), informers.clone());
    informers.nodes.subscribe(move |change| {
        if change.new.is_none() {
            let pods = caches.pods_by_node.get(&change.key.name().to_owned());
            pods.iter().for_each(|pod| wake.add_after(pod.key().clone(), QUARANTINE));
        }
    });
    let podgc = PodGc { client: environment.client(NAME), informers: informers.clone() };
    environment.reconciler(queue, &[&informers.pods, &informers.nodes], 8, podgc, |podgc, key| {
        podgc.reconcile(key).boxed()
    })
}

impl PodGc {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(pod) = self.informers.pods.get(&key) else { return Ok(Next::Done) };
        let result = match pod.node() {
            None if pod.is_deleting() => self.remove(&key, &pod).await,
            None => Ok(()),
            Some(node) => self.remove_if_orphan(&key, &pod, node).await,
        };
        match result {
            Err(source) if !is_not_found(&source) && !is_conflict(&source) => Err(Error { pod: key, source }),
            _ => Ok(Next::Done),
        }
    }

    async fn remove_if_orphan(&self, key: &ObjectKey, pod: &KnownPod, node: &str) -> kube::Result<()> {
        let cached = self.informers.nodes.get(&ObjectKey::cluster(node)).is_some();
        if cached || Api::<Node>::all(self.client.clone()).get_metadata_opt(node).await?.is_some() {
            return Ok(());
        }
        info!(pod = %key, node, "removing pod: its node no longer exists");
        if !pod.is_terminal() {
            let condition = json!({
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
                "message": "PodGC: node no longer exists", "lastTransitionTime": Time(Timestamp::now()),
            });
            let status = json!({"phase": "Failed", "conditions": [condition]});
            let patch = Patch::Strategic(json!({"metadata": {"uid": pod.uid()}, "status": status}));
            self.api(key).patch_status(key.name(), &PatchParams::default(), &patch).await?;
        }
        self.remove(key, pod).await
    }

    /// Removes the pod at once: nobody is left to end it gracefully.
    async fn remove(&self, key: &ObjectKey, pod: &KnownPod) -> kube::Result<()> {
        let exactly_this = Preconditions { uid: Some(pod.uid().to_owned()), resource_version: None };
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(exactly_this),
            ..DeleteParams::default()
        };
        self.api(key).delete(key.name(), &params).await.map(drop)
    }

    fn api(&self, key: &ObjectKey) -> Api<Pod> {
        Api::namespaced(self.client.clone(), key.namespace())
    }
}
