//! What the machine's connection to the outside looks like.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use netlink_packet_route::{
    link::{LinkFlags, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage},
};

use crate::{
    NetworkError,
    netlink::{self, Index, Netlink},
    network,
};

/// Bytes; what Ethernet has, for machines without any uplink.
const DEFAULT_MTU: u32 = 1500;

/// MTU in bytes of the interface that the default route uses.
pub(crate) async fn mtu(netlink: &Netlink) -> Result<u32, NetworkError> {
    let Some(index) = index(netlink).await? else { return Ok(DEFAULT_MTU) };
    let links = netlink.links().await?;
    let uplink = links.iter().find(|link| link.header.index == index);
    Ok(uplink.and_then(netlink::mtu).unwrap_or(DEFAULT_MTU))
}

/// The interface by which the default route leads.
pub(crate) async fn index(netlink: &Netlink) -> Result<Option<Index>, NetworkError> {
    Ok(default_route(netlink).await?.as_ref().and_then(netlink::interface))
}

/// See [`crate::primary_address`].
pub(crate) async fn primary_address(netlink: &Netlink) -> Result<Option<Ipv4Addr>, NetworkError> {
    let route = default_route(netlink).await?;
    if let Some(source) = route.as_ref().and_then(preferred_source) {
        return Ok(Some(source));
    }
    let uplink = route.as_ref().and_then(netlink::interface);
    let links = netlink.links().await?;
    let foreign: Vec<Index> =
        links.iter().filter(|link| counts_as_uplink(link)).map(|link| link.header.index).collect();
    let candidates: Vec<(Index, Ipv4Addr)> = netlink
        .addresses()
        .await?
        .iter()
        .filter(|address| foreign.contains(&address.header.index))
        .filter_map(|address| Some((address.header.index, netlink::global_ipv4(address)?)))
        .collect();
    let on_uplink = candidates.iter().find(|(index, _)| Some(*index) == uplink);
    Ok(on_uplink.or(candidates.first()).map(|(_, address)| *address))
}

fn counts_as_uplink(link: &LinkMessage) -> bool {
    !link.header.flags.contains(LinkFlags::Loopback) && !network::is_ours(link)
}

/// The default route with the lowest metric.
async fn default_route(netlink: &Netlink) -> Result<Option<RouteMessage>, NetworkError> {
    let routes = netlink.routes().await?;
    let defaults = routes.into_iter().filter(|route| netlink::destination(route) == Some(Ipv4Net::default()));
    Ok(defaults.min_by_key(metric))
}

fn metric(route: &RouteMessage) -> u32 {
    let found = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    });
    found.unwrap_or(0)
}

fn preferred_source(route: &RouteMessage) -> Option<Ipv4Addr> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::PrefSource(RouteAddress::Inet(source)) => Some(*source),
        _ => None,
    })
}
