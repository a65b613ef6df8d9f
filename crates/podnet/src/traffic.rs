//! What went through the interfaces of the node and of its pods, as the kernel counts it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, Stats64};
use skiff_ordered::Ordered as _;

use crate::{
    NetworkError, PodNetwork, netlink,
    network::{interface_name, is_ours},
    uplink,
};

/// What an interface has received and sent since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// What came in.
    pub received: Flow,
    /// What went out.
    pub sent: Flow,
}

/// One direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that were broken or could not be sent.
    pub errors: u64,
    /// Packets for which there was no room.
    pub dropped: u64,
}

/// The traffic of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// The interface by which the default route leads, if there is one.
    pub uplink: Option<String>,
    /// The node's own interfaces by name, without loopback and without what pods are connected by.
    pub node: BTreeMap<String, Counters>,
    /// Each pod with an address, by UID, as the pod itself would count.
    pub pods: BTreeMap<String, Counters>,
}

impl PodNetwork {
    /// What all interfaces have seen so far; two questions to the kernel however many pods there are. Must be called in the
    /// node's network namespace.
    pub async fn traffic(&self) -> Result<Traffic, NetworkError> {
        let uplink = uplink::index(self.netlink()).await?;
        let links = self.netlink().links().await?;
        let by_index = |index| links.iter().find(|link| link.header.index == index).and_then(netlink::name);
        let addresses = self.existing_v4();
        Ok(Traffic { uplink: uplink.and_then(by_index).map(str::to_owned), ..sort(&links, &addresses) })
    }
}

/// Who each interface belongs to.
fn sort(links: &[LinkMessage], pods: &BTreeMap<String, Ipv4Addr>) -> Traffic {
    let named: BTreeMap<&str, &LinkMessage> =
        links.iter().filter_map(|link| Some((netlink::name(link)?, link))).to_map();
    let own =
        named.iter().filter(|(_, link)| !link.header.flags.contains(LinkFlags::Loopback) && !is_ours(link));
    let node = own.filter_map(|(name, link)| Some(((*name).to_owned(), counters(link)?))).collect();
    let of_pod = |ip: Ipv4Addr| counters(named.get(interface_name(ip).as_str())?).map(Counters::of_other_end);
    let pods = pods.iter().filter_map(|(uid, ip)| Some((uid.clone(), of_pod(*ip)?))).collect();
    Traffic { uplink: None, node, pods }
}

impl Counters {
    /// What the other end of a pair received is what this one sent.
    fn of_other_end(self) -> Self {
        Self { received: self.sent, sent: self.received }
    }
}

fn counters(link: &LinkMessage) -> Option<Counters> {
    let stats: &Stats64 = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Stats64(stats) => Some(stats),
        _ => None,
    })?;
    let flow = |bytes, packets, errors, dropped| Flow { bytes, packets, errors, dropped };
    Some(Counters {
        received: flow(stats.rx_bytes, stats.rx_packets, stats.rx_errors, stats.rx_dropped),
        sent: flow(stats.tx_bytes, stats.tx_packets, stats.tx_errors, stats.tx_dropped),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, flags: LinkFlags, received: u64, sent: u64) -> LinkMessage {
        let mut stats = Stats64::default();
        (stats.rx_bytes, stats.tx_bytes) = (received, sent);
        let mut link = LinkMessage::default();
        link.header.flags = flags;
        link.attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::Stats64(stats)];
        link
    }

    #[test]
    fn a_pod_sent_what_its_other_end_received() {
        let links = [
            link("lo", LinkFlags::Loopback, 1, 1),
            link("eth0", LinkFlags::Up, 10, 20),
            link("skiff0", LinkFlags::Up, 1, 1),
            link("skiff-0af40005", LinkFlags::Up, 300, 400),
            link("skiff-0af40006", LinkFlags::Up, 5, 6),
        ];
        let pods =
            [("a".to_owned(), Ipv4Addr::new(10, 244, 0, 5)), ("b".to_owned(), Ipv4Addr::new(10, 244, 0, 9))];
        let Traffic { node, pods, .. } = sort(&links, &pods.into());
        let bytes = |of: &Counters| (of.received.bytes, of.sent.bytes);
        assert_eq!(
            node.iter().map(|(name, of)| (name.as_str(), bytes(of))).collect::<Vec<_>>(),
            [("eth0", (10, 20))]
        );
        assert_eq!(
            pods.iter().map(|(uid, of)| (uid.as_str(), bytes(of))).collect::<Vec<_>>(),
            [("a", (400, 300))]
        );
    }
}
