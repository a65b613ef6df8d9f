//! Watches over the node agents: one that is silent for too long has its node marked unknown and tainted, and the
//! node's pods not ready. Taints that follow from a node's conditions are kept in step.

use std::collections::HashMap;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde_json::json;
use skiff_informer::{EventType, Next, ObjectKey, Recorder, is_not_found};
use tokio::time::Instant;

use crate::environment::{Controller, Environment};
use crate::informers::{Informers, NODE_LEASES};
use crate::pods::KnownPod;

mod plan;

pub(crate) use plan::{NOT_READY, UNREACHABLE};

const NAME: &str = "node-controller";
/// How long an agent may be silent.
const GRACE: Duration = Duration::from_secs(50);

/// A node, or a pod of it, that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {object}")]
struct Error {
    action: &'static str,
    object: ObjectKey,
    source: kube::Error,
}

/// The last sign of life of an agent, and when it came by our own clock: clocks of machines differ.
struct Heard {
    node: ObjectReference,
    lease: Option<MicroTime>,
    heartbeat: Option<Time>,
    at: Instant,
}

struct Lifecycle {
    client: Client,
    informers: Informers,
    recorder: Recorder,
    heard: Mutex<HashMap<ObjectKey, Heard>>,
}

/// Subscribes to nodes and leases and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("nodelifecycle");
    let wake = queue.clone();
    informers.nodes.subscribe(move |change| wake.add(change.key.clone()));
    let wake = queue.clone();
    informers.leases.subscribe(move |change| wake.add(ObjectKey::cluster(change.key.name())));
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), NAME, "");
    let lifecycle = Lifecycle { client, informers: informers.clone(), recorder, heard: Mutex::default() };
    environment.reconciler(
        queue,
        &[&informers.nodes, &informers.leases, &informers.pods],
        8,
        lifecycle,
        |lifecycle, key| lifecycle.reconcile(key).boxed(),
    )
}

impl Lifecycle {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(node) = self.informers.nodes.get(&key) else {
            let heard = self.heard.lock().remove(&key);
            if let Some(heard) = heard {
                self.tell(heard.node, "RemovingNode", format!("Removing Node {key} from Controller"));
            }
            return Ok(Next::Done);
        };
        let silence = self.listen(&key, &node);
        let left = GRACE.saturating_sub(silence);
        if left.is_zero() {
            self.mark_unknown(&key, &node).await?;
        }
        if let Some(taints) = plan::taints(&node, Timestamp::now()) {
            let change =
                json!({"spec": {"taints": taints}, "metadata": {"resourceVersion": node.resource_version()}});
            let nodes = Api::<Node>::all(self.client.clone());
            let patched = nodes.patch(key.name(), &PatchParams::default(), &Patch::Merge(change)).await;
            finish("taint node", &key, patched.map(drop))?;
        }
        // A silent node is looked at again when it speaks.
        Ok(if left.is_zero() { Next::Done } else { Next::After(left) })
    }

    /// Records signs of life; returns for how long there were none.
    fn listen(&self, key: &ObjectKey, node: &Node) -> Duration {
        let lease = self.informers.leases.get(&ObjectKey::new(NODE_LEASES, key.name()));
        let lease = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.clone());
        let heartbeat = plan::condition(node, "Ready")
            .filter(|ready| ready.status != "Unknown")
            .and_then(|ready| ready.last_heartbeat_time.clone());
        let mut heard = self.heard.lock();
        let now = Instant::now();
        let entry = heard.entry(key.clone()).or_insert_with(|| {
            let node = node.object_ref(&());
            self.tell(node.clone(), "RegisteredNode", format!("Registered Node {key} in Controller"));
            Heard { node, lease: None, heartbeat: None, at: now }
        });
        let renewed = lease.is_some() && lease != entry.lease;
        let posted = heartbeat.is_some() && heartbeat != entry.heartbeat;
        if renewed || posted {
            entry.lease = lease.or(entry.lease.take());
            entry.heartbeat = heartbeat.or(entry.heartbeat.take());
            entry.at = now;
        }
        entry.at.elapsed()
    }

    fn tell(&self, node: ObjectReference, reason: &'static str, what: String) {
        let message = format!("Node {} event: {what}", node.name.as_deref().unwrap_or_default());
        self.recorder.event(node, EventType::Normal, reason, message);
    }

    async fn mark_unknown(&self, key: &ObjectKey, node: &Node) -> Result<(), Error> {
        let conditions = plan::unknown_conditions(node, Timestamp::now());
        if !conditions.is_empty() {
            let patch = Patch::Strategic(json!({"status": {"conditions": conditions}}));
            let nodes = Api::<Node>::all(self.client.clone());
            let patched = nodes.patch_status(key.name(), &PatchParams::default(), &patch).await;
            finish("report the silence of node", key, patched.map(drop))?;
            let message = format!("Node {key} status is now: NodeNotReady");
            self.recorder.event(node.object_ref(&()), EventType::Normal, "NodeNotReady", message);
        }
        for pod in self.informers.pods_by_node.get(&key.name().to_owned()) {
            if pod.is_ready() {
                self.mark_pod_not_ready(&pod).await?;
            }
        }
        Ok(())
    }

    /// Takes a pod out of service: nobody knows whether it still serves.
    async fn mark_pod_not_ready(&self, pod: &KnownPod) -> Result<(), Error> {
        let key = pod.key();
        let condition = json!({
            "type": "Ready", "status": "False", "lastTransitionTime": Time(Timestamp::now()),
        });
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
        let pods = Api::<Pod>::namespaced(self.client.clone(), key.namespace());
        let patched = pods.patch_status(key.name(), &PatchParams::default(), &Patch::Strategic(patch)).await;
        finish("mark not ready pod", key, patched.map(drop))?;
        self.recorder.event(pod.reference(), EventType::Warning, "NodeNotReady", "Node is not ready".into());
        Ok(())
    }
}

/// An object that is gone needs no change.
fn finish(action: &'static str, object: &ObjectKey, result: kube::Result<()>) -> Result<(), Error> {
    match result {
        Err(source) if !is_not_found(&source) => Err(Error { action, object: object.clone(), source }),
        _ => Ok(()),
    }
}
