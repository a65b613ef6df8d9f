//! The endpoints a Service should have, made from its pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForNode, ForZone,
};
use kube::ResourceExt;

use crate::pods::KnownPod;
use crate::services::{self, Family};

/// A list of ports as a key: slices hold endpoints of one such list only.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PortSet(Vec<(String, String, Option<i32>, Option<String>)>);

impl PortSet {
    /// The ports of a slice.
    pub(crate) fn of(ports: Option<&Vec<EndpointPort>>) -> Self {
        let port = |port: &EndpointPort| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
            (port.name.clone().unwrap_or_default(), protocol, port.port, port.app_protocol.clone())
        };
        let mut ports: Vec<_> = ports.into_iter().flatten().map(port).collect();
        ports.sort();
        Self(ports)
    }
}

/// The endpoints of one port list.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) ports: Vec<EndpointPort>,
    pub(crate) endpoints: Vec<Endpoint>,
}

/// The endpoints of `service` in `family`, by port list. A pod whose node is unknown is left out: its appearance will
/// bring the Service up again.
pub(super) fn desired(
    service: &Service,
    members: &[Arc<KnownPod>],
    family: Family,
    node: &dyn Fn(&str) -> Option<Arc<Node>>,
) -> BTreeMap<PortSet, Group> {
    let publish = services::publishes_not_ready(service);
    let mut groups = BTreeMap::<PortSet, Group>::new();
    for pod in members.iter().filter(|pod| !pod.is_terminal()) {
        let Some(address) = pod.addresses().find(|address| Family::of(address) == Some(family)) else {
            continue;
        };
        let host = pod.node().and_then(node);
        if host.is_none() && pod.node().is_some() && !publish {
            continue;
        }
        let ports = ports_of(service, pod);
        let endpoint = endpoint(service, pod, address, host.as_deref());
        let group = groups.entry(PortSet::of(Some(&ports))).or_default();
        group.ports = ports;
        group.endpoints.push(endpoint);
    }
    groups
}

fn ports_of(service: &Service, pod: &KnownPod) -> Vec<EndpointPort> {
    let resolve = |port: &ServicePort| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(services::target_port(pod, port)?),
            protocol: Some(services::protocol(port).to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
    };
    services::ports(service).iter().filter_map(resolve).collect()
}

fn endpoint(service: &Service, pod: &KnownPod, address: &str, node: Option<&Node>) -> Endpoint {
    let (serving, terminating) = (pod.is_ready(), pod.is_deleting());
    let ready = services::publishes_not_ready(service) || (serving && !terminating);
    let zone = node.and_then(services::zone);
    let node_name = pod.node().map(String::from);
    Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hints: hints(service, ready, zone.as_deref(), node_name.as_deref()),
        hostname: services::hostname(pod, service),
        node_name,
        target_ref: Some(pod.target()),
        zone,
        deprecated_topology: None,
    }
}

/// Where the endpoint should be used first, as `spec.trafficDistribution` asks.
fn hints(service: &Service, ready: bool, zone: Option<&str>, node: Option<&str>) -> Option<EndpointHints> {
    let distribution = service.spec.as_ref()?.traffic_distribution.as_deref()?;
    let annotations = service.annotations();
    let topology_mode = annotations
        .get("service.kubernetes.io/topology-mode")
        .or_else(|| annotations.get("service.kubernetes.io/topology-aware-hints"));
    if !ready || topology_mode.is_some_and(|mode| mode.eq_ignore_ascii_case("auto")) {
        return None;
    }
    let for_nodes =
        (distribution == "PreferSameNode").then(|| Some(vec![ForNode { name: node?.to_owned() }]));
    let known = matches!(distribution, "PreferClose" | "PreferSameZone" | "PreferSameNode");
    let hints = EndpointHints {
        for_zones: zone.filter(|_| known).map(|zone| vec![ForZone { name: zone.to_owned() }]),
        for_nodes: for_nodes.flatten(),
    };
    (hints.for_zones.is_some() || hints.for_nodes.is_some()).then_some(hints)
}
