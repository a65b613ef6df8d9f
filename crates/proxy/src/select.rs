//! Which endpoints a Service port uses on this node. Pure.

use std::collections::BTreeMap;

use skiff_ordered::Ordered as _;

use crate::{
    model::Endpoint,
    objects::{ServicePort, Slice, SliceEndpoint},
};

/// Where this node is, for topology hints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Location {
    /// The node's name.
    pub node: Box<str>,
    /// The node's zone, from its label.
    pub zone: Option<Box<str>>,
}

/// The endpoints of one Service port, by purpose; each list sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usable {
    /// Under the policy Cluster.
    pub cluster: Vec<Endpoint>,
    /// Under the policy Local.
    pub local: Vec<Endpoint>,
    /// All that answer, used or not; clients of UDP may stay with these.
    pub serving: Vec<Endpoint>,
}

/// Chooses the endpoints of `port` from all slices of its Service.
pub fn usable<'a>(
    port: &ServicePort,
    slices: impl IntoIterator<Item = &'a Slice>,
    here: &Location,
) -> Usable {
    let mut candidates = BTreeMap::<Endpoint, &SliceEndpoint>::new();
    for slice in slices {
        let same = slice.ports.iter().filter(|p| p.name == port.name && p.protocol == port.protocol);
        for slice_port in same {
            for endpoint in &slice.endpoints {
                let key = Endpoint { address: endpoint.address, port: slice_port.port };
                let better = candidates.get(&key).is_none_or(|known| rank(endpoint) > rank(known));
                if better {
                    candidates.insert(key, endpoint);
                }
            }
        }
    }
    let serving = keys(&candidates, |endpoint| endpoint.ready || endpoint.serving);
    let local = ready_or_serving(&candidates, |endpoint| endpoint.local);
    let cluster = match keys(&candidates, |endpoint| endpoint.ready) {
        ready if ready.is_empty() => ready_or_serving(&candidates, |_| true),
        ready => near(&candidates, here).unwrap_or(ready),
    };
    Usable { cluster, local, serving }
}

/// How many addresses on this node have a ready endpoint of a Service, whatever its port.
pub fn local_addresses<'a>(slices: impl IntoIterator<Item = &'a Slice>) -> usize {
    let endpoints = slices.into_iter().flat_map(|slice| &slice.endpoints);
    let local =
        endpoints.filter(|endpoint| endpoint.local && endpoint.ready).map(|endpoint| endpoint.address);
    local.to_set().len()
}

/// Two slices may name the same endpoint while it moves from one to the other.
fn rank(endpoint: &SliceEndpoint) -> u8 {
    match endpoint {
        SliceEndpoint { ready: true, .. } => 3,
        SliceEndpoint { serving: true, terminating: true, .. } => 2,
        SliceEndpoint { serving: true, .. } => 1,
        _ => 0,
    }
}

fn keys(
    candidates: &BTreeMap<Endpoint, &SliceEndpoint>,
    wanted: impl Fn(&SliceEndpoint) -> bool,
) -> Vec<Endpoint> {
    candidates.iter().filter(|(_, endpoint)| wanted(endpoint)).map(|(key, _)| *key).collect()
}

/// The ready ones; without any, those that are shutting down but still answer.
fn ready_or_serving(
    candidates: &BTreeMap<Endpoint, &SliceEndpoint>,
    eligible: impl Fn(&SliceEndpoint) -> bool,
) -> Vec<Endpoint> {
    match keys(candidates, |endpoint| eligible(endpoint) && endpoint.ready) {
        ready if ready.is_empty() => {
            keys(candidates, |endpoint| eligible(endpoint) && endpoint.serving && endpoint.terminating)
        }
        ready => ready,
    }
}

/// The ready endpoints hinted for this node, else for its zone; `None` unless every ready endpoint has such hints and
/// at least one is for us.
fn near(candidates: &BTreeMap<Endpoint, &SliceEndpoint>, here: &Location) -> Option<Vec<Endpoint>> {
    let by = |hints: fn(&SliceEndpoint) -> Option<&[Box<str>]>, us: &str| {
        let complete =
            candidates.values().filter(|e| e.ready).all(|e| hints(e).is_some_and(|h| !h.is_empty()));
        let ours = keys(candidates, |e| {
            e.ready && hints(e).is_some_and(|hints| hints.iter().any(|hint| **hint == *us))
        });
        (complete && !ours.is_empty()).then_some(ours)
    };
    by(|endpoint| endpoint.node_hints.as_deref(), &here.node)
        .or_else(|| by(|endpoint| endpoint.zone_hints.as_deref(), here.zone.as_deref()?))
}
