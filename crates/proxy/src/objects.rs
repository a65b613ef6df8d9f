//! What the proxy keeps of Services, EndpointSlices and this node's pods. Pure; compact, because every node holds all Services
//! and slices.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};

use crate::model::{NodePort, Protocol, ServiceName, TargetPort, VirtualPort};

const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
const SOURCE_RANGES_ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// What a ClusterIP Service with affinity gets when it names no timeout, in seconds.
const DEFAULT_STICKY: u32 = 10_800;

/// A Service that is served on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Virtual addresses inside the cluster.
    pub cluster_ips: Vec<Ipv4Addr>,
    /// External addresses.
    pub external_ips: Vec<Ipv4Addr>,
    /// Addresses of a load balancer that leads here.
    pub balancer_ips: Vec<Ipv4Addr>,
    /// The only clients that may use those, if not all may; no two ranges overlap.
    pub allowed: Option<Vec<Ipv4Net>>,
    /// The ports, in the order of the object.
    pub ports: Vec<ServicePort>,
    /// `internalTrafficPolicy: Local`
    pub internal_local: bool,
    /// `externalTrafficPolicy: Local`
    pub external_local: bool,
    /// Seconds for which a client stays with its endpoint.
    pub sticky: Option<u32>,
    /// Where load balancers ask whether this node has endpoints of it.
    pub health_port: Option<NodePort>,
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Empty if the Service has only one.
    pub name: Box<str>,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port at ClusterIPs and external addresses.
    pub port: VirtualPort,
    /// The port at node addresses.
    pub node_port: Option<NodePort>,
}

impl Service {
    /// `None` for Services that no proxy serves: ExternalName, headless, or left to another proxy by label.
    pub fn from_api(service: &core::Service) -> Option<Self> {
        let spec = service.spec.as_ref()?;
        let labelled =
            |label| service.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(label));
        let headless = matches!(spec.cluster_ip.as_deref(), None | Some("" | "None"));
        if labelled(PROXY_NAME_LABEL)
            || labelled(HEADLESS_LABEL)
            || headless
            || spec.type_.as_deref() == Some("ExternalName")
        {
            return None;
        }
        let cluster_ips = match &spec.cluster_ips {
            Some(several) if !several.is_empty() => ipv4(several),
            _ => ipv4(&spec.cluster_ip),
        };
        let ports = spec.ports.iter().flatten().filter_map(ServicePort::from_api).collect();
        Some(Self {
            cluster_ips,
            external_ips: spec.external_ips.as_ref().map(ipv4).unwrap_or_default(),
            balancer_ips: balancer_ips(service),
            allowed: allowed(service),
            ports,
            internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
            sticky: sticky(spec),
            health_port: spec.health_check_node_port.and_then(NodePort::of),
        })
    }
}

/// Addresses of a load balancer whose packets come as they were sent to it.
fn balancer_ips(service: &core::Service) -> Vec<Ipv4Addr> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let ours = ingress.filter(|entry| entry.ip_mode.as_deref() != Some("Proxy"));
    ours.flat_map(|entry| ipv4(&entry.ip)).collect()
}

/// Who may use those addresses, by the field or else the annotation; `None` if everybody may. Ranges of the other family allow
/// nobody here.
fn allowed(service: &core::Service) -> Option<Vec<Ipv4Net>> {
    let field = service.spec.as_ref()?.load_balancer_source_ranges.iter().flatten().map(String::as_str);
    let mut ranges: Vec<&str> = field.collect();
    if ranges.is_empty() {
        let annotations = service.metadata.annotations.as_ref()?;
        ranges.extend(annotations.get(SOURCE_RANGES_ANNOTATION)?.split(','));
    }
    ranges.retain(|range| !range.trim().is_empty());
    let parsed: Vec<Ipv4Net> = ranges.iter().filter_map(|range| range.trim().parse().ok()).collect();
    (!ranges.is_empty()).then(|| Ipv4Net::aggregate(&parsed))
}

fn ipv4<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<Ipv4Addr> {
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

fn sticky(spec: &core::ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let client_ip = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = client_ip.and_then(|config| config.timeout_seconds);
    Some(seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(DEFAULT_STICKY))
}

impl ServicePort {
    fn from_api(port: &core::ServicePort) -> Option<Self> {
        Some(Self {
            name: port.name.as_deref().unwrap_or_default().into(),
            protocol: Protocol::named(port.protocol.as_deref())?,
            port: VirtualPort::of(port.port)?,
            node_port: port.node_port.and_then(NodePort::of),
        })
    }
}

/// The ports of the node that a pod on it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPorts {
    /// The pod's address.
    pub pod: Ipv4Addr,
    /// The ports.
    pub ports: Vec<HostPort>,
}

/// One port of the node that leads to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// The only address at which it is open; `None` for all addresses of the node, and its first loopback address.
    pub address: Option<Ipv4Addr>,
    /// The port of the node.
    pub port: NodePort,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port of the pod.
    pub target: TargetPort,
}

