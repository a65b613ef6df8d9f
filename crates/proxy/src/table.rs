//! From one Service and its slices, or one pod's ports of the node, to the elements the kernel should hold for it. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    num::NonZeroU16,
};

use ipnet::Ipv4Net;
use skiff_ordered::Ordered as _;

use crate::{
    model::{Balance, Element, Endpoint, Frontend, Key, Pool, Protocol, ServiceName, Verdict},
    objects::{HostPorts, Service, ServicePort, Slice},
    select::{self, Location},
};

/// More endpoints than one list can hold; further ones are not used.
const MAX_ENDPOINTS: usize = 0xffff;

/// What new connections to one frontend meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where they go.
    pub backends: Backends,
    /// How long clients stay with their endpoint, and the memory that all frontends of a Service port share.
    pub affinity: Option<Affinity>,
    /// Whether they get the node's address as source.
    pub masquerade: bool,
    /// UDP only: the endpoints with which existing flows may stay.
    pub keep_flows: Option<Vec<Endpoint>>,
    /// The only clients that get through, if not all do; no two ranges overlap.
    pub allowed: Option<Vec<Ipv4Net>>,
}

/// Where connections to a frontend go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backends {
    /// To one of these; refused if there is none.
    All(Vec<Endpoint>),
    /// Ignored: there are endpoints, but the policy allows none of them.
    Drop,
    /// By where the client is.
    Split {
        /// For pods and the node itself; refused for all if there is none.
        inside: Vec<Endpoint>,
        /// For everybody else; ignored if there is none.
        outside: Vec<Endpoint>,
    },
}

/// Client affinity of a Service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Affinity {
    /// Seconds since a client's last new connection.
    pub seconds: u32,
    /// Follows from the names of Service and port, so that it survives a restart.
    pub id: u32,
}

/// Everything one Service or pod asks of the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceTable {
    /// ClusterIPs.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// What is served at which address and port.
    pub entries: BTreeMap<Frontend, Entry>,
}

/// What a table needs to know about the node it is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeView {
    /// Where the node is.
    pub location: Location,
    /// Addresses at which node ports, and pods' ports of the node, are served.
    pub node_ips: Vec<Ipv4Addr>,
}

/// Builds the table of one Service.
pub fn service_table(
    name: &ServiceName,
    service: &Service,
    slices: &[&Slice],
    node: &NodeView,
) -> ServiceTable {
    let mut table =
        ServiceTable { addresses: service.cluster_ips.iter().copied().collect(), entries: BTreeMap::new() };
    for port in &service.ports {
        let usable = select::usable(port, slices.iter().copied(), &node.location);
        let affinity = service
            .sticky
            .map(|seconds| Affinity { seconds, id: affinity_id(name, &port.name, port.protocol) });
        let keep_flows = (port.protocol == Protocol::Udp).then(|| usable.serving.clone());
        let entry = |backends, masquerade| Entry {
            backends,
            affinity,
            masquerade,
            keep_flows: keep_flows.clone(),
            allowed: None,
        };
        let internal = match (service.internal_local, usable.cluster.is_empty(), usable.local.is_empty()) {
            (true, false, true) => Backends::Drop,
            (true, false, false) => Backends::All(usable.local.clone()),
            _ => Backends::All(usable.cluster.clone()),
        };
        for address in &service.cluster_ips {
            let frontend = Frontend::of_service(*address, port.port, port.protocol);
            table.entries.insert(frontend, entry(internal.clone(), false));
        }
        let external = match (service.external_local, usable.cluster.is_empty()) {
            (true, false) => {
                Backends::Split { inside: usable.cluster.clone(), outside: usable.local.clone() }
            }
            _ => Backends::All(usable.cluster.clone()),
        };
        for address in &service.balancer_ips {
            let frontend = Frontend::of_service(*address, port.port, port.protocol);
            let entry = entry(external.clone(), !service.external_local);
            table.entries.insert(frontend, Entry { allowed: service.allowed.clone(), ..entry });
        }
        for frontend in external_frontends(service, port, node) {
            table.entries.insert(frontend, entry(external.clone(), !service.external_local));
        }
    }
    table
}

/// Builds the table of the node's ports that a pod on it has. The pod sees its clients: all of them come through this node; those
/// at loopback addresses, which have no way back from the pod, it sees as the node.
pub fn host_port_table(ports: &HostPorts, node: &NodeView) -> ServiceTable {
    let mut table = ServiceTable::default();
    for port in &ports.ports {
        let endpoint = Endpoint { address: ports.pod, port: port.target };
        let all = || node.node_ips.iter().copied().chain([Ipv4Addr::LOCALHOST]).collect();
        let addresses: Vec<Ipv4Addr> = port.address.map_or_else(all, |address| vec![address]);
        for address in addresses {
            let frontend = Frontend::of_node(address, port.port, port.protocol);
            table.entries.entry(frontend).or_insert_with(|| Entry {
                backends: Backends::All(vec![endpoint]),
                affinity: None,
                masquerade: address.is_loopback(),
                keep_flows: (port.protocol == Protocol::Udp).then(|| vec![endpoint]),
                allowed: None,
            });
        }
    }
    table
}

