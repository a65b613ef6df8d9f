//! Why the agent cannot go on.

use std::net::SocketAddr;

/// A failure that ends the agent; everything else is retried or reported on the object it concerns.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The API refuses this node.
    #[error("cannot register node {node:?}")]
    Register {
        /// Name of the node.
        node: String,
        /// The API's answer.
        source: Box<kube::Error>,
    },
    /// The API gave the node a pod range that is none.
    #[error("node {node:?} was given the pod CIDR {cidr:?}, which is not an IPv4 range")]
    PodCidr {
        /// Name of the node.
        node: String,
        /// The text of `spec.podCIDR`.
        cidr: String,
    },
    /// The pod network cannot be set up.
    #[error("cannot set up the pod network")]
    Network(#[from] skiff_podnet::NetworkError),
    /// The kubelet API cannot listen.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The pods that run already cannot be taken over.
    #[error("cannot take over running pods")]
    Adopt(#[source] Box<skiff_runtime::RuntimeError>),
    /// The agent's directory cannot be made.
    #[error("cannot make {path}")]
    Directory {
        /// The directory.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
}
