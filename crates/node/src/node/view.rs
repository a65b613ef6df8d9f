//! What the agent knows of its own Node object, by which it admits pods: followed by a watch, and read afresh before a
//! pod is refused.
//!
//! A pod may be bound by what the scheduler saw a moment ago (a new label, say), before the agent's watch has shown it.
//! A read that begins after the bound pod was seen answers a state at least as new as the one it was bound by.

use crate::quantity::Amounts;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, NodeStatus, Taint};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt};
use parking_lot::RwLock;
use serde_json::{Map, Value, json};
use skiff_informer::{Revision, watch_objects};
use skiff_ordered::Ordered as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a fresh read may take, tries included; then what the watch showed last has to do.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// The pause between tries of one read.
const READ_PAUSE: Duration = Duration::from_millis(250);

/// The part of a Node that decides which pods it takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeFacts {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<Taint>,
    /// What pods may use in all; a resource that is absent has no limit.
    pub(crate) allocatable: Amounts,
}

impl NodeFacts {
    fn of(node: &Node) -> Self {
        Self {
            name: node.name_any(),
            labels: node.labels().clone(),
            taints: node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default(),
            allocatable: node.status.as_ref().and_then(|s| s.allocatable.clone()).unwrap_or_default(),
        }
    }
}

/// The agent's own Node as it was seen last.
pub(crate) struct NodeView {
    api: Api<Node>,
    name: String,
    seen: RwLock<(Revision, Arc<NodeFacts>)>,
}

impl NodeView {
    /// Begins with `node` as the registration left it.
    pub(crate) fn new(client: Client, node: &Node) -> Self {
        let seen = (Revision::of(&node.metadata), Arc::new(NodeFacts::of(node)));
        Self { api: Api::all(client), name: node.name_any(), seen: RwLock::new(seen) }
    }

    /// The facts seen last.
    pub(crate) fn current(&self) -> Arc<NodeFacts> {
        self.seen.read().1.clone()
    }

    /// Keeps the facts current until `shutdown`.
    pub(crate) async fn follow(&self, shutdown: CancellationToken) {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let nodes = watch_objects::<Node>(Api::all(self.api.clone().into_client()), config).applied_objects();
        let mut nodes = std::pin::pin!(nodes);
        while let Some(Some(node)) = shutdown.run_until_cancelled(nodes.next()).await {
            match node {
                Ok(node) => {
                    if let Some(node) = node.readable() {
                        self.take(&node);
                        self.offer(&node).await;
                    }
                }
                Err(error) => tracing::debug!(%error, "watching the own node, will try again"),
            }
        }
    }

    /// Offers to pods what others say that the node has of resources which the agent does not know.
    async fn offer(&self, node: &Node) {
        let Some(allocatable) = node.status.as_ref().and_then(unoffered) else { return };
        let patch = Patch::Strategic(json!({"status": {"allocatable": allocatable}}));
        if let Err(error) = self.api.patch_status(&self.name, &PatchParams::default(), &patch).await {
            tracing::warn!(%error, "offering extended resources, will try again when the Node changes");
        }
    }

    /// The facts at a moment after the call.
    pub(crate) async fn read(&self) -> Arc<NodeFacts> {
        let reading = async {
            loop {
                match self.api.get(&self.name).await {
                    Ok(node) => return self.take(&node),
                    Err(error) => tracing::debug!(%error, "reading the own node, will try again"),
                }
                tokio::time::sleep(READ_PAUSE).await;
            }
        };
        if tokio::time::timeout(READ_LIMIT, reading).await.is_err() {
            tracing::warn!(node = self.name, "the own node could not be read");
        }
        self.current()
    }

    /// Takes a state in unless a newer one was seen.
    fn take(&self, node: &Node) {
        let revision = Revision::of(&node.metadata);
        let mut seen = self.seen.write();
        if revision >= seen.0 {
            *seen = (revision, Arc::new(NodeFacts::of(node)));
        }
    }
}

/// What has to change in `allocatable` so that it says of extended resources what the capacity does, as the kubelet sees to.
fn unoffered(status: &NodeStatus) -> Option<Map<String, Value>> {
    let extended = |list: &Option<Amounts>| {
        let all = list.clone().unwrap_or_default();
        all.into_iter().filter(|(name, _)| name.contains('/')).to_map()
    };
    let (capacity, allocatable) = (extended(&status.capacity), extended(&status.allocatable));
    let gone = allocatable.keys().filter(|name| !capacity.contains_key(*name));
    let mut changes: Map<String, Value> = gone.map(|name| (name.clone(), Value::Null)).one_by_one();
    for (name, amount) in &capacity {
        if allocatable.get(name) != Some(amount) {
            changes.insert(name.clone(), json!(amount));
        }
    }
    (!changes.is_empty()).then_some(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_resources_are_offered_as_they_are_there() {
        let changes = |capacity: Value, allocatable: Value| {
            let status = json!({"capacity": capacity, "allocatable": allocatable});
            unoffered(&serde_json::from_value(status).unwrap()).map(Value::Object)
        };
        assert_eq!(changes(json!({"cpu": "2"}), json!({"cpu": "1"})), None, "the agent's own");
        assert_eq!(changes(json!({"a.b/c": "5"}), json!({})), Some(json!({"a.b/c": "5"})));
        assert_eq!(changes(json!({"a.b/c": "5"}), json!({"a.b/c": "5"})), None);
        assert_eq!(changes(json!({}), json!({"a.b/c": "5"})), Some(json!({"a.b/c": null})));
    }
}
