//! Which notifications of the kernel may tell that something of ours was taken away. Pure.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use skiff_netlink::{Group, Message};

use crate::{ANCHOR_INTERFACE, NodeNetwork, netlink::OUR_ROUTES, network::interface_name};

/// Interfaces, IPv4 addresses, routes and settings of interfaces: `RTNLGRP_LINK`, `_IPV4_IFADDR`, `_IPV4_ROUTE`,
/// `_IPV4_NETCONF`.
pub(crate) const GROUPS: [Group; 4] = [Group(1), Group(5), Group(7), Group(24)];

const NEW_LINK: u16 = 16;
const DELETED_LINK: u16 = 17;
const DELETED_ADDRESS: u16 = 21;
const NEW_ROUTE: u16 = 24;
const DELETED_ROUTE: u16 = 25;
const NEW_SETTINGS: u16 = 80;

/// Bytes of the fixed header of each kind of message.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const ROUTE_HEADER: usize = 12;
const SETTINGS_HEADER: usize = 4;

const LINK_NAME: u16 = 3;
const ADDRESS_LOCAL: u16 = 2;
const ROUTE_DESTINATION: u16 = 1;
const SETTINGS_FORWARDING: u16 = 2;
const LINK_UP: u32 = 1;

/// Whether a message tells of the loss of something of the node's, or of the pods that `is_attached` knows by address. Pods that
/// come and go are not among these yet, or any more, so that their own changes cost nothing.
pub(crate) fn is_loss(
    message: &Message<'_>,
    config: &NodeNetwork,
    is_attached: impl Fn(Ipv4Addr) -> bool,
) -> bool {
    match message.kind {
        NEW_LINK | DELETED_LINK => {
            let attributes = message.attributes_after(LINK_HEADER);
            let flags = message.payload.get(8..).and_then(|rest| rest.first_chunk().copied());
            let is_up = flags.is_some_and(|flags| u32::from_ne_bytes(flags) & LINK_UP != 0);
            let lost = message.kind == DELETED_LINK || !is_up;
            lost && attributes
                .text(LINK_NAME)
                .is_some_and(|name| name == ANCHOR_INTERFACE || address_of(name).is_some_and(&is_attached))
        }
        DELETED_ADDRESS => {
            ipv4(message.attributes_after(ADDRESS_HEADER).get(ADDRESS_LOCAL)) == Some(config.gateway())
        }
        NEW_ROUTE | DELETED_ROUTE => is_route_lost(message, config, is_attached),
        NEW_SETTINGS => message.attributes_after(SETTINGS_HEADER).u32_ne(SETTINGS_FORWARDING) == Some(0),
        _ => false,
    }
}

/// A route of ours that was deleted, or replaced by one of another program.
fn is_route_lost(
    message: &Message<'_>,
    config: &NodeNetwork,
    is_attached: impl Fn(Ipv4Addr) -> bool,
) -> bool {
    let (Some(length), Some(protocol)) = (message.payload.get(1), message.payload.get(5)) else {
        return false;
    };
    if (*protocol == OUR_ROUTES) != (message.kind == DELETED_ROUTE) {
        return false;
    }
    let address = ipv4(message.attributes_after(ROUTE_HEADER).get(ROUTE_DESTINATION));
    let range = address.and_then(|address| Ipv4Net::new(address, *length).ok());
    range.is_some_and(|range| {
        range == config.service_cidr.trunc()
            || range == config.cluster_cidr.trunc()
            || (*length == 32 && is_attached(range.addr()))
    })
}

fn ipv4(payload: Option<&[u8]>) -> Option<Ipv4Addr> {
    payload?.first_chunk::<4>().copied().map(Ipv4Addr::from)
}

/// The pod address in an interface's name.
fn address_of(name: &str) -> Option<Ipv4Addr> {
    let digits = name.get(name.len().checked_sub(8)?..)?;
    let address = Ipv4Addr::from(u32::from_str_radix(digits, 16).ok()?);
    (interface_name(address) == name).then_some(address)
}

/// Reads `bytes` as notifications and returns how many tell of a loss. For fuzzing: whatever the bytes, nothing panics.
pub fn decode(bytes: &[u8]) -> usize {
    let range = Ipv4Net::default();
    let config = NodeNetwork {
        pod_cidr: range,
        cluster_cidr: range,
        service_cidr: range,
        node_ip: Ipv4Addr::LOCALHOST,
    };
    skiff_netlink::messages(bytes).filter(|message| is_loss(message, &config, |_| true)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + payload.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// Whether a message of this kind counts, with the pod 10.244.7.2 attached.
    fn check(kind: u16, header: &[u8], attributes: &[u8]) -> bool {
        let payload = [header, attributes].concat();
        let message = Message { kind, flags: 0, sequence: 0, port: 0, payload: &payload };
        is_loss(&message, &NodeNetwork::example(), |ip| ip == Ipv4Addr::new(10, 244, 7, 2))
    }

    #[test]
    fn links() {
        let link = |kind, up: u8, name: &str| {
            let mut header = [0; LINK_HEADER];
            header[8] = up;
            check(kind, &header, &attribute(LINK_NAME, format!("{name}\0").as_bytes()))
        };
        assert!(link(DELETED_LINK, 1, "skiff0"));
        assert!(link(DELETED_LINK, 1, "skiff-0af40702"));
        assert!(link(NEW_LINK, 0, "skiff-0af40702"), "it was set down");
        assert!(!link(NEW_LINK, 1, "skiff0"));
        assert!(!link(DELETED_LINK, 1, "skiff-0af40703"), "its pod is not attached");
        assert!(!link(DELETED_LINK, 1, "eth0") && !link(DELETED_LINK, 1, "skiff-") && !link(NEW_LINK, 0, ""));
    }

    #[test]
    fn addresses_routes_and_settings() {
        let address = |octets: [u8; 4]| check(DELETED_ADDRESS, &[0; 8], &attribute(ADDRESS_LOCAL, &octets));
        assert!(address([10, 244, 7, 1]) && !address([10, 244, 7, 2]));
        let route = |kind, length, protocol, octets: [u8; 4]| {
            let mut header = [0; ROUTE_HEADER];
            (header[1], header[5]) = (length, protocol);
            check(kind, &header, &attribute(ROUTE_DESTINATION, &octets))
        };
        assert!(route(DELETED_ROUTE, 12, OUR_ROUTES, [10, 96, 0, 0]));
        assert!(route(DELETED_ROUTE, 32, OUR_ROUTES, [10, 244, 7, 2]));
        assert!(!route(DELETED_ROUTE, 32, OUR_ROUTES, [10, 244, 7, 3]));
        assert!(!route(DELETED_ROUTE, 12, 3, [10, 96, 0, 0]), "another program's own");
        assert!(route(NEW_ROUTE, 12, 3, [10, 96, 0, 0]), "ours was replaced");
        assert!(!route(NEW_ROUTE, 12, OUR_ROUTES, [10, 96, 0, 0]), "we replaced it");
        let forwarding =
            |on: u32| check(NEW_SETTINGS, &[2, 0, 0, 0], &attribute(SETTINGS_FORWARDING, &on.to_ne_bytes()));
        assert!(forwarding(0) && !forwarding(1));
    }

    proptest! {
        #[test]
        fn any_notification_is_read_without_panic(
            kind in prop::sample::select(vec![16_u16, 17, 21, 24, 25, 80]),
            payload in prop::collection::vec(0u8..40, 0..128),
        ) {
            let length = u32::try_from(16 + payload.len()).unwrap();
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(payload);
            prop_assert!(decode(&bytes) <= 1);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            decode(&bytes);
        }
    }
}
