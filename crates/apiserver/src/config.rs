//! What an API server is started with.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::Ipv4Net;
use skiff_listener::Checks;
use skiff_machinery::{Catalogue, ClusterFacts, NodePorts};
use skiff_pki::Pki;
use skiff_registry::Plugins;
use skiff_store::Store;

use crate::access::{Authentication, Authorization};
use crate::audit::AuditConfig;
use crate::build_info::BuildInfo;
use crate::extension::Extension;
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
    /// The admission plugins that are on, and what they are configured with.
    pub plugins: Plugins,
    /// Who may come in.
    pub authentication: Authentication,
    /// Who decides what users may do.
    pub authorization: Authorization,
    /// What is written down of requests; none: nothing.
    pub audit: Option<AuditConfig>,
    /// What `/version` says.
    pub build: BuildInfo,
    /// What `/metrics` says besides the server's own numbers, in Prometheus' text format.
    pub more_metrics: fn() -> String,
    /// Versions of the API that other parts of this program serve.
    pub extensions: Vec<Arc<dyn Extension>>,
}

/// Facts of a cluster that are fixed when it is made.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Range of Service addresses.
    pub service_cidr: Ipv4Net,
    /// Range of pod addresses, of which each node gets a part.
    pub pod_cidr: Ipv4Net,
    /// DNS zone, e.g. `cluster.local`.
    pub domain: String,
    /// Where other machines and pods reach this API server.
    pub advertise_address: IpAddr,
    /// TCP port of the API.
    pub port: u16,
    /// Node ports handed out.
    pub node_ports: NodePorts,
}

impl ClusterConfig {
    /// The usual ranges and ports, for an API server at `advertise_address`.
    pub fn new(advertise_address: IpAddr) -> Self {
        Self {
            service_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 12),
            pod_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16),
            domain: "cluster.local".to_owned(),
            advertise_address,
            port: 6443,
            node_ports: NodePorts::USUAL,
        }
    }

    /// The part that strategies know.
    pub fn facts(&self) -> ClusterFacts {
        ClusterFacts { domain: self.domain.clone(), node_ports: self.node_ports }
    }
}
