//! What an API server is started with.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use skiff_listener::Checks;
use skiff_machinery::{Catalogue, ClusterFacts};
use skiff_pki::Pki;
use skiff_store::Store;
use thiserror::Error;

use crate::build_info::BuildInfo;
use crate::limits::Limits;

/// Everything an API server needs.
pub struct Config {
    /// Where objects are kept.
    pub store: Arc<dyn Store>,
    /// The kinds on offer.
    pub catalogue: Arc<Catalogue>,
    /// Keys and certificates of the cluster.
    pub pki: Arc<Pki>,
    /// Facts of the cluster.
    pub cluster: ClusterConfig,
    /// What `/livez` and `/readyz` say; parts may be added later.
    pub checks: Checks,
    /// What clients may cost.
    pub limits: Limits,
    /// What `/version` says.
    pub build: BuildInfo,
    /// What `/metrics` says besides the server's own numbers, in Prometheus' text format.
    pub more_metrics: fn() -> String,
}

/// Facts of a cluster that are fixed when it is made.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Range of Service addresses.
    pub service_cidr: Cidr,
    /// Range of pod addresses, of which each node gets a part.
    pub pod_cidr: Cidr,
    /// DNS zone, e.g. `cluster.local`.
    pub domain: String,
    /// Where other machines and pods reach this API server.
    pub advertise_address: IpAddr,
    /// TCP port of the API.
    pub port: u16,
    /// Node ports handed out, inclusive.
    pub node_ports: (u16, u16),
}

impl ClusterConfig {
    /// The usual ranges and ports, for an API server at `advertise_address`.
    pub fn new(advertise_address: IpAddr) -> Self {
        Self {
            service_cidr: Cidr { network: IpAddr::from([10, 96, 0, 0]), prefix: 12 },
            pod_cidr: Cidr { network: IpAddr::from([10, 244, 0, 0]), prefix: 16 },
            domain: "cluster.local".to_owned(),
            advertise_address,
            port: 6443,
            node_ports: (30000, 32767),
        }
    }

    /// The part that strategies know.
    pub fn facts(&self) -> ClusterFacts {
        ClusterFacts { domain: self.domain.clone(), node_ports: self.node_ports }
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// First address of the range.
    pub network: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// Text that is no range of addresses.
#[derive(Debug, Error)]
#[error("{0:?} is not a range of addresses such as 10.96.0.0/12")]
pub struct CidrError(String);

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let parse = || {
            let (network, prefix) = text.split_once('/')?;
            let network: IpAddr = network.parse().ok()?;
            let prefix: u8 = prefix.parse().ok()?;
            let bits = if network.is_ipv4() { 32 } else { 128 };
            (prefix <= bits).then_some(Self { network, prefix })
        };
        parse().ok_or_else(|| CidrError(text.to_owned()))
    }
}
