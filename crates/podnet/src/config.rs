//! What the pod network of one node is told, and what it answers for a pod.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use crate::NetworkError;

/// The interface that carries the node's own address in the pod CIDR, and the route to the service CIDR.
pub const ANCHOR_INTERFACE: &str = "skiff0";

/// Every host-side pod interface is named with this prefix and the pod's address in eight hexadecimal digits.
pub const POD_INTERFACE_PREFIX: &str = "skiff-";

/// The ranges that one node's pod network works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeNetwork {
    /// This node's share of the cluster CIDR; its pods get addresses from it. The first address is the gateway.
    pub pod_cidr: Ipv4Net,
    /// All pods of all nodes.
    pub cluster_cidr: Ipv4Net,
    /// All Service addresses.
    pub service_cidr: Ipv4Net,
    /// The address under which other machines reach this node.
    pub node_ip: Ipv4Addr,
}

impl NodeNetwork {
    /// The network of some node, for tests.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        Self {
            pod_cidr: "10.244.7.0/24".parse().unwrap(),
            cluster_cidr: "10.244.0.0/16".parse().unwrap(),
            service_cidr: "10.96.0.0/12".parse().unwrap(),
            node_ip: Ipv4Addr::new(192, 0, 2, 1),
        }
    }

    /// The node's own address in the pod CIDR: its first host address. Pods use it as gateway, and connections from
    /// the node to pods come from it.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.pod_cidr.network()).wrapping_add(1))
    }

    /// Refuses ranges that cannot work before anything in the kernel is touched.
    pub(crate) fn check(&self) -> Result<(), NetworkError> {
        if self.pod_cidr.prefix_len() > 30 {
            return Err(NetworkError::TooSmall { range: self.pod_cidr });
        }
        let node_ip = self.node_ip;
        let own = node_ip == self.gateway();
        for (what, range) in [("pod CIDR", self.cluster_cidr), ("service CIDR", self.service_cidr)] {
            if range.contains(&node_ip) && !own {
                return Err(NetworkError::Overlap { what, range, address: node_ip });
            }
        }
        Ok(())
    }
}

/// How a pod is addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodAddress {
    /// The pod's address; stays the same until the pod is detached.
    pub ip: IpAddr,
    /// Prefix length on the pod's interface: always 32, everything else is routed through the node.
    pub prefix: u8,
    /// The pod's default gateway.
    pub gateway: IpAddr,
    /// Bytes, as on the node's uplink.
    pub mtu: u32,
}
