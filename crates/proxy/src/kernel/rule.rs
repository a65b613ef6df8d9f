//! Rules as sequences of expressions, in the kernel's encoding. Pure.
//!
//! Registers are four bytes wide and numbered from 0; longer values take several. A field shorter than a register is
//! padded with zeroes, in packets and in map keys alike.

use std::time::Duration;

use super::{abi, wire::Writer};

/// A register.
pub(super) type Reg = u32;

/// One step of a rule. A step that fails ends the rule, and the next rule is tried.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    /// Loads a packet's source address.
    SourceAddress(Reg),
    /// Loads a packet's destination address.
    DestinationAddress(Reg),
    /// Loads the transport protocol's number.
    TransportProtocol(Reg),
    /// Loads the destination port of TCP, UDP or SCTP.
    DestinationPort(Reg),
    /// Loads the name of the interface by which the packet came, sixteen bytes.
    InputInterface(Reg),
    /// Loads the name of the interface by which the packet leaves, sixteen bytes.
    OutputInterface(Reg),
    /// Loads the connection's state bits, in host byte order.
    ConnectionStatus(Reg),
    /// Loads who has begun the connection.
    OriginalSource(Reg),
    /// Loads where the client sent the connection's first packet: its address.
    OriginalAddress(Reg),
    /// And its port.
    OriginalPort(Reg),
    /// Loads the routing type of the source address, in host byte order.
    SourceType(Reg),
    /// Goes on if the value is equal; shorter data compares a prefix.
    Equal(Reg, Vec<u8>),
    /// Goes on if the value differs.
    NotEqual(Reg, Vec<u8>),
    /// Clears the bits that the mask does not have.
    Mask(Reg, Vec<u8>),
    /// Loads a constant.
    Value(Reg, Vec<u8>),
    /// Goes on if the set has the value.
    InSet(&'static str, Reg),
    /// Loads what the map has for the value in the first register into the second; fails without.
    Map(&'static str, Reg, Reg),
    /// Does what the verdict map has for the value; fails without.
    VerdictMap(&'static str, Reg),
    /// Puts `key → data` into a map that forgets, or begins the time of `key` anew without changing its data.
    Remember { map: &'static str, key: Reg, data: Reg, timeout: Duration },
    /// Takes `key` out of a map that forgets, if it is there. The data register must hold something, but is not used.
    Forget { map: &'static str, key: Reg, data: Reg },
    /// Loads a random number below `below` plus `offset`, in host byte order.
    Random { to: Reg, below: u32, offset: u32 },
    /// Sets the destination.
    DestinationNat { address: Reg, port: Reg },
    /// Sets the source address.
    SourceNat(Reg),
    /// Sets the source address to that of the output interface.
    Masquerade,
    /// Answers with a reset.
    ResetTcp,
    /// Answers that the port is unreachable.
    PortUnreachable,
    /// Goes to a chain for good.
    Goto(String),
    /// Lets the packet pass.
    Accept,
    /// Discards the packet.
    Drop,
    /// Has the packet traced if the value is 1.
    Trace(Reg),
}

/// Writes the expressions of one rule.
pub(super) fn write(rule: &[Expr], out: &mut Writer) {
    out.nest(abi::RULE_EXPRESSIONS, |out| {
        for expr in rule {
            out.nest(abi::LIST_ELEM, |out| {
                out.text(abi::EXPR_NAME, expr.name());
                out.nest(abi::EXPR_DATA, |out| expr.write(out));
            });
        }
    });
}

fn reg(number: Reg) -> u32 {
    abi::REG32_00 + number
}

fn value(out: &mut Writer, kind: u16, data: &[u8]) {
    out.nest(kind, |out| out.bytes(abi::DATA_VALUE, data));
}

/// Writes a verdict as the data of an expression or element.
pub(super) fn verdict(out: &mut Writer, kind: u16, code: i32, chain: Option<&str>) {
    out.nest(kind, |out| {
        out.nest(abi::DATA_VERDICT, |out| {
            out.i32(abi::VERDICT_CODE, code);
            if let Some(chain) = chain {
                out.text(abi::VERDICT_CHAIN, chain);
            }
        });
    });
}

impl Expr {
    fn name(&self) -> &'static str {
        match self {
            Self::SourceAddress(_) | Self::DestinationAddress(_) | Self::DestinationPort(_) => "payload",
            Self::TransportProtocol(_)
            | Self::InputInterface(_)
            | Self::OutputInterface(_)
            | Self::Trace(_) => "meta",
            Self::ConnectionStatus(_)
            | Self::OriginalSource(_)
            | Self::OriginalAddress(_)
            | Self::OriginalPort(_) => "ct",
            Self::SourceType(_) => "fib",
            Self::Equal(..) | Self::NotEqual(..) => "cmp",
            Self::Mask(..) => "bitwise",
            Self::Value(..) | Self::Goto(_) | Self::Accept | Self::Drop => "immediate",
            Self::InSet(..) | Self::Map(..) | Self::VerdictMap(..) => "lookup",
            Self::Remember { .. } | Self::Forget { .. } => "dynset",
            Self::Random { .. } => "numgen",
            Self::DestinationNat { .. } | Self::SourceNat(_) => "nat",
            Self::Masquerade => "masq",
            Self::ResetTcp | Self::PortUnreachable => "reject",
        }
    }

    fn write(&self, out: &mut Writer) {
        match self {
            Self::SourceAddress(to) => payload(out, *to, abi::NETWORK_HEADER, 12, 4),
            Self::DestinationAddress(to) => payload(out, *to, abi::NETWORK_HEADER, 16, 4),
            Self::DestinationPort(to) => payload(out, *to, abi::TRANSPORT_HEADER, 2, 2),
            Self::TransportProtocol(to) => numbers(out, &[reg(*to), abi::META_L4PROTO]),
            Self::InputInterface(to) => numbers(out, &[reg(*to), abi::META_IIFNAME]),
            Self::OutputInterface(to) => numbers(out, &[reg(*to), abi::META_OIFNAME]),
            Self::ConnectionStatus(to) => numbers(out, &[reg(*to), abi::CT_STATUS]),
            Self::OriginalSource(to) => original(out, *to, abi::CT_SRC_IP),
            Self::OriginalAddress(to) => original(out, *to, abi::CT_DST_IP),
            Self::OriginalPort(to) => original(out, *to, abi::CT_PROTO_DST),
            Self::SourceType(to) => numbers(out, &[reg(*to), abi::FIB_RESULT_ADDRTYPE, abi::FIB_F_SADDR]),
            Self::Equal(from, data) => compare(out, *from, 0, data),
            Self::NotEqual(from, data) => compare(out, *from, 1, data),
            Self::Mask(at, mask) => bitwise(out, *at, mask),
            Self::Value(to, data) => {
                out.u32(1, reg(*to));
                value(out, 2, data);
            }
            Self::InSet(set, from) => lookup(out, set, *from, None),
            Self::Map(map, from, to) => lookup(out, map, *from, Some(reg(*to))),
            Self::VerdictMap(map, from) => lookup(out, map, *from, Some(abi::REG_VERDICT)),
            Self::Forget { map, key, data } => dynamic(out, map, abi::DYNSET_DELETE, *key, *data),
            Self::Remember { map, key, data, timeout } => {
                dynamic(out, map, abi::DYNSET_UPDATE, *key, *data);
                out.u64(6, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
            }
            Self::Random { to, below, offset } => numbers(out, &[reg(*to), *below, abi::NG_RANDOM, *offset]),
            Self::DestinationNat { address, port } => {
                numbers(out, &[abi::NAT_DNAT, u32::from(abi::NFPROTO_IPV4), reg(*address)]);
                out.u32(5, reg(*port));
            }
            Self::SourceNat(address) => {
                numbers(out, &[abi::NAT_SNAT, u32::from(abi::NFPROTO_IPV4), reg(*address)]);
                out.u32(7, abi::NAT_RANDOM_FULLY);
            }
            Self::Masquerade => numbers(out, &[abi::NAT_RANDOM_FULLY]),
            Self::ResetTcp => {
                out.u32(1, abi::REJECT_TCP_RST);
                out.bytes(2, &[0]);
            }
            Self::PortUnreachable => {
                out.u32(1, abi::REJECT_ICMP_UNREACH);
                out.bytes(2, &[abi::ICMP_PORT_UNREACH]);
            }
            Self::Goto(chain) => immediate_verdict(out, abi::NFT_GOTO, Some(chain)),
            Self::Accept => immediate_verdict(out, abi::NF_ACCEPT, None),
            Self::Drop => immediate_verdict(out, abi::NF_DROP, None),
            Self::Trace(from) => {
                out.u32(2, abi::META_NFTRACE);
                out.u32(3, reg(*from));
            }
        }
    }
}

/// Attributes 1, 2, 3… with these numbers.
fn numbers(out: &mut Writer, values: &[u32]) {
    (1..).zip(values).for_each(|(kind, value)| out.u32(kind, *value));
}

fn payload(out: &mut Writer, to: Reg, base: u32, offset: u32, length: u32) {
    numbers(out, &[reg(to), base, offset, length]);
}

fn original(out: &mut Writer, to: Reg, key: u32) {
    numbers(out, &[reg(to), key]);
    out.bytes(3, &[abi::CT_DIR_ORIGINAL]);
}

fn compare(out: &mut Writer, from: Reg, operator: u32, data: &[u8]) {
    numbers(out, &[reg(from), operator]);
    value(out, 3, data);
}

fn bitwise(out: &mut Writer, at: Reg, mask: &[u8]) {
    numbers(out, &[reg(at), reg(at), u32::try_from(mask.len()).unwrap_or(u32::MAX)]);
    value(out, 4, mask);
    value(out, 5, &vec![0; mask.len()]);
}

fn lookup(out: &mut Writer, set: &str, from: Reg, to: Option<u32>) {
    out.text(1, set);
    out.u32(2, reg(from));
    if let Some(to) = to {
        out.u32(3, to);
    }
}

fn dynamic(out: &mut Writer, map: &str, operation: u32, key: Reg, data: Reg) {
    out.text(1, map);
    out.u32(3, operation);
    out.u32(4, reg(key));
    out.u32(5, reg(data));
}

fn immediate_verdict(out: &mut Writer, code: i32, chain: Option<&str>) {
    out.u32(1, abi::REG_VERDICT);
    verdict(out, 2, code, chain);
}
