//! What the agent is told when it starts.

use crate::EvictionHard;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Configuration of a node agent.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Name of the Node object.
    pub node_name: String,
    /// Address under which other machines reach this node; found out when absent.
    pub node_ip: Option<Ipv4Addr>,
    /// Labels of the Node besides host name, operating system and architecture.
    pub node_labels: BTreeMap<String, String>,
    /// Directory kept over restarts of the machine; the agent uses `pods` in it.
    pub data_dir: PathBuf,
    /// Directory that is empty after a restart of the machine; the pod network uses `network` in it.
    pub run_dir: PathBuf,
    /// Address of the cluster DNS Service.
    pub cluster_dns: IpAddr,
    /// The cluster's DNS domain, e.g. `cluster.local`.
    pub cluster_domain: String,
    /// The node's own resolver configuration, usually `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// Addresses of all pods of the cluster, e.g. `10.244.0.0/16`.
    pub cluster_cidr: ipnet::Ipv4Net,
    /// Addresses of all Services, e.g. `10.96.0.0/12`.
    pub service_cidr: ipnet::Ipv4Net,
    /// Where the kubelet API listens, e.g. `0.0.0.0:10250`.
    pub listen: SocketAddr,
    /// Serving certificate and key of the kubelet API and the authority of its clients.
    pub tls: std::sync::Arc<dyn ServingTls>,
    /// How little may be left on the node's disk before it takes no more pods.
    pub eviction_hard: EvictionHard,
    /// Most pods on this node.
    pub max_pods: u32,
    /// skiff's own version, without `v`.
    pub version: String,
    /// The Kubernetes version that is announced, with `v`, e.g. `v1.36.0`.
    pub kubernetes_version: String,
}

/// Where the kubelet API gets its TLS settings from.
pub trait ServingTls: std::fmt::Debug + Send + Sync {
    /// The settings for the next connection: the current serving certificate, and client certificates of the
    /// cluster's authority verified but optional. Asked once per connection, so that renewed certificates are used
    /// without a restart.
    fn server_config(&self) -> std::sync::Arc<rustls::ServerConfig>;
}

impl ServingTls for std::sync::Arc<rustls::ServerConfig> {
    fn server_config(&self) -> std::sync::Arc<rustls::ServerConfig> {
        self.clone()
    }
}
