//! Gives each node its share of the cluster's pod range, in `spec.podCIDR`.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde_json::json;
use skiff_informer::{EventType, Next, ObjectKey, Recorder, is_not_found};

use crate::ControllersError;
use crate::cidr::Cidr;
use crate::environment::{Controller, Environment};
use crate::informers::Informers;

const NAME: &str = "node-controller";

/// A node that could not be given a range.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot give node {node} the pod range {range}")]
    Api { node: ObjectKey, range: Cidr, source: kube::Error },
    #[error("no pod range of length /{prefix} is left in {cluster} for node {node}")]
    Exhausted { node: ObjectKey, cluster: Cidr, prefix: u8 },
}

struct NodeIpam {
    client: Client,
    informers: Informers,
    recorder: Recorder,
    cluster: Cidr,
    prefix: u8,
    /// Given out, by node; the cache may not show it yet.
    given: Mutex<HashMap<ObjectKey, Cidr>>,
}

/// Subscribes to nodes and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Result<Controller, ControllersError> {
    let (informers, shutdown) = (environment.informers.clone(), environment.shutdown.clone());
    let (text, prefix) = (&environment.config.pod_cidr, environment.config.node_prefix);
    let cluster = text.parse::<Cidr>().ok().filter(|cluster| cluster.parts(prefix).next().is_some());
    let cluster =
        cluster.ok_or_else(|| ControllersError::PodCidr { cidr: text.clone(), node_prefix: prefix })?;
    let queue = environment.vitals.queue("nodeipam");
    let wake = queue.clone();
    informers.nodes.subscribe(move |change| {
        if change.new.is_none_or(|node| range_of(node).is_none()) {
            wake.add(change.key.clone());
        }
    });
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), "cidrAllocator", "");
    let ipam = NodeIpam { client, informers, recorder, cluster, prefix, given: Mutex::default() };
    Ok(Box::pin(async move {
        ipam.informers.nodes.synced().await;
        // One at a time: two nodes must not be given the same range.
        queue.run(1, &shutdown, |key| ipam.reconcile(key)).await;
    }))
}

fn range_of(node: &Node) -> Option<&str> {
    node.spec.as_ref()?.pod_cidr.as_deref().filter(|range| !range.is_empty())
}

/// The lowest part of `cluster` that meets none of `used`.
fn free_part(cluster: Cidr, prefix: u8, used: &[Cidr]) -> Option<Cidr> {
    cluster.parts(prefix).find(|part| !used.iter().any(|range| range.overlaps(*part)))
}

impl NodeIpam {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(node) = self.informers.nodes.get(&key) else {
            self.given.lock().remove(&key);
            return Ok(Next::Done);
        };
        if range_of(&node).is_some() {
            return Ok(Next::Done);
        }
        let Some(range) = self.choose(&key) else {
            let message = format!("Node {key} status is now: CIDRNotAvailable");
            self.recorder.event(node.object_ref(&()), EventType::Normal, "CIDRNotAvailable", message);
            return Err(Error::Exhausted { node: key, cluster: self.cluster, prefix: self.prefix });
        };
        let text = range.to_string();
        let patch = Patch::Strategic(json!({"spec": {"podCIDR": text, "podCIDRs": [text]}}));
        match Api::<Node>::all(self.client.clone()).patch(key.name(), &PatchParams::default(), &patch).await {
            Err(source) if !is_not_found(&source) => Err(Error::Api { node: key, range, source }),
            _ => Ok(Next::Done),
        }
    }

    fn choose(&self, key: &ObjectKey) -> Option<Cidr> {
        let mut given = self.given.lock();
        if let Some(range) = given.get(key) {
            return Some(*range);
        }
        let nodes = self.informers.nodes.all();
        let others = nodes.iter().filter(|node| node.name_any() != key.name());
        let mut used: Vec<Cidr> = others.filter_map(|node| range_of(node)?.parse().ok()).collect();
        used.extend(given.values());
        let range = free_part(self.cluster, self.prefix, &used)?;
        given.insert(key.clone(), range);
        Some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_part_is_chosen() {
        let check = |used: &[&str]| {
            let used: Vec<Cidr> = used.iter().map(|range| range.parse().unwrap()).collect();
            free_part("10.244.0.0/22".parse().unwrap(), 24, &used).map(|range| range.to_string())
        };
        assert_eq!(check(&[]).as_deref(), Some("10.244.0.0/24"));
        assert_eq!(check(&["10.244.0.0/24", "10.244.2.0/24"]).as_deref(), Some("10.244.1.0/24"));
        assert_eq!(check(&["10.244.0.0/23"]).as_deref(), Some("10.244.2.0/24"));
        assert_eq!(check(&["10.244.0.0/16"]), None);
    }
}
