//! Gives each node its share of the cluster's pod range, in `spec.podCIDR`.

use std::collections::HashMap;

use futures::FutureExt as _;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde_json::json;
use skiff_informer::{EventType, Next, ObjectKey, Recorder, is_not_found};
use skiff_machinery::addresses;

use crate::ControllersError;
use crate::environment::{Controller, Environment};
use crate::informers::Informers;

const NAME: &str = "node-controller";

/// A node that could not be given a range.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot give node {node} the pod range {range}")]
    Api { node: ObjectKey, range: IpNet, source: kube::Error },
    #[error("no pod range of length /{prefix} is left in {cluster} for node {node}")]
    Exhausted { node: ObjectKey, cluster: IpNet, prefix: u8 },
}

struct NodeIpam {
    client: Client,
    informers: Informers,
    recorder: Recorder,
    cluster: IpNet,
    prefix: u8,
    /// Given out, by node; the cache may not show it yet.
    given: Mutex<HashMap<ObjectKey, IpNet>>,
}

/// Subscribes to nodes and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Result<Controller, ControllersError> {
    let informers = &environment.informers;
    let (cluster, prefix) = (environment.config.pod_cidr, environment.config.node_prefix);
    cluster.subnets(prefix).map_err(|_| ControllersError::PodCidr { cidr: cluster, node_prefix: prefix })?;
    let queue = environment.vitals.queue("nodeipam");
    let wake = queue.clone();
    informers.nodes.subscribe(move |change| {
        if change.new.is_none_or(|node| range_of(node).is_none()) {
            wake.add(change.key.clone());
        }
    });
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), "cidrAllocator", "");
    let ipam =
        NodeIpam { client, informers: informers.clone(), recorder, cluster, prefix, given: Mutex::default() };
    // One at a time: two nodes must not be given the same range.
    Ok(environment.reconciler(queue, &[&informers.nodes], 1, ipam, |ipam, key| ipam.reconcile(key).boxed()))
}

fn range_of(node: &Node) -> Option<&str> {
    node.spec.as_ref()?.pod_cidr.as_deref().filter(|range| !range.is_empty())
}

/// The lowest part of `cluster` that meets none of `used`.
fn free_part(cluster: IpNet, prefix: u8, used: &[IpNet]) -> Option<IpNet> {
    let overlap = |one: &IpNet, other: &IpNet| one.contains(other) || other.contains(one);
    cluster.subnets(prefix).ok()?.find(|part| !used.iter().any(|range| overlap(range, part)))
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

    fn choose(&self, key: &ObjectKey) -> Option<IpNet> {
        let mut given = self.given.lock();
        if let Some(range) = given.get(key) {
            return Some(*range);
        }
        let nodes = self.informers.nodes.all();
        let others = nodes.iter().filter(|node| node.name_any() != key.name());
        let mut used: Vec<IpNet> = others.filter_map(|node| addresses::cidr(range_of(node)?).ok()).collect();
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
        let check = |cluster: &str, prefix: u8, used: &[&str]| {
            let used: Vec<IpNet> = used.iter().map(|range| addresses::cidr(range).unwrap()).collect();
            free_part(addresses::cidr(cluster).unwrap(), prefix, &used).map(|range| range.to_string())
        };
        let of_four = |used: &[&str]| check("10.244.0.0/22", 24, used);
        assert_eq!(of_four(&[]).as_deref(), Some("10.244.0.0/24"));
        assert_eq!(of_four(&["10.244.0.0/24", "10.244.2.0/24"]).as_deref(), Some("10.244.1.0/24"));
        assert_eq!(of_four(&["10.244.0.7/23"]).as_deref(), Some("10.244.2.0/24"));
        assert_eq!(of_four(&["10.244.0.0/16"]), None);
        assert_eq!(check("10.244.7.9/16", 24, &[]).as_deref(), Some("10.244.0.0/24"));
        assert_eq!(check("fd00::/48", 64, &["fd00::/64"]).as_deref(), Some("fd00:0:0:1::/64"));
        assert_eq!(check("10.244.0.0/22", 20, &[]), None);
        assert_eq!(check("10.244.0.0/22", 33, &[]), None);
    }
}
