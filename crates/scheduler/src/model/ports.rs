//! Ports that pods take on their nodes.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::PodSpec;
use skiff_ports::NodePort;

/// A port that a pod takes on its node. `None` is every address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    /// The node's address the port is taken on.
    pub address: Option<IpAddr>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The port on the node.
    pub port: NodePort,
}

impl HostPort {
    /// Whether both cannot be on one node.
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        let same_address = self.address.is_none() || other.address.is_none() || self.address == other.address;
        self.port == other.port && self.protocol == other.protocol && same_address
    }
}

pub(super) fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let taken = ports.filter_map(|port| {
        let address = port.host_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok());
        Some(HostPort {
            address: address.filter(|address| !address.is_unspecified()),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
            port: port.host_port.and_then(NodePort::of)?,
        })
    });
    taken.collect()
}
