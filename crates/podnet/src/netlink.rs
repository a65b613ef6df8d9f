//! The rtnetlink requests we need, each named after its effect and with the object's name in its error.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, BorrowedFd},
};

use ipnet::Ipv4Net;
use netlink_packet_core::{Emitable, Parseable};
use netlink_packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressMessage, AddressMessageBuffer, AddressScope},
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags,
        LinkInfo, LinkMessage, LinkMessageBuffer,
    },
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMessageBuffer,
        RouteProtocol, RouteScope, RouteType,
    },
};
use rustix::io::Errno;
use skiff_netlink::{Mode, Requests};

use crate::NetworkError;

/// Kinds of requests and of their answers (`RTM_*`).
mod kind {
    pub(super) const NEW_LINK: u16 = 16;
    pub(super) const DELETE_LINK: u16 = 17;
    pub(super) const GET_LINK: u16 = 18;
    pub(super) const SET_LINK: u16 = 19;
    pub(super) const NEW_ADDRESS: u16 = 20;
    pub(super) const DELETE_ADDRESS: u16 = 21;
    pub(super) const GET_ADDRESS: u16 = 22;
    pub(super) const NEW_ROUTE: u16 = 24;
    pub(super) const DELETE_ROUTE: u16 = 25;
    pub(super) const GET_ROUTE: u16 = 26;
    pub(super) const NEW_NEIGHBOUR: u16 = 28;
}

/// The number that marks routes as ours (`proto 83` in listings); unassigned in the kernel's list.
pub(crate) const OUR_ROUTES: u8 = 83;

pub(crate) type HardwareAddress = [u8; 6];
pub(crate) type Index = u32;

/// A netlink socket of the network namespace in which [`Netlink::open`] was called.
#[derive(Debug)]
pub(crate) struct Netlink {
    requests: Requests,
}

/// One host-side interface and its peer, both still down.
pub(crate) struct VethPair<'a> {
    pub(crate) host_name: &'a str,
    pub(crate) host_address: HardwareAddress,
    pub(crate) peer_name: &'a str,
    pub(crate) peer_address: HardwareAddress,
    pub(crate) peer_netns: BorrowedFd<'a>,
    pub(crate) mtu: u32,
}

impl Netlink {
    pub(crate) fn open() -> Result<Self, NetworkError> {
        let requests =
            Requests::open().map_err(NetworkError::io("open netlink socket in", "/proc/self/ns/net"))?;
        Ok(Self { requests })
    }

