//! The scheduler: `(Pod, Nodes) → Decision` as a pure function, and the loop that writes Bindings.
//!
//! A decision counts at once, before it is written, so pods are decided one after the other without waiting for the
//! API. A pod that fits nowhere waits for a change that could help (a node, a pod that ends), never for a timer.

mod affinity;
mod cluster;
mod model;
mod schedule;
mod taints;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::{Value, json};
use skiff_informer::{
    Cache, EventType, Next, ObjectKey, Queue, Recorder, Vitals, describe, is_conflict, is_not_found,
};
use tokio_util::sync::CancellationToken;

pub use affinity::required as node_affinity_matches;
use cluster::Cluster;
pub use model::{HostPort, NodeInfo, Pending, PodInfo, Resources};
pub use schedule::{Decision, NodeState, schedule};
pub use taints::tolerated;

/// Bindings written at once.
const WORKERS: usize = 32;

/// A decision that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} pod {pod}")]
struct Error {
    action: &'static str,
    pod: ObjectKey,
    source: kube::Error,
}

struct Scheduler {
    client: Client,
    recorder: Recorder,
    pods: Cache<PodInfo>,
    cluster: Arc<Mutex<Cluster>>,
}

/// Schedules pods of `default-scheduler` until `shutdown`. `client` acts as `system:kube-scheduler`; `vitals` tells how the
/// scheduler is.
pub async fn run(client: Client, vitals: Vitals, shutdown: CancellationToken) {
    let (pods, nodes) = (Cache::<PodInfo>::new(), Cache::<NodeInfo>::new());
    vitals.cache("pods", &pods);
    vitals.cache("nodes", &nodes);
    let (cluster, queue) = (Arc::new(Mutex::new(Cluster::default())), vitals.queue::<ObjectKey>("binding"));
    subscribe_nodes(&nodes, &cluster, &queue);
    subscribe_pods(&pods, &cluster, &queue);
    nodes.watch::<Node>(Api::all(client.clone()), watcher::Config::default(), &shutdown, |node| {
        Some(NodeInfo::of(&node))
    });
    pods.watch::<Pod>(Api::all(client.clone()), watcher::Config::default(), &shutdown, |pod| {
        PodInfo::of(&pod)
    });
    let recorder = Recorder::start(client.clone(), model::SCHEDULER_NAME, "");
    let scheduler = Scheduler { client, recorder, pods, cluster };
    let scheduling = async {
        tokio::join!(nodes.synced(), scheduler.pods.synced());
        queue.run(WORKERS, &shutdown, |pod| scheduler.place(pod)).await;
    };
    shutdown.run_until_cancelled(scheduling).await;
}

fn subscribe_nodes(nodes: &Cache<NodeInfo>, cluster: &Arc<Mutex<Cluster>>, queue: &Queue<ObjectKey>) {
    let (cluster, queue) = (cluster.clone(), queue.clone());
    nodes.subscribe(move |change| {
        let mut cluster = cluster.lock();
        let helps = match change.new {
            Some(node) => cluster.set_node(node),
            None => {
                cluster.remove_node(change.key.name());
                // The reason to report has changed.
                true
            }
        };
        if helps {
            cluster.take_unschedulable().into_iter().for_each(|pod| queue.add(pod));
        }
    });
}

fn subscribe_pods(pods: &Cache<PodInfo>, cluster: &Arc<Mutex<Cluster>>, queue: &Queue<ObjectKey>) {
    let (cluster, queue) = (cluster.clone(), queue.clone());
    pods.subscribe(move |change| {
        let mut cluster = cluster.lock();
        if cluster.set_pod(change.key, change.new) {
            cluster.take_unschedulable().into_iter().for_each(|pod| queue.add(pod));
        }
        let asks = |pod: &Arc<PodInfo>| {
            pod.pending.as_deref().map(|pending| Pending { reported: None, ..pending.clone() })
        };
        let (before, now) = (change.old.and_then(asks), change.new.and_then(asks));
        // Our own report on the pod is no reason to try it again.
        if now.is_some() && before != now {
            queue.add(change.key.clone());
        }
    });
}

impl Scheduler {
    /// Decides for one pod and writes the decision.
    async fn place(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(pod) = self.pods.get(&key) else { return Ok(Next::Done) };
        let Some(pending) = pod.pending.as_deref() else { return Ok(Next::Done) };
        let decision = self.cluster.lock().decide(&key, &pod);
        match decision {
            None => Ok(Next::Done),
            Some(Decision::Bind(node)) => self.bind(key, pending, node).await,
            Some(Decision::Unschedulable(message)) => self.refuse(key, pending, message).await,
        }
    }

    async fn bind(&self, key: ObjectKey, pending: &Pending, node: String) -> Result<Next, Error> {
        let target =
            ObjectReference { kind: Some("Node".into()), name: Some(node.clone()), ..Default::default() };
        let metadata = ObjectMeta {
            name: Some(key.name().into()),
            namespace: Some(key.namespace().into()),
            uid: Some(pending.uid.clone()),
            ..ObjectMeta::default()
        };
        let binding = Binding { metadata, target };
        let pods = self.pods_in(&key);
        let bound: kube::Result<serde_json::Value> =
            pods.create_subresource("binding", key.name(), &PostParams::default(), &binding).await;
        match bound {
            Ok(_) => {
                let message = format!("Successfully assigned {key} to {node}");
                self.recorder.event(reference(&key, pending), EventType::Normal, "Scheduled", message);
                Ok(Next::Done)
            }
            // Gone, or bound by somebody else: the watch will tell.
            Err(error) if is_not_found(&error) || is_conflict(&error) => {
                self.cluster.lock().forget(&key);
                Ok(Next::Done)
            }
            Err(source) => {
                self.cluster.lock().forget(&key);
                let message = format!("binding rejected: {}", describe(&source));
                self.recorder.event(
                    reference(&key, pending),
                    EventType::Warning,
                    "FailedScheduling",
                    message,
                );
                Err(Error { action: "bind", pod: key, source })
            }
        }
    }

    /// Reports why the pod fits nowhere. It is tried again when the cluster changes.
    async fn refuse(&self, key: ObjectKey, pending: &Pending, message: String) -> Result<Next, Error> {
        self.recorder.event(
            reference(&key, pending),
            EventType::Warning,
            "FailedScheduling",
            message.clone(),
        );
        if pending.reported.as_ref() == Some(&message) {
            return Ok(Next::Done);
        }
        let condition = unschedulable(&message, pending.generation, Timestamp::now());
        let patch = Patch::Strategic(json!({
            "metadata": {"uid": pending.uid}, "status": {"conditions": [condition]},
        }));
        match self.pods_in(&key).patch_status(key.name(), &PatchParams::default(), &patch).await {
            Err(source) if !is_not_found(&source) && !is_conflict(&source) => {
                Err(Error { action: "report why nothing fits", pod: key, source })
            }
            _ => Ok(Next::Done),
        }
    }

    fn pods_in(&self, key: &ObjectKey) -> Api<Pod> {
        Api::namespaced(self.client.clone(), key.namespace())
    }
}

/// The condition of a pod that fits nowhere: it says of which generation of the pod that is true.
fn unschedulable(message: &str, generation: Option<i64>, now: Timestamp) -> Value {
    json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        "lastProbeTime": null, "lastTransitionTime": Time(now),
        "observedGeneration": generation,
    })
}

fn reference(key: &ObjectKey, pending: &Pending) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(key.namespace().into()),
        name: Some(key.name().into()),
        uid: Some(pending.uid.clone()),
        ..ObjectReference::default()
    }
}
