//! The words of the service proxy: addresses with their roles, and what the table in the kernel can say.

use std::{fmt, net::Ipv4Addr, num::NonZeroU16, str::FromStr};

use ipnet::Ipv4Net;

pub use skiff_ports::{NodePort, TargetPort, VirtualPort};

/// A transport protocol that Services know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl Protocol {
    /// By the name that API objects use; an absent protocol means TCP.
    pub fn named(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }

    /// The number in an IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// From the number in an IP header.
    pub fn numbered(number: u8) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|protocol| protocol.number() == number)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// Where clients connect to: a ClusterIP, node or other address of a Service, and a port of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// The destination address before translation.
    pub address: Ipv4Addr,
    /// The destination port before translation, whichever it is of.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

impl Frontend {
    /// At an address of a Service.
    pub fn of_service(address: Ipv4Addr, port: VirtualPort, protocol: Protocol) -> Self {
        Self { address, port: port.number(), protocol }
    }

    /// At an address of the node.
    pub fn of_node(address: Ipv4Addr, port: NodePort, protocol: Protocol) -> Self {
        Self { address, port: port.number(), protocol }
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.address, self.port, self.protocol)
    }
}

/// Where connections go: an address and port of a pod, or of whatever a slice names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The destination address after translation.
    pub address: Ipv4Addr,
    /// The destination port after translation.
    pub port: TargetPort,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.address, self.port)
    }
}

/// The name of a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name in the namespace.
    pub name: Box<str>,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The name of a pod of this node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodName {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name in the namespace.
    pub name: Box<str>,
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Who asks for something of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A Service, for its endpoints.
    Service(ServiceName),
    /// A pod of this node, for its ports of the node.
    Pod(PodName),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "Service {name}"),
            Self::Pod(name) => write!(f, "pod {name}"),
        }
    }
}

/// Which of the two endpoint lists of a frontend a rule draws from. They share one map, at different positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pool {
    /// For everybody, or for the cluster's own clients when there is an outside list.
    Inside,
    /// For clients from outside under `externalTrafficPolicy: Local`.
    Outside,
}

impl Pool {
    /// The first position of the list.
    pub fn offset(self) -> u32 {
        match self {
            Self::Inside => 0,
            Self::Outside => 0x1_0000,
        }
    }

    /// The list to which a position belongs.
    pub fn of(slot: u32) -> Self {
        if slot < Self::Outside.offset() { Self::Inside } else { Self::Outside }
    }
}

/// A random choice among the first `count` endpoints of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Balance {
    /// How many endpoints there are.
    pub count: NonZeroU16,
    /// In which list.
    pub pool: Pool,
    /// Seconds for which a client stays with its endpoint.
    pub sticky: Option<u32>,
}

/// What happens to a new connection to a frontend. Its text form is the name of the shared chain that does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Refused at once.
    Reject,
    /// Ignored.
    Drop,
    /// Looked at by where it comes from; what meets the clients that are allowed is with [`Element::Guarded`].
    Guard,
    /// Sent to an endpoint.
    Balance(Balance),
    /// The cluster's own clients and the node go one way, all others another; `None` ignores them.
    Split {
        /// For pods and the node itself.
        inside: Balance,
        /// For everybody else.
        outside: Option<Balance>,
    },
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pool = match self.pool {
            Pool::Inside => 'n',
            Pool::Outside => 'o',
        };
        write!(f, "{pool}{}", self.count)?;
        self.sticky.map_or(Ok(()), |seconds| write!(f, "-{seconds}"))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reject => f.write_str("refuse"),
            Self::Drop => f.write_str("drop"),
            Self::Guard => f.write_str("guard"),
            Self::Balance(balance) => balance.fmt(f),
            Self::Split { inside, outside: Some(outside) } => write!(f, "split.{inside}.{outside}"),
            Self::Split { inside, outside: None } => write!(f, "split.{inside}.drop"),
        }
    }
}

/// A chain name that is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a verdict")]
pub struct NotAVerdict(String);

impl FromStr for Balance {
    type Err = NotAVerdict;

