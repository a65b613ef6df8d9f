//! The rtnetlink requests we need, each named after its effect and with the object's name in its error.

use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, BorrowedFd},
};

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use netlink_packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressMessage, AddressScope},
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage,
    },
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_core::ErrorMessage,
};
use tokio::task::JoinHandle;

use crate::NetworkError;

/// The number that marks routes as ours (`proto 83` in listings); unassigned in the kernel's list.
pub(crate) const OUR_ROUTES: u8 = 83;

pub(crate) type HardwareAddress = [u8; 6];
pub(crate) type Index = u32;

/// A netlink socket of the network namespace in which [`Netlink::open`] was called.
#[derive(Debug)]
pub(crate) struct Netlink {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
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
    /// Nothing is queued but answers to our own requests: the socket joins no group of notifications.
    pub(crate) fn open() -> Result<Self, NetworkError> {
        let (connection, handle, _unsolicited) = rtnetlink::new_connection()
            .map_err(NetworkError::io("open netlink socket in", "/proc/self/ns/net"))?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// The interface called `name`, if there is one.
    pub(crate) async fn link(&self, name: &str) -> Result<Option<LinkMessage>, NetworkError> {
        let mut links = self.handle.link().get().match_name(name).execute();
        match links.try_next().await {
            Err(error) if is(&error, rustix::io::Errno::NODEV) => Ok(None),
            other => other.map_err(failed(|| format!("look up interface {name}"))),
        }
    }

    pub(crate) async fn links(&self) -> Result<Vec<LinkMessage>, NetworkError> {
        self.handle.link().get().execute().try_collect().await.map_err(failed(|| "list interfaces".into()))
    }

    pub(crate) async fn addresses(&self) -> Result<Vec<AddressMessage>, NetworkError> {
        self.handle.address().get().execute().try_collect().await.map_err(failed(|| "list addresses".into()))
    }

    /// Every IPv4 route of the main table.
    pub(crate) async fn routes(&self) -> Result<Vec<RouteMessage>, NetworkError> {
        let filter = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let all: Vec<RouteMessage> = self
            .handle
            .route()
            .get(filter)
            .execute()
            .try_collect()
            .await
            .map_err(failed(|| "list routes".into()))?;
        Ok(all.into_iter().filter(|route| route.header.table == 254).collect())
    }

    /// Makes a bridge; `false` if an interface of this name exists.
    pub(crate) async fn add_bridge(&self, name: &str) -> Result<bool, NetworkError> {
        let result = self.handle.link().add(LinkBridge::new(name).build()).execute().await;
        created(result, || format!("make bridge {name}"))
    }

    /// Makes a veth pair with the peer in its namespace; `false` if either name is taken.
    pub(crate) async fn add_veth(&self, pair: &VethPair<'_>) -> Result<bool, NetworkError> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(pair.peer_name)
            .address(pair.peer_address.to_vec())
            .mtu(pair.mtu)
            .setns_by_fd(pair.peer_netns.as_raw_fd())
            .build();
        let host = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(pair.host_name)
            .address(pair.host_address.to_vec())
            .mtu(pair.mtu)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        created(self.handle.link().add(host).execute().await, || format!("make veth pair {}", pair.host_name))
    }

    /// Sets an interface up. `ipv6` tells whether the kernel has IPv6, in which case the interface is kept from making
    /// itself a link-local address and soliciting routers.
    pub(crate) async fn set_up(
        &self,
        index: Index,
        alias: Option<&str>,
        ipv6: bool,
    ) -> Result<(), NetworkError> {
        let mut message = LinkUnspec::new_with_index(index).up();
        if let Some(alias) = alias {
            message = message.alias(alias);
        }
        if ipv6 {
            let quiet = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
            message = message.append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![quiet]));
        }
        self.handle
            .link()
            .set(message.build())
            .execute()
            .await
            .map_err(failed(|| format!("set up interface {index} {}", alias.unwrap_or_default())))
    }

    /// Removes an interface; one that is gone already is no error.
    pub(crate) async fn delete_link(&self, index: Index) -> Result<(), NetworkError> {
        match self.handle.link().del(index).execute().await {
            Err(error) if is(&error, rustix::io::Errno::NODEV) => Ok(()),
            other => other.map_err(failed(|| format!("remove interface {index}"))),
        }
    }

    /// Gives an interface `ip` as a host address (/32). The address is there afterwards, new or not.
    pub(crate) async fn add_address(&self, index: Index, ip: Ipv4Addr) -> Result<(), NetworkError> {
        let result = self.handle.address().add(index, IpAddr::V4(ip), 32).replace().execute().await;
        result.map_err(failed(|| format!("add address {ip} to interface {index}")))
    }

    pub(crate) async fn delete_address(&self, address: AddressMessage) -> Result<(), NetworkError> {
        let action = format!("remove address {address:?}");
        self.handle.address().del(address).execute().await.map_err(failed(|| action))
    }

    /// Makes the hardware address of `ip` known for good, so that it is never asked for.
    pub(crate) async fn set_neighbour(
        &self,
        index: Index,
        ip: Ipv4Addr,
        hardware: HardwareAddress,
    ) -> Result<(), NetworkError> {
        let request =
            self.handle.neighbours().add(index, IpAddr::V4(ip)).link_layer_address(&hardware).replace();
        request.execute().await.map_err(failed(|| format!("add neighbour {ip} on interface {index}")))
    }

    /// Adds `route`, replacing ours to the same destination but nobody else's.
    pub(crate) async fn set_our_route(&self, route: Route) -> Result<(), NetworkError> {
        let range = route.to;
        match self.handle.route().add(route.clone().message()).execute().await {
            Err(error) if is(&error, rustix::io::Errno::EXIST) => {
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
        let range = route.to;
        let request = self.handle.route().add(route.message()).replace();
        request.execute().await.map_err(failed(|| format!("set route to {range}")))
    }

    /// Removes `route`; one that is gone already is no error.
    pub(crate) async fn delete_route(&self, route: RouteMessage) -> Result<(), NetworkError> {
        let range = destination(&route);
        match self.handle.route().del(route).execute().await {
            Err(error) if is(&error, rustix::io::Errno::SRCH) => Ok(()),
            other => other.map_err(failed(|| format!("remove route to {range:?}"))),
        }
    }
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
    fn message(self) -> RouteMessage {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .protocol(RouteProtocol::Other(OUR_ROUTES))
            .destination_prefix(self.to.network(), self.to.prefix_len());
        match self.via {
            Via::Unreachable => route.kind(RouteType::Unreachable).build(),
            Via::Interface { index, source } => {
                route.scope(RouteScope::Link).output_interface(index).pref_source(source).build()
            }
            Via::Gateway { index, gateway } => {
                route.output_interface(index).gateway(gateway).onlink().build()
            }
        }
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

fn failed(action: impl FnOnce() -> String) -> impl FnOnce(rtnetlink::Error) -> NetworkError {
    move |source| NetworkError::Netlink { action: action(), source }
}

fn created(
    result: Result<(), rtnetlink::Error>,
    action: impl FnOnce() -> String,
) -> Result<bool, NetworkError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if is(&error, rustix::io::Errno::EXIST) => Ok(false),
        Err(error) => Err(failed(action)(error)),
    }
}

fn is(error: &rtnetlink::Error, errno: rustix::io::Errno) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(ErrorMessage { code: Some(code), .. })
        if code.get() == -errno.raw_os_error())
}
