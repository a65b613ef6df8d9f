//! Flows of connection tracking, which keep the endpoint they were given.

use std::net::Ipv4Addr;

use super::{
    abi,
    socket::{KernelError, Request, Socket},
    wire::{Attributes, Message},
};
use crate::model::{Endpoint, Frontend, Protocol};

/// Forgets UDP flows to any of the frontends that go elsewhere than to the endpoints named with it.
pub(super) fn forget(socket: &mut Socket, rules: &[(Frontend, Vec<Endpoint>)]) -> Result<(), KernelError> {
    if rules.is_empty() {
        return Ok(());
    }
    let mut stale = Vec::new();
    let collect = |message: Message<'_>| {
        let flow = message.attributes();
        if is_stale(flow, rules) {
            let tuple = flow.get(abi::CTA_TUPLE_ORIG).map(<[u8]>::to_vec).unwrap_or_default();
            stale.push((tuple, flow.get(abi::CTA_ID).map(<[u8]>::to_vec)));
        }
    };
    socket.dump("list UDP flows", only_udp(), collect)?;
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
    Request::flows(abi::CT_GET, |out| {
        out.nest(abi::CTA_TUPLE_ORIG, |out| {
            out.nest(abi::CTA_TUPLE_PROTO, |out| out.bytes(abi::CTA_PROTO_NUM, &[Protocol::Udp.number()]));
        });
        out.nest(abi::CTA_FILTER, |out| {
            out.bytes(abi::CTA_FILTER_ORIG_FLAGS, &abi::FILTER_PROTO_NUM.to_ne_bytes());
        });
    })
}

fn is_stale(flow: Attributes<'_>, rules: &[(Frontend, Vec<Endpoint>)]) -> bool {
    let original = flow.nested(abi::CTA_TUPLE_ORIG).and_then(Tuple::read);
    let reply = flow.nested(abi::CTA_TUPLE_REPLY).and_then(Tuple::read);
    let (Some(original), Some(reply)) = (original, reply) else { return false };
    if original.protocol != Protocol::Udp.number() {
        return false;
    }
    let to =
        Frontend { address: original.destination.0, port: original.destination.1, protocol: Protocol::Udp };
    let answers = Endpoint { address: reply.source.0, port: reply.source.1 };
    rules.iter().any(|(frontend, keep)| *frontend == to && !keep.contains(&answers))
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
