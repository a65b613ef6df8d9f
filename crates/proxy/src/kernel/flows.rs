//! Flows of connection tracking, which keep the endpoint they were given.

use std::{collections::HashMap, net::Ipv4Addr};

use skiff_netlink::{Attributes, Message};

use super::{
    abi,
    socket::{KernelError, Request, Socket},
    wire::{self, Writer},
};
use crate::model::{Endpoint, Frontend, Protocol, TargetPort};

/// Up to this many frontends, the kernel is asked for the flows of each; it lists only these. For more, one list of all UDP
/// flows costs less.
const ASKED_EACH: usize = 16;

/// The endpoints with which flows to each frontend may stay.
pub(super) type Keep = HashMap<Frontend, Vec<Endpoint>>;

/// Forgets UDP flows to any of the frontends that go elsewhere than to the endpoints named with it.
pub(super) fn forget(socket: &mut Socket, rules: &Keep) -> Result<(), KernelError> {
    let mut stale = Vec::new();
    let mut collect = |message: Message<'_>| {
        let flow = wire::attributes(&message);
        if is_stale(flow, rules) {
            let tuple = flow.get(abi::CTA_TUPLE_ORIG).map(<[u8]>::to_vec).unwrap_or_default();
            stale.push((tuple, flow.get(abi::CTA_ID).map(<[u8]>::to_vec)));
        }
    };
    if rules.len() <= ASKED_EACH {
        for frontend in rules.keys() {
            socket.dump("list UDP flows to a Service", only_to(frontend), &mut collect)?;
        }
    } else {
        socket.dump("list UDP flows", only_udp(), &mut collect)?;
    }
    for (tuple, id) in stale {
        let request = Request::flows(abi::CT_DELETE, |out| {
            out.bytes(abi::CTA_TUPLE_ORIG | abi::NLA_F_NESTED, &tuple);
            if let Some(id) = &id {
                out.bytes(abi::CTA_ID, id);
            }
        });
        match socket.request("forget a UDP flow", request) {
            Err(error) if error.is_not_found() => {} // it ended by itself
            other => other?,
        }
    }
    Ok(())
}

/// Asks the kernel to leave out other protocols, of which there may be many flows.
fn only_udp<'a>() -> Request<'a> {
    filtered(abi::FILTER_PROTO_NUM, |_| {}, |_| {})
}

/// Asks the kernel for the flows of one frontend (since Linux 5.8).
fn only_to<'a>(frontend: &Frontend) -> Request<'a> {
    let (address, port) = (frontend.address.octets(), frontend.port.to_be_bytes());
    filtered(
        abi::FILTER_IP_DST | abi::FILTER_PROTO_NUM | abi::FILTER_PROTO_DST_PORT,
        move |out| out.nest(abi::CTA_TUPLE_IP, |out| out.bytes(abi::CTA_IP_V4_DST, &address)),
        move |out| out.bytes(abi::CTA_PROTO_DST_PORT, &port),
    )
}

/// A list of flows whose original direction agrees with a tuple in the fields of `flags`.
fn filtered<'a>(
    flags: u32,
    address: impl FnOnce(&mut Writer) + 'a,
    port: impl FnOnce(&mut Writer) + 'a,
) -> Request<'a> {
    Request::flows(abi::CT_GET, move |out| {
        out.nest(abi::CTA_TUPLE_ORIG, |out| {
            address(out);
            out.nest(abi::CTA_TUPLE_PROTO, |out| {
                out.bytes(abi::CTA_PROTO_NUM, &[Protocol::Udp.number()]);
                port(out);
            });
        });
        out.nest(abi::CTA_FILTER, |out| out.bytes(abi::CTA_FILTER_ORIG_FLAGS, &flags.to_ne_bytes()));
    })
}

/// Whether an entry of connection tracking belongs to a frontend and goes to none of the endpoints that it may keep.
pub(super) fn is_stale(flow: Attributes<'_>, rules: &Keep) -> bool {
    let original = flow.nested(abi::CTA_TUPLE_ORIG).and_then(Tuple::read);
    let reply = flow.nested(abi::CTA_TUPLE_REPLY).and_then(Tuple::read);
    let (Some(original), Some(reply)) = (original, reply) else { return false };
    if original.protocol != Protocol::Udp.number() {
        return false;
    }
    let to =
        Frontend { address: original.destination.0, port: original.destination.1, protocol: Protocol::Udp };
    let answers = TargetPort::of(reply.source.1).map(|port| Endpoint { address: reply.source.0, port });
    rules.get(&to).is_some_and(|keep| answers.is_none_or(|answers| !keep.contains(&answers)))
}

struct Tuple {
    protocol: u8,
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
}

impl Tuple {
    fn read(tuple: Attributes<'_>) -> Option<Self> {
        let (ip, proto) = (tuple.nested(abi::CTA_TUPLE_IP)?, tuple.nested(abi::CTA_TUPLE_PROTO)?);
        let address = |kind| ip.get(kind)?.first_chunk::<4>().copied().map(Ipv4Addr::from);
        let port = |kind| proto.get(kind)?.first_chunk().copied().map(u16::from_be_bytes);
        Some(Self {
            protocol: *proto.get(abi::CTA_PROTO_NUM)?.first()?,
            source: (address(abi::CTA_IP_V4_SRC)?, port(abi::CTA_PROTO_SRC_PORT)?),
            destination: (address(abi::CTA_IP_V4_DST)?, port(abi::CTA_PROTO_DST_PORT)?),
        })
    }
}