impl HostPorts {
    /// `None` for a pod that has none, has the node's own network, or has no address yet or no more use for it.
    pub fn from_api(pod: &core::Pod) -> Option<Self> {
        let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
        let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        if ended || spec.host_network == Some(true) {
            return None;
        }
        let sidecars = spec.init_containers.iter().flatten();
        let sidecars = sidecars.filter(|init| init.restart_policy.as_deref() == Some("Always"));
        let ports =
            spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
        let ports: Vec<HostPort> = ports.filter_map(HostPort::from_api).collect();
        let address = status.pod_ip.as_ref()?.parse().ok()?;
        (!ports.is_empty()).then_some(Self { pod: address, ports })
    }
}

impl HostPort {
    /// `None` for a port that is not the node's, and for an address of another family.
    fn from_api(port: &core::ContainerPort) -> Option<Self> {
        let address = match port.host_ip.as_deref() {
            None | Some("") => None,
            Some(address) => Some(address.parse::<Ipv4Addr>().ok()?),
        };
        Some(Self {
            address: address.filter(|address| !address.is_unspecified()),
            port: NodePort::of(port.host_port?)?,
            protocol: Protocol::named(port.protocol.as_deref())?,
            target: TargetPort::of(port.container_port)?,
        })
    }
}

/// An EndpointSlice of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The Service it belongs to.
    pub service: ServiceName,
    /// The ports all its endpoints have.
    pub ports: Vec<SlicePort>,
    /// Its endpoints.
    pub endpoints: Vec<SliceEndpoint>,
}

/// One port of all endpoints of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlicePort {
    /// Matches the name of a Service port.
    pub name: Box<str>,
    /// Matches the protocol of that port.
    pub protocol: Protocol,
    /// Where the endpoints listen.
    pub port: TargetPort,
}

/// One endpoint of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Its address.
    pub address: Ipv4Addr,
    /// Gets new connections.
    pub ready: bool,
    /// Answers, though perhaps not for long.
    pub serving: bool,
    /// Is shutting down.
    pub terminating: bool,
    /// Runs on this node.
    pub local: bool,
    /// The nodes that should prefer it; `None` without hints.
    pub node_hints: Option<Box<[Box<str>]>>,
    /// The zones that should prefer it; `None` without hints.
    pub zone_hints: Option<Box<[Box<str>]>>,
}

impl Slice {
    /// `None` for slices of headless or unknown Services and of other address families.
    pub fn from_api(slice: &discovery::EndpointSlice, node: &str) -> Option<Self> {
        let labels = slice.metadata.labels.as_ref()?;
        if slice.address_type != "IPv4" || labels.contains_key(HEADLESS_LABEL) {
            return None;
        }
        let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
        let name = labels.get(SERVICE_LABEL).filter(|name| !name.is_empty())?;
        let service = ServiceName { namespace: namespace.into(), name: name.as_str().into() };
        let ports = slice.ports.iter().flatten().filter_map(SlicePort::from_api).collect();
        let endpoints = slice
            .endpoints
            .iter()
            .flatten()
            .flat_map(|endpoint| SliceEndpoint::from_api(endpoint, node))
            .collect();
        Some(Self { service, ports, endpoints })
    }
}

impl SlicePort {
    /// `None` for a port without a number: it stands for all ports, which a Service cannot.
    fn from_api(port: &discovery::EndpointPort) -> Option<Self> {
        Some(Self {
            name: port.name.as_deref().unwrap_or_default().into(),
            protocol: Protocol::named(port.protocol.as_deref())?,
            port: TargetPort::of(port.port?)?,
        })
    }
}

impl SliceEndpoint {
    /// One per address. Conditions that a slice does not tell are those of a healthy endpoint.
    fn from_api<'a>(endpoint: &'a discovery::Endpoint, node: &str) -> impl Iterator<Item = Self> + use<'a> {
        let conditions = endpoint.conditions.as_ref();
        let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
        let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(true);
        let terminating = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
        let local = endpoint.node_name.as_deref() == Some(node);
        let hints = endpoint.hints.as_ref();
        let node_hints = hints
            .and_then(|hints| hints.for_nodes.as_ref())
            .map(|nodes| nodes.iter().map(|node| node.name.as_str().into()).collect());
        let zone_hints = hints
            .and_then(|hints| hints.for_zones.as_ref())
            .map(|zones| zones.iter().map(|zone| zone.name.as_str().into()).collect());
        let addresses = endpoint.addresses.iter().filter_map(|address| match address.parse() {
            Ok(IpAddr::V4(address)) => Some(address),
            _ => None,
        });
        addresses.map(move |address| Self {
            address,
            ready,
            serving,
            terminating,
            local,
            node_hints: Option::clone(&node_hints),
            zone_hints: Option::clone(&zone_hints),
        })
    }
}
