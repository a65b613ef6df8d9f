//! What is measured: an API server on a host.

use std::path::PathBuf;

use skiff_tests::{Cluster, Host};

/// An API server that runs.
pub(crate) trait ApiServer {
    /// Where it runs.
    fn host(&self) -> &Host;

    /// How its administrator reaches it.
    fn kubeconfig(&self) -> PathBuf;

    /// The names of its processes.
    fn processes(&self) -> &'static [&'static str];
}

impl ApiServer for Cluster {
    fn host(&self) -> &Host {
        Self::host(self)
    }

    fn kubeconfig(&self) -> PathBuf {
        Self::kubeconfig(self)
    }

    fn processes(&self) -> &'static [&'static str] {
        &["skiff"]
    }
}