    /// What the kernel answers to a request, as far as `read` understands it.
    async fn ask<T: Send>(
        &self,
        (kind, mode): (u16, Mode),
        message: &(impl Emitable + Sync),
        read: fn(&[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let mut found = Vec::new();
        let each = |answer: skiff_netlink::Message<'_>| match read(answer.payload) {
            Some(one) => found.push(one),
            // Of a kernel newer than the library, of something that is not ours.
            None => tracing::warn!(kind = answer.kind, "an answer of the kernel is not understood"),
        };
        self.requests.send(kind, mode, &bytes(message), each).await?;
        Ok(found)
    }

    /// Has the kernel change something.
    async fn change(&self, kind: u16, mode: Mode, message: &(impl Emitable + Sync)) -> io::Result<()> {
        self.requests.send(kind, mode, &bytes(message), |_| {}).await
    }

    /// The interface called `name`, if there is one.
    pub(crate) async fn link(&self, name: &str) -> Result<Option<LinkMessage>, NetworkError> {
        let mut named = LinkMessage::default();
        named.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.ask((kind::GET_LINK, Mode::Plain), &named, link).await {
            Err(error) if is(&error, Errno::NODEV) => Ok(None),
            found => found
                .map(|found| found.into_iter().next())
                .map_err(failed(|| format!("look up interface {name}"))),
        }
    }

    pub(crate) async fn links(&self) -> Result<Vec<LinkMessage>, NetworkError> {
        let all = self.ask((kind::GET_LINK, Mode::All), &LinkMessage::default(), link).await;
        all.map_err(failed(|| "list interfaces".into()))
    }

    pub(crate) async fn addresses(&self) -> Result<Vec<AddressMessage>, NetworkError> {
        let all = self.ask((kind::GET_ADDRESS, Mode::All), &AddressMessage::default(), address).await;
        all.map_err(failed(|| "list addresses".into()))
    }

    /// Every IPv4 route of the main table.
    pub(crate) async fn routes(&self) -> Result<Vec<RouteMessage>, NetworkError> {
        let mut ipv4 = RouteMessage::default();
        ipv4.header.address_family = AddressFamily::Inet;
        let all = self.ask((kind::GET_ROUTE, Mode::All), &ipv4, route).await;
        let all = all.map_err(failed(|| "list routes".into()))?;
        Ok(all.into_iter().filter(|route| route.header.table == RouteHeader::RT_TABLE_MAIN).collect())
    }

    /// Makes a bridge; `false` if an interface of this name exists.
    pub(crate) async fn add_bridge(&self, name: &str) -> Result<bool, NetworkError> {
        let mut bridge = LinkMessage::default();
        bridge.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        created(self.change(kind::NEW_LINK, Mode::New, &bridge).await, || format!("make bridge {name}"))
    }

    /// Makes a veth pair with the peer in its namespace; `false` if either name is taken.
    pub(crate) async fn add_veth(&self, pair: &VethPair<'_>) -> Result<bool, NetworkError> {
        let side = |name: &str, hardware: HardwareAddress, last: LinkAttribute| {
            let mut side = LinkMessage::default();
            side.attributes = vec![
                LinkAttribute::IfName(name.to_owned()),
                LinkAttribute::Address(hardware.to_vec()),
                LinkAttribute::Mtu(pair.mtu),
                last,
            ];
            side
        };
        let netns = LinkAttribute::NetNsFd(pair.peer_netns.as_raw_fd());
        let peer = InfoVeth::Peer(side(pair.peer_name, pair.peer_address, netns));
        let info = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(peer))];
        let host = side(pair.host_name, pair.host_address, LinkAttribute::LinkInfo(info));
        created(self.change(kind::NEW_LINK, Mode::New, &host).await, || {
            format!("make veth pair {}", pair.host_name)
        })
    }

    /// Sets an interface up. `ipv6` tells whether the kernel has IPv6, in which case the interface is kept from making
    /// itself a link-local address and soliciting routers.
    pub(crate) async fn set_up(
        &self,
        index: Index,
        alias: Option<&str>,
        ipv6: bool,
    ) -> Result<(), NetworkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes.extend(alias.map(|alias| LinkAttribute::IfAlias(alias.to_owned())));
        if ipv6 {
            let quiet = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
            message.attributes.push(LinkAttribute::AfSpecUnspec(vec![quiet]));
        }
        let set = self.change(kind::SET_LINK, Mode::Plain, &message).await;
        set.map_err(failed(|| format!("set up interface {index} {}", alias.unwrap_or_default())))
    }

    /// Removes an interface; one that is gone already is no error.
    pub(crate) async fn delete_link(&self, index: Index) -> Result<(), NetworkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        match self.change(kind::DELETE_LINK, Mode::Plain, &message).await {
            Err(error) if is(&error, Errno::NODEV) => Ok(()),
            other => other.map_err(failed(|| format!("remove interface {index}"))),
        }
    }

    /// Gives an interface `ip` as a host address (/32). The address is there afterwards, new or not.
    pub(crate) async fn add_address(&self, index: Index, ip: Ipv4Addr) -> Result<(), NetworkError> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = 32;
        message.header.index = index;
        let ip = IpAddr::V4(ip);
        message.attributes = vec![AddressAttribute::Address(ip), AddressAttribute::Local(ip)];
        let added = self.change(kind::NEW_ADDRESS, Mode::Replace, &message).await;
        added.map_err(failed(|| format!("add address {ip} to interface {index}")))
    }

    pub(crate) async fn delete_address(&self, address: AddressMessage) -> Result<(), NetworkError> {
        let deleted = self.change(kind::DELETE_ADDRESS, Mode::Plain, &address).await;
        deleted.map_err(failed(|| format!("remove address {address:?}")))
    }

    /// Makes the hardware address of `ip` known for good, so that it is never asked for.
    pub(crate) async fn set_neighbour(
        &self,
        index: Index,
        ip: Ipv4Addr,
        hardware: HardwareAddress,
    ) -> Result<(), NetworkError> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = index;
        message.header.state = NeighbourState::Permanent;
        message.header.kind = RouteType::Unspec;
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)),
            NeighbourAttribute::LinkLayerAddress(hardware.to_vec()),
        ];
        let set = self.change(kind::NEW_NEIGHBOUR, Mode::Replace, &message).await;
        set.map_err(failed(|| format!("add neighbour {ip} on interface {index}")))
    }

    /// Adds `route`, replacing ours to the same destination but nobody else's.
    pub(crate) async fn set_our_route(&self, route: Route) -> Result<(), NetworkError> {
        let range = route.to;
        match self.change(kind::NEW_ROUTE, Mode::New, &route.message()).await {
            Err(error) if is(&error, Errno::EXIST) => {
                let ours =
                    self.routes().await?.into_iter().any(|r| is_ours(&r) && destination(&r) == Some(range));
                if !ours {
                    return Err(NetworkError::RouteTaken { range });
                }
                self.replace_route(route).await
            }
            other => other.map_err(failed(|| format!("add route to {range}"))),
        }
    }

    /// Adds `route`, replacing any to the same destination.
    pub(crate) async fn replace_route(&self, route: Route) -> Result<(), NetworkError> {
        let replaced = self.change(kind::NEW_ROUTE, Mode::Replace, &route.message()).await;
        replaced.map_err(failed(|| format!("set route to {}", route.to)))
    }

    /// Removes `route`; one that is gone already is no error.
    pub(crate) async fn delete_route(&self, route: RouteMessage) -> Result<(), NetworkError> {
        match self.change(kind::DELETE_ROUTE, Mode::Plain, &route).await {
            Err(error) if is(&error, Errno::SRCH) => Ok(()),
            other => other.map_err(failed(|| format!("remove route to {:?}", destination(&route)))),
        }
    }
}

