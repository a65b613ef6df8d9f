//! Elements of the table's sets and maps, in the kernel's encoding. Pure.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use skiff_netlink::Attributes;

use super::{
    abi,
    layout::{
        ADDRESSES, AFFINITY_ENDPOINTS, AFFINITY_IDS, ALLOWED, ENDPOINTS, GUARDED, MASQUERADE, SERVICES, TABLE,
    },
    rule,
    socket::Request,
    wire::Writer,
};
use crate::model::{Element, Endpoint, Frontend, Protocol, TargetPort, Verdict};

/// The sets that elements live in.
pub(super) const SETS: [&str; 8] =
    [SERVICES, ENDPOINTS, ADDRESSES, MASQUERADE, AFFINITY_IDS, AFFINITY_ENDPOINTS, GUARDED, ALLOWED];

/// Elements per message: a list must stay below 64 KiB.
const CHUNK: usize = 400;

/// The set that holds an element.
pub(super) fn set_of(element: &Element) -> &'static str {
    match element {
        Element::Address(_) => ADDRESSES,
        Element::Service(..) => SERVICES,
        Element::Endpoint(..) => ENDPOINTS,
        Element::Masquerade(_) => MASQUERADE,
        Element::AffinityId(..) => AFFINITY_IDS,
        Element::AffinityEndpoint(..) => AFFINITY_ENDPOINTS,
        Element::Guarded(..) => GUARDED,
        Element::Allowed(..) => ALLOWED,
    }
}

/// Requests that put `elements` into the table or take them out.
pub(super) fn requests<'a>(kind: u16, elements: impl Iterator<Item = &'a Element>) -> Vec<Request<'a>> {
    let mut by_set = SETS.map(|_| Vec::new());
    for element in elements {
        let set = set_of(element);
        if let Some(position) = SETS.iter().position(|name| *name == set) {
            by_set[position].push(element);
        }
    }
    let mut requests = Vec::new();
    for (set, elements) in SETS.into_iter().zip(by_set) {
        for chunk in elements.chunks(CHUNK) {
            let chunk = chunk.to_vec();
            requests.push(list(kind, set, move |out| {
                for element in chunk {
                    write(element, kind == abi::NEWSETELEM, out);
                }
            }));
        }
    }
    requests
}

/// A request with a list of elements of one set.
pub(super) fn list<'a>(kind: u16, set: &'a str, elements: impl FnOnce(&mut Writer) + 'a) -> Request<'a> {
    let flags = if kind == abi::NEWSETELEM { abi::NLM_F_CREATE } else { 0 };
    Request::table(kind, flags, move |out| {
        out.text(abi::SET_ELEM_LIST_TABLE, TABLE);
        out.text(abi::SET_ELEM_LIST_SET, set);
        out.nest(abi::SET_ELEM_LIST_ELEMENTS, elements);
    })
}

/// How many entries a list has.
pub(super) fn count(list: Attributes<'_>) -> usize {
    list.nested(abi::SET_ELEM_LIST_ELEMENTS).map_or(0, Iterator::count)
}

/// Writes one entry of a list with nothing but a key.
pub(super) fn write_key(key: &[u8], out: &mut Writer) {
    out.nest(abi::LIST_ELEM, |out| of_key(abi::SET_ELEM_KEY, key, out));
}

fn of_key(kind: u16, key: &[u8], out: &mut Writer) {
    out.nest(kind, |out| out.bytes(abi::DATA_VALUE, key));
}

fn write(element: &Element, with_data: bool, out: &mut Writer) {
    out.nest(abi::LIST_ELEM, |out| {
        of_key(abi::SET_ELEM_KEY, &key(element), out);
        if let Some(end) = key_end(element) {
            of_key(abi::SET_ELEM_KEY_END, &end, out);
        }
        if !with_data {
            return;
        }
        let mut value = |data: &[u8]| out.nest(abi::SET_ELEM_DATA, |out| out.bytes(abi::DATA_VALUE, data));
        match element {
            Element::Address(_)
            | Element::Masquerade(_)
            | Element::AffinityEndpoint(..)
            | Element::Allowed(..) => {}
            Element::Endpoint(_, _, endpoint) => value(&of_endpoint(endpoint)),
            Element::AffinityId(_, id) => value(&id.to_ne_bytes()),
            Element::Service(_, Verdict::Drop) | Element::Guarded(_, Verdict::Drop) => {
                rule::verdict(out, abi::SET_ELEM_DATA, abi::NF_DROP, None);
            }
            Element::Service(_, verdict) | Element::Guarded(_, verdict) => {
                rule::verdict(out, abi::SET_ELEM_DATA, abi::NFT_GOTO, Some(&verdict.to_string()));
            }
        }
    });
}

fn key(element: &Element) -> Vec<u8> {
    match element {
        Element::Address(address) => address.octets().to_vec(),
        Element::Service(frontend, _)
        | Element::Masquerade(frontend)
        | Element::AffinityId(frontend, _)
        | Element::Guarded(frontend, _) => of_frontend(frontend),
        Element::Allowed(frontend, clients) => with_client(frontend, clients.network()),
        Element::Endpoint(frontend, slot, _) => [of_frontend(frontend), slot.to_ne_bytes().to_vec()].concat(),
        Element::AffinityEndpoint(frontend, endpoint) => {
            [of_frontend(frontend), of_endpoint(endpoint)].concat()
        }
    }
}

/// The last key of those that the element stands for, if it is several.
fn key_end(element: &Element) -> Option<Vec<u8>> {
    match element {
        Element::Allowed(frontend, clients) => Some(with_client(frontend, clients.broadcast())),
        _ => None,
    }
}

