//! Gives each node its share of the cluster's pod range, in `spec.podCIDR`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::FutureExt as _;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
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
    /// Kept by the subscription to nodes, and by what is given.
    parts: Arc<Mutex<Parts>>,
}

/// The parts of the cluster's range, and which nodes have them.
struct Parts {
    cluster: IpNet,
    prefix: u8,
    of_node: HashMap<ObjectKey, IpNet>,
    /// The same ranges, each with the number of nodes that have it: more than one after others have meddled.
    taken: BTreeMap<IpNet, usize>,
    /// Below it no part is free.
    next: usize,
}

/// Subscribes to nodes and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Result<Controller, ControllersError> {
    let informers = &environment.informers;
    let (cluster, prefix) = (environment.config.pod_cidr, environment.config.node_prefix);
    cluster.subnets(prefix).map_err(|_| ControllersError::PodCidr { cidr: cluster, node_prefix: prefix })?;
    let queue = environment.vitals.queue("nodeipam");
    let parts = Arc::new(Mutex::new(Parts::new(cluster, prefix)));
    let (wake, seen) = (queue.clone(), parts.clone());
    informers.nodes.subscribe(move |change| match change.new.map(|node| range_of(node)) {
        None => seen.lock().free(change.key),
        Some(None) => wake.add(change.key.clone()),
        Some(Some(range)) => {
            if let Ok(range) = addresses::cidr(range) {
                seen.lock().take(change.key, range);
            }
        }
    });
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), "cidrAllocator", "");
    let ipam = NodeIpam { client, informers: informers.clone(), recorder, parts };
    // One at a time: two nodes must not be given the same range.
    Ok(environment.reconciler(queue, &[&informers.nodes], 1, ipam, |ipam, key| ipam.reconcile(key).boxed()))
}

fn range_of(node: &Node) -> Option<&str> {
    node.spec.as_ref()?.pod_cidr.as_deref().filter(|range| !range.is_empty())
}

impl Parts {
    fn new(cluster: IpNet, prefix: u8) -> Self {
        Self { cluster, prefix, of_node: HashMap::new(), taken: BTreeMap::new(), next: 0 }
    }

    /// Notes that a node has a range.
    fn take(&mut self, node: &ObjectKey, range: IpNet) {
        if self.of_node.get(node) != Some(&range) {
            self.free(node);
            self.of_node.insert(node.clone(), range);
            *self.taken.entry(range.trunc()).or_default() += 1;
        }
    }

    /// Notes that a node has none any more.
    fn free(&mut self, node: &ObjectKey) {
        let Some(range) = self.of_node.remove(node).map(|range| range.trunc()) else { return };
        if let Some(nodes) = self.taken.get_mut(&range) {
            *nodes -= 1;
            if *nodes == 0 {
                self.taken.remove(&range);
                self.next = 0;
            }
        }
    }

    /// The range of the node: what it has, else the lowest part that meets nobody's.
    fn give(&mut self, node: &ObjectKey) -> Option<IpNet> {
        if let Some(range) = self.of_node.get(node) {
            return Some(*range);
        }
        let mut parts = self.cluster.subnets(self.prefix).ok()?.enumerate().skip(self.next);
        let (place, range) = parts.find(|(_, part)| !self.meets(part))?;
        self.next = place + 1;
        self.take(node, range);
        Some(range)
    }

    /// Whether somebody has the part, a part of it, or a range around it.
    fn meets(&self, part: &IpNet) -> bool {
        let around = (0..=part.prefix_len()).filter_map(|length| IpNet::new(part.addr(), length).ok());
        around.into_iter().any(|range| self.taken.contains_key(&range.trunc()))
            || self.taken.range(*part..).next().is_some_and(|(range, _)| part.contains(range))
    }
}

impl NodeIpam {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(node) = self.informers.nodes.get(&key) else {
            self.parts.lock().free(&key);
            return Ok(Next::Done);
        };
        if range_of(&node).is_some() {
            return Ok(Next::Done);
        }
        let Some(range) = self.give(&key) else {
            let message = format!("Node {key} status is now: CIDRNotAvailable");
            self.recorder.event(node.object_ref(&()), EventType::Normal, "CIDRNotAvailable", message);
            let parts = self.parts.lock();
            return Err(Error::Exhausted { node: key, cluster: parts.cluster, prefix: parts.prefix });
        };
        let text = range.to_string();
        let patch = Patch::Strategic(json!({"spec": {"podCIDR": text, "podCIDRs": [text]}}));
        match Api::<Node>::all(self.client.clone()).patch(key.name(), &PatchParams::default(), &patch).await {
            Err(source) if !is_not_found(&source) => Err(Error::Api { node: key, range, source }),
            _ => Ok(Next::Done),
        }
    }

    fn give(&self, key: &ObjectKey) -> Option<IpNet> {
        self.parts.lock().give(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_part_is_chosen() {
        let check = |cluster: &str, prefix: u8, used: &[&str]| {
            let mut parts = Parts::new(addresses::cidr(cluster).unwrap(), prefix);
            for (number, range) in used.iter().enumerate() {
                parts.take(&ObjectKey::cluster(&format!("n{number}")), addresses::cidr(range).unwrap());
            }
            parts.give(&ObjectKey::cluster("new")).map(|range| range.to_string())
        };
        let of_four = |used: &[&str]| check("10.244.0.0/22", 24, used);
        assert_eq!(of_four(&[]).as_deref(), Some("10.244.0.0/24"));
        assert_eq!(of_four(&["10.244.0.0/24", "10.244.2.0/24"]).as_deref(), Some("10.244.1.0/24"));
        assert_eq!(of_four(&["10.244.0.7/23"]).as_deref(), Some("10.244.2.0/24"));
        assert_eq!(of_four(&["10.244.0.64/26"]).as_deref(), Some("10.244.1.0/24"));
        assert_eq!(of_four(&["10.244.0.0/16"]), None);
        assert_eq!(check("10.244.7.9/16", 24, &[]).as_deref(), Some("10.244.0.0/24"));
        assert_eq!(check("fd00::/48", 64, &["fd00::/64"]).as_deref(), Some("fd00:0:0:1::/64"));
        assert_eq!(check("10.244.0.0/22", 20, &[]), None);
        assert_eq!(check("10.244.0.0/22", 33, &[]), None);
    }

    #[test]
    fn a_part_is_given_again_once_its_node_is_gone() {
        let mut parts = Parts::new(addresses::cidr("10.244.0.0/22").unwrap(), 24);
        let give = |parts: &mut Parts, node: &str| {
            parts.give(&ObjectKey::cluster(node)).map(|range| range.to_string())
        };
        for (node, range) in [("a", "10.244.0.0/24"), ("b", "10.244.1.0/24"), ("a", "10.244.0.0/24")] {
            assert_eq!(give(&mut parts, node).as_deref(), Some(range));
        }
        parts.free(&ObjectKey::cluster("a"));
        assert_eq!(give(&mut parts, "c").as_deref(), Some("10.244.0.0/24"));
        assert_eq!(give(&mut parts, "d").as_deref(), Some("10.244.2.0/24"));
    }
}