/// A message as the kernel reads it.
fn bytes(message: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn link(payload: &[u8]) -> Option<LinkMessage> {
    LinkMessage::parse(&LinkMessageBuffer::new_checked(&payload).ok()?).ok()
}

fn address(payload: &[u8]) -> Option<AddressMessage> {
    AddressMessage::parse(&AddressMessageBuffer::new_checked(&payload).ok()?).ok()
}

fn route(payload: &[u8]) -> Option<RouteMessage> {
    RouteMessage::parse(&RouteMessageBuffer::new_checked(&payload).ok()?).ok()
}

/// An IPv4 route of ours.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) to: Ipv4Net,
    pub(crate) via: Via,
}

/// Where a route leads.
#[derive(Debug, Clone)]
pub(crate) enum Via {
    /// Nowhere: the sender is told that the host is unreachable.
    Unreachable,
    /// Straight out of an interface. The node's own packets come from `source`.
    Interface { index: Index, source: Ipv4Addr },
    /// Through a router on an interface.
    Gateway { index: Index, gateway: Ipv4Addr },
}

impl Route {
    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: AddressFamily::Inet,
            destination_prefix_length: self.to.prefix_len(),
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: RouteProtocol::Other(OUR_ROUTES),
            scope: RouteScope::Universe,
            kind: RouteType::Unicast,
            ..RouteHeader::default()
        };
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(self.to.network())));
        match self.via {
            Via::Unreachable => message.header.kind = RouteType::Unreachable,
            Via::Interface { index, source } => {
                message.header.scope = RouteScope::Link;
                let source = RouteAttribute::PrefSource(RouteAddress::Inet(source));
                message.attributes.extend([RouteAttribute::Oif(index), source]);
            }
            Via::Gateway { index, gateway } => {
                message.header.flags = RouteFlags::Onlink;
                let gateway = RouteAttribute::Gateway(RouteAddress::Inet(gateway));
                message.attributes.extend([RouteAttribute::Oif(index), gateway]);
            }
        }
        message
    }
}

pub(crate) fn is_ours(route: &RouteMessage) -> bool {
    route.header.protocol == RouteProtocol::Other(OUR_ROUTES)
}

/// The destination of an IPv4 route; 0.0.0.0/0 for a default route.
pub(crate) fn destination(route: &RouteMessage) -> Option<Ipv4Net> {
    let address = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    });
    let length = route.header.destination_prefix_length;
    match address {
        None if length != 0 => None,
        None => Some(Ipv4Net::default()),
        Some(address) => Ipv4Net::new(address, length).ok(),
    }
}

/// The interface by which a route leads.
pub(crate) fn interface(route: &RouteMessage) -> Option<Index> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

/// The name of an interface.
pub(crate) fn name(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

/// The MTU of an interface, in bytes.
pub(crate) fn mtu(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    })
}

/// The address itself of an IPv4 address record, if it is valid outside the machine.
pub(crate) fn global_ipv4(address: &AddressMessage) -> Option<Ipv4Addr> {
    if address.header.family != AddressFamily::Inet || address.header.scope != AddressScope::Universe {
        return None;
    }
    let local = address.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(ip)) => Some(*ip),
        _ => None,
    });
    local.or_else(|| {
        address.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(IpAddr::V4(ip)) => Some(*ip),
            _ => None,
        })
    })
}

fn failed(action: impl FnOnce() -> String) -> impl FnOnce(io::Error) -> NetworkError {
    move |source| NetworkError::Netlink { action: action(), source }
}

fn created(result: io::Result<()>, action: impl FnOnce() -> String) -> Result<bool, NetworkError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if is(&error, Errno::EXIST) => Ok(false),
        Err(error) => Err(failed(action)(error)),
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}
