//! The service proxy of one node: Services and their endpoints become elements of one nftables table.
//!
//! Data flows one way, and everything before the kernel is pure:
//!
//! ```text
//! Service, EndpointSlice → objects → select → table → ledger (plan) → ops → kernel
//! ```
//!
//! Two facts shaped this crate:
//!
//! * **A Service is only map elements.** The rules are fixed and few; a change of one endpoint is a change of one element,
//!   however many Services there are.
//! * **The kernel is the memory.** After a restart the elements are read back and compared; what is right already is
//!   never touched, and traffic goes on meanwhile. What another program takes away is heard of, and put back.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

mod checks;
mod compare;
mod guard;
pub mod kernel;
pub mod ledger;
pub mod model;
pub mod objects;
pub mod plan;
mod run;
pub mod select;
pub mod table;
mod view;

pub use checks::Check;
pub use compare::{CompareError, differences};
pub use run::{Health, ProxyError, examine, run, run_reporting, teardown};

/// What the proxy of a node is told. The node's pod CIDR is not among it: that comes with the Node object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyConfig {
    /// The name of this node, for local endpoints and topology hints.
    pub node_name: String,
    /// Addresses at which node ports are served.
    pub node_ips: Vec<Ipv4Addr>,
    /// All pods of all nodes.
    pub cluster_cidr: Ipv4Net,
    /// All ClusterIPs.
    pub service_cidr: Ipv4Net,
}
