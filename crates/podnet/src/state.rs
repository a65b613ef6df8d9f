//! What the node's side of the pod network must have, and what of that is missing. Pure, but for [`observe`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
    path::Path,
};

use ipnet::Ipv4Net;
use netlink_packet_route::link::LinkFlags;

use crate::{
    ANCHOR_INTERFACE, NetworkError, NodeNetwork,
    netlink::{self, Index, Netlink},
    network::{self, interface_name},
};

/// Something of the node's side of the pod network that is not there or not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// The kernel does not forward packets.
    Forwarding,
    /// The kernel does not forward packets that come by this interface.
    InterfaceForwarding(String),
    /// An interface is absent or down.
    Interface(String),
    /// The node's address in the pod CIDR.
    Address(Ipv4Addr),
    /// A route.
    Route(Ipv4Net),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarding => f.write_str("net.ipv4.ip_forward"),
            Self::InterfaceForwarding(name) => write!(f, "net.ipv4.conf.{name}.forwarding"),
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::Address(address) => write!(f, "address {address} of {ANCHOR_INTERFACE}"),
            Self::Route(range) => write!(f, "route to {range}"),
        }
    }
}

/// Whose something is: the node's, or that of the pod with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    Node,
    Pod(Ipv4Addr),
}

/// What the kernel has of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    forwarding: bool,
    /// Interfaces that are up, and whether packets that come by them are forwarded.
    interfaces: BTreeMap<String, (Index, bool)>,
    anchor_addresses: BTreeSet<Ipv4Addr>,
    /// Our routes with the interface by which they lead, if they lead anywhere.
    routes: BTreeMap<Ipv4Net, Option<Index>>,
}

/// Looks at the current network namespace.
pub(crate) async fn observe(netlink: &Netlink) -> Result<Observed, NetworkError> {
    let mut observed = Observed { forwarding: is_on(Path::new("ip_forward"))?, ..Observed::default() };
    for link in netlink.links().await?.iter().filter(|link| network::is_ours(link)) {
        let Some(name) = netlink::name(link).filter(|_| link.header.flags.contains(LinkFlags::Up)) else {
            continue;
        };
        let forwards = is_on(&Path::new("conf").join(name).join("forwarding"))?;
        observed.interfaces.insert(name.to_owned(), (link.header.index, forwards));
    }
    let anchor = observed.interfaces.get(ANCHOR_INTERFACE).map(|(index, _)| *index);
    for address in netlink.addresses().await? {
        if Some(address.header.index) == anchor {
            observed.anchor_addresses.extend(netlink::global_ipv4(&address));
        }
    }
    for route in netlink.routes().await?.iter().filter(|route| netlink::is_ours(route)) {
        if let Some(range) = netlink::destination(route) {
            observed.routes.insert(range, netlink::interface(route));
        }
    }
    Ok(observed)
}

/// Whether a parameter below `net.ipv4` is on; one that is not there is off.
fn is_on(name: &Path) -> Result<bool, NetworkError> {
    let path = Path::new("/proc/sys/net/ipv4").join(name);
    match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        other => other.map(|text| text.trim() != "0").map_err(NetworkError::io("read", path)),
    }
}