fn external_frontends<'a>(
    service: &'a Service,
    port: &'a ServicePort,
    node: &'a NodeView,
) -> impl Iterator<Item = Frontend> + 'a {
    let protocol = port.protocol;
    let at_nodes = port.node_port.into_iter().flat_map(move |node_port| {
        node.node_ips.iter().map(move |address| Frontend::of_node(*address, node_port, protocol))
    });
    let elsewhere =
        service.external_ips.iter().map(move |address| Frontend::of_service(*address, port.port, protocol));
    at_nodes.chain(elsewhere)
}

/// FNV-1a over the names. Two ports that share an id by accident disturb each other's memory, not their traffic: an
/// endpoint is used only if it belongs to the frontend.
fn affinity_id(name: &ServiceName, port: &str, protocol: Protocol) -> u32 {
    let text = format!("{name}/{port}/{protocol}");
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl ServiceTable {
    /// The elements of each address and frontend, sorted. `old` tells what the kernel holds now for a key: endpoints keep their
    /// positions, so that a change of one endpoint is a change of one element.
    pub fn elements<'a>(&self, old: impl Fn(&Key) -> &'a [Element]) -> BTreeMap<Key, Vec<Element>> {
        let addresses = self.addresses.iter().map(|a| (Key::Address(*a), vec![Element::Address(*a)]));
        let entries = self.entries.iter().map(|(frontend, entry)| {
            let key = Key::Frontend(*frontend);
            (key, entry.elements(*frontend, old(&key)))
        });
        addresses.chain(entries).to_map()
    }
}

impl Entry {
    fn elements(&self, frontend: Frontend, old: &[Element]) -> Vec<Element> {
        let none = &[][..];
        let (inside, outside) = match &self.backends {
            Backends::All(endpoints) => (&endpoints[..], none),
            Backends::Drop => (none, none),
            Backends::Split { inside, outside } => (&inside[..], &outside[..]),
        };
        let inside = assign(frontend, Pool::Inside, old, inside);
        let outside = assign(frontend, Pool::Outside, old, outside);
        let mut elements = self.verdicts(frontend, self.verdict(inside.len(), outside.len()));
        if let Some(affinity) = self.affinity.filter(|_| !inside.is_empty()) {
            elements.push(Element::AffinityId(frontend, affinity.id));
            let all = inside.iter().chain(&outside).map(|(_, endpoint)| *endpoint).to_set();
            elements.extend(all.into_iter().map(|endpoint| Element::AffinityEndpoint(frontend, endpoint)));
        }
        if self.masquerade && !inside.is_empty() {
            elements.push(Element::Masquerade(frontend));
        }
        elements.extend(
            inside
                .into_iter()
                .chain(outside)
                .map(|(slot, endpoint)| Element::Endpoint(frontend, slot, endpoint)),
        );
        elements.sort_unstable();
        elements
    }

    /// What leads to `verdict`, for all clients or for those that are allowed.
    fn verdicts(&self, frontend: Frontend, verdict: Verdict) -> Vec<Element> {
        let Some(allowed) = &self.allowed else { return vec![Element::Service(frontend, verdict)] };
        let guard = [Element::Service(frontend, Verdict::Guard), Element::Guarded(frontend, verdict)];
        let clients = allowed.iter().map(|clients| Element::Allowed(frontend, *clients));
        guard.into_iter().chain(clients).collect()
    }

    fn verdict(&self, inside: usize, outside: usize) -> Verdict {
        let sticky = self.affinity.map(|affinity| affinity.seconds);
        let balance = |count, pool| {
            let count = NonZeroU16::new(u16::try_from(count).unwrap_or(u16::MAX))?;
            Some(Balance { count, pool, sticky })
        };
        let outside = balance(outside, Pool::Outside);
        match (&self.backends, balance(inside, Pool::Inside)) {
            (Backends::Drop, _) => Verdict::Drop,
            (_, None) => Verdict::Reject,
            (Backends::All(_), Some(inside)) => Verdict::Balance(inside),
            (Backends::Split { .. }, Some(inside)) => Verdict::Split { inside, outside },
        }
    }
}

/// Gives `endpoints` the positions from the pool's offset on without holes. Those that have a position now keep it if it
/// still exists.
fn assign(frontend: Frontend, pool: Pool, old: &[Element], endpoints: &[Endpoint]) -> Vec<(u32, Endpoint)> {
    let endpoints = &endpoints[..endpoints.len().min(MAX_ENDPOINTS)];
    let mut slots: Vec<Option<Endpoint>> = vec![None; endpoints.len()];
    let mut placed = BTreeSet::new();
    for element in old {
        let Element::Endpoint(of, slot, endpoint) = element else { continue };
        if *of != frontend || Pool::of(*slot) != pool || endpoints.binary_search(endpoint).is_err() {
            continue;
        }
        let position = usize::try_from(slot - pool.offset()).unwrap_or(usize::MAX);
        if let Some(free @ None) = slots.get_mut(position)
            && placed.insert(*endpoint)
        {
            *free = Some(*endpoint);
        }
    }
    let mut others = endpoints.iter().filter(|endpoint| !placed.contains(endpoint)).copied();
    let filled = slots.into_iter().map_while(|slot| slot.or_else(|| others.next()));
    (pool.offset()..).zip(filled).collect()
}