fn with_client(frontend: &Frontend, client: Ipv4Addr) -> Vec<u8> {
    [of_frontend(frontend), client.octets().to_vec()].concat()
}

fn of_frontend(frontend: &Frontend) -> Vec<u8> {
    let [a, b, c, d] = frontend.address.octets();
    let [high, low] = frontend.port.to_be_bytes();
    vec![a, b, c, d, frontend.protocol.number(), 0, 0, 0, high, low, 0, 0]
}

fn of_endpoint(endpoint: &Endpoint) -> Vec<u8> {
    let [a, b, c, d] = endpoint.address.octets();
    let [high, low] = endpoint.port.number().to_be_bytes();
    vec![a, b, c, d, high, low, 0, 0]
}

/// Reads the elements of a list of `set`; what is not in our form is left out.
pub(super) fn read<'a>(set: &'a str, list: Attributes<'a>) -> impl Iterator<Item = Element> + 'a {
    let elements = list.nested(abi::SET_ELEM_LIST_ELEMENTS).into_iter().flatten();
    elements.filter_map(move |(_, element)| read_one(set, Attributes::within(element)))
}

fn read_one(set: &str, element: Attributes<'_>) -> Option<Element> {
    let key = element.nested(abi::SET_ELEM_KEY)?.get(abi::DATA_VALUE)?;
    let data = || element.nested(abi::SET_ELEM_DATA);
    let value = || data()?.get(abi::DATA_VALUE);
    Some(match set {
        ADDRESSES => Element::Address(address(key)?),
        SERVICES => Element::Service(to_frontend(key)?, to_verdict(data()?)?),
        ENDPOINTS => {
            let slot = u32::from_ne_bytes(*key.get(12..)?.first_chunk()?);
            Element::Endpoint(to_frontend(key)?, slot, to_endpoint(value()?)?)
        }
        MASQUERADE => Element::Masquerade(to_frontend(key)?),
        AFFINITY_IDS => Element::AffinityId(to_frontend(key)?, u32::from_ne_bytes(*value()?.first_chunk()?)),
        AFFINITY_ENDPOINTS => Element::AffinityEndpoint(to_frontend(key)?, to_endpoint(key.get(12..)?)?),
        GUARDED => Element::Guarded(to_frontend(key)?, to_verdict(data()?)?),
        ALLOWED => {
            let end = element.nested(abi::SET_ELEM_KEY_END)?.get(abi::DATA_VALUE)?;
            Element::Allowed(to_frontend(key)?, range(address(key.get(12..)?)?, address(end.get(12..)?)?)?)
        }
        _ => return None,
    })
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    bytes.first_chunk::<4>().copied().map(Ipv4Addr::from)
}

/// The range of just these addresses, if there is one.
fn range(first: Ipv4Addr, last: Ipv4Addr) -> Option<Ipv4Net> {
    let length = (u32::from(first) ^ u32::from(last)).leading_zeros();
    let range = Ipv4Net::new(first, u8::try_from(length).ok()?).ok()?;
    (range.network() == first && range.broadcast() == last).then_some(range)
}

fn to_frontend(key: &[u8]) -> Option<Frontend> {
    let port = u16::from_be_bytes(*key.get(8..)?.first_chunk()?);
    Some(Frontend { address: address(key)?, port, protocol: Protocol::numbered(*key.get(4)?)? })
}

fn to_endpoint(bytes: &[u8]) -> Option<Endpoint> {
    let port = TargetPort::of(u16::from_be_bytes(*bytes.get(4..)?.first_chunk()?))?;
    Some(Endpoint { address: address(bytes)?, port })
}

fn to_verdict(data: Attributes<'_>) -> Option<Verdict> {
    let verdict = data.nested(abi::DATA_VERDICT)?;
    match i32::from_be_bytes(*verdict.get(abi::VERDICT_CODE)?.first_chunk()?) {
        abi::NF_DROP => Some(Verdict::Drop),
        abi::NFT_GOTO => verdict.text(abi::VERDICT_CHAIN)?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_survive_the_wire() {
        let frontend = Frontend { address: Ipv4Addr::new(10, 96, 0, 10), port: 53, protocol: Protocol::Udp };
        let endpoint =
            Endpoint { address: Ipv4Addr::new(10, 244, 0, 2), port: TargetPort::of(5353).unwrap() };
        let all = [
            Element::Address(frontend.address),
            Element::Service(frontend, Verdict::Drop),
            Element::Service(frontend, "split.n3-60.o1-60".parse().unwrap()),
            Element::Endpoint(frontend, 0x1_0001, endpoint),
            Element::Masquerade(frontend),
            Element::AffinityId(frontend, 0xdead_beef),
            Element::AffinityEndpoint(frontend, endpoint),
            Element::Service(frontend, Verdict::Guard),
            Element::Guarded(frontend, Verdict::Drop),
            Element::Guarded(frontend, "n3".parse().unwrap()),
            Element::Allowed(frontend, "10.4.0.0/14".parse().unwrap()),
            Element::Allowed(frontend, "0.0.0.0/0".parse().unwrap()),
            Element::Allowed(frontend, "192.0.2.7/32".parse().unwrap()),
        ];
        for element in &all {
            let mut out = Writer::default();
            out.nest(abi::SET_ELEM_LIST_ELEMENTS, |out| write(element, true, out));
            let bytes = out.into_bytes();
            let read: Vec<_> = read(set_of(element), Attributes::within(&bytes)).collect();
            assert_eq!(read, [*element]);
        }
    }
}