    fn from_str(text: &str) -> Result<Self, NotAVerdict> {
        let wrong = || NotAVerdict(text.to_owned());
        let (pool, rest) = match (text.strip_prefix('n'), text.strip_prefix('o')) {
            (Some(rest), _) => (Pool::Inside, rest),
            (_, Some(rest)) => (Pool::Outside, rest),
            _ => return Err(wrong()),
        };
        let (count, sticky) = match rest.split_once('-') {
            Some((count, seconds)) => (count, Some(seconds.parse().map_err(|_| wrong())?)),
            None => (rest, None),
        };
        Ok(Self { count: count.parse().map_err(|_| wrong())?, pool, sticky })
    }
}

impl FromStr for Verdict {
    type Err = NotAVerdict;

    fn from_str(text: &str) -> Result<Self, NotAVerdict> {
        match text {
            "refuse" => return Ok(Self::Reject),
            "drop" => return Ok(Self::Drop),
            "guard" => return Ok(Self::Guard),
            _ => {}
        }
        let Some(both) = text.strip_prefix("split.") else { return text.parse().map(Self::Balance) };
        let (inside, outside) = both.split_once('.').ok_or_else(|| NotAVerdict(text.to_owned()))?;
        let outside = if outside == "drop" { None } else { Some(outside.parse()?) };
        Ok(Self::Split { inside: inside.parse()?, outside })
    }
}

/// One element of one map or set in the kernel. The kernel's state is exactly a set of these, apart from a fixed set of
/// rules that refers to the maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// An allocated ClusterIP: what is not served there is refused.
    Address(Ipv4Addr),
    /// What to do with connections to a frontend.
    Service(Frontend, Verdict),
    /// The endpoint at a position of a frontend's lists.
    Endpoint(Frontend, u32, Endpoint),
    /// Connections to this frontend get the node's address as source.
    Masquerade(Frontend),
    /// The client memory of a Service port that a frontend uses.
    AffinityId(Frontend, u32),
    /// An endpoint with which a remembered client may stay.
    AffinityEndpoint(Frontend, Endpoint),
    /// What to do with connections to a frontend of clients that it allows.
    Guarded(Frontend, Verdict),
    /// Clients that do.
    Allowed(Frontend, Ipv4Net),
}

impl Element {
    /// What the element belongs to.
    pub fn key(&self) -> Key {
        match *self {
            Self::Address(address) => Key::Address(address),
            Self::Service(frontend, _)
            | Self::Endpoint(frontend, ..)
            | Self::Masquerade(frontend)
            | Self::AffinityId(frontend, _)
            | Self::AffinityEndpoint(frontend, _)
            | Self::Guarded(frontend, _)
            | Self::Allowed(frontend, _) => Key::Frontend(frontend),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "address {address}"),
            Self::Service(frontend, verdict) => write!(f, "service {frontend} {verdict}"),
            Self::Endpoint(frontend, slot, endpoint) => write!(f, "endpoint {frontend} {slot} {endpoint}"),
            Self::Masquerade(frontend) => write!(f, "masquerade {frontend}"),
            Self::AffinityId(frontend, id) => write!(f, "affinity {frontend} {id:08x}"),
            Self::AffinityEndpoint(frontend, endpoint) => write!(f, "sticky {frontend} {endpoint}"),
            Self::Guarded(frontend, verdict) => write!(f, "guarded {frontend} {verdict}"),
            Self::Allowed(frontend, clients) => write!(f, "allowed {frontend} {clients}"),
        }
    }
}

/// What one Service owns at a time: an address or a frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A ClusterIP.
    Address(Ipv4Addr),
    /// A frontend.
    Frontend(Frontend),
}

impl Key {
    /// The frontend, if it is one.
    pub fn frontend(&self) -> Option<Frontend> {
        if let Self::Frontend(frontend) = self { Some(*frontend) } else { None }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Frontend(frontend) => frontend.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_known_again_by_their_chain() {
        for name in ["refuse", "drop", "guard", "n1", "n5-10800", "o3", "split.n5.o2", "split.n5-60.drop"] {
            assert_eq!(name.parse::<Verdict>().unwrap().to_string(), name);
        }
        for name in ["", "n0", "n", "x3", "split.n5", "split.drop.n5", "n70000", "prerouting"] {
            assert!(name.parse::<Verdict>().is_err(), "{name}");
        }
    }
}