/// What is missing, by owner; `pods` are the addresses of those that are attached.
pub(crate) fn missing(
    config: &NodeNetwork,
    pods: impl IntoIterator<Item = Ipv4Addr>,
    observed: &Observed,
) -> BTreeMap<Owner, BTreeSet<Missing>> {
    let mut all = BTreeMap::<Owner, BTreeSet<Missing>>::new();
    let mut lacks = |owner, what| all.entry(owner).or_default().extend([what]);
    if !observed.forwarding {
        lacks(Owner::Node, Missing::Forwarding);
    }
    let mut interface = |owner, name: &str| {
        match observed.interfaces.get(name) {
            None => lacks(owner, Missing::Interface(name.to_owned())),
            // Where nothing is forwarded, no interface does; it is one thing that is missing.
            Some((_, false)) if observed.forwarding => {
                lacks(owner, Missing::InterfaceForwarding(name.to_owned()));
            }
            Some(_) => {}
        }
        observed.interfaces.get(name).map(|(index, _)| *index)
    };
    let anchor = interface(Owner::Node, ANCHOR_INTERFACE);
    let pods: Vec<_> =
        pods.into_iter().map(|ip| (ip, interface(Owner::Pod(ip), &interface_name(ip)))).collect();
    if anchor.is_some() && !observed.anchor_addresses.contains(&config.gateway()) {
        lacks(Owner::Node, Missing::Address(config.gateway()));
    }
    let mut route = |owner, to: Ipv4Net, by: Option<Index>| {
        if observed.routes.get(&to) != Some(&by) {
            lacks(owner, Missing::Route(to));
        }
    };
    route(Owner::Node, config.service_cidr.trunc(), anchor);
    route(Owner::Node, config.cluster_cidr.trunc(), None);
    pods.into_iter().for_each(|(ip, index)| route(Owner::Pod(ip), Ipv4Net::from(ip), index));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node with one pod, 10.244.7.2.
    fn whole() -> Observed {
        Observed {
            forwarding: true,
            interfaces: [("skiff0".into(), (7, true)), ("skiff-0af40702".into(), (9, true))].into(),
            anchor_addresses: ["10.244.7.1".parse().unwrap()].into(),
            routes: [("10.96.0.0/12", Some(7)), ("10.244.0.0/16", None), ("10.244.7.2/32", Some(9))]
                .map(|(range, index)| (range.parse().unwrap(), index))
                .into(),
        }
    }

    #[test]
    fn what_is_not_there_is_named_with_its_owner() {
        let check = |spoil: fn(&mut Observed)| {
            let mut observed = whole();
            spoil(&mut observed);
            let text = |(owner, what): (Owner, BTreeSet<Missing>)| {
                let what: Vec<_> = what.iter().map(ToString::to_string).collect();
                let owner = if owner == Owner::Node { "node" } else { "pod" };
                format!("{owner}: {}", what.join(", "))
            };
            let pods = [Ipv4Addr::new(10, 244, 7, 2)];
            missing(&NodeNetwork::example(), pods, &observed)
                .into_iter()
                .map(text)
                .collect::<Vec<_>>()
                .join("; ")
        };
        assert_eq!(check(|_| {}), "");
        assert_eq!(check(|o| o.forwarding = false), "node: net.ipv4.ip_forward");
        let quiet = |o: &mut Observed| {
            o.forwarding = false;
            o.interfaces.values_mut().for_each(|(_, forwards)| *forwards = false);
        };
        assert_eq!(check(quiet), "node: net.ipv4.ip_forward");
        let one = |o: &mut Observed| o.interfaces.get_mut("skiff-0af40702").unwrap().1 = false;
        assert_eq!(check(one), "pod: net.ipv4.conf.skiff-0af40702.forwarding");
        assert_eq!(check(|o| o.anchor_addresses.clear()), "node: address 10.244.7.1 of skiff0");
        let all = "node: route to 10.96.0.0/12, route to 10.244.0.0/16; pod: route to 10.244.7.2/32";
        assert_eq!(check(|o| o.routes.clear()), all);
        assert_eq!(
            check(|o| assert!(o.interfaces.remove("skiff-0af40702").is_some())),
            "pod: interface skiff-0af40702, route to 10.244.7.2/32"
        );
        assert_eq!(
            check(|o| assert!(o.interfaces.remove("skiff0").is_some())),
            "node: interface skiff0, route to 10.96.0.0/12"
        );
        // A route that leads by another interface is not the one.
        let other =
            |o: &mut Observed| *o.routes.get_mut(&"10.244.7.2/32".parse().unwrap()).unwrap() = Some(7);
        assert_eq!(check(other), "pod: route to 10.244.7.2/32");
    }
}
