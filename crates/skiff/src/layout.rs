//! Where a cluster's files are (`docs/files.md` describes all of them).

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The two directories of a cluster and the files in them. The data directory survives reboots, the run
/// directory need not.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    data: PathBuf,
    run: PathBuf,
}

impl Layout {
    pub(crate) fn new(data: PathBuf, run: PathBuf) -> Self {
        Self { data, run }
    }

    /// Makes the directories, for root alone: they hold keys and secrets.
    pub(crate) fn create(&self) -> anyhow::Result<()> {
        for directory in [self.data.clone(), self.run.clone(), self.data.join("store")] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            made.with_context(|| format!("make {}", directory.display()))?;
        }
        Ok(())
    }

    /// Objects, images, pods, keys.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Sockets, namespaces, process records.
    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    /// The store's file.
    pub(crate) fn store(&self) -> PathBuf {
        self.data.join("store/state.redb")
    }

    /// Keys and certificates.
    pub(crate) fn pki(&self) -> PathBuf {
        self.data.join("pki")
    }

    /// Kubeconfig of the administrator, for tools on this machine.
    pub(crate) fn admin_kubeconfig(&self) -> PathBuf {
        self.data.join("admin.kubeconfig")
    }

    /// What the background server writes.
    pub(crate) fn log(&self) -> PathBuf {
        self.data.join("server.log")
    }

    /// Which process is an agent beside the server; locked by it while it runs.
    pub(crate) fn agent_record(&self) -> PathBuf {
        self.run.join("agent.json")
    }

    /// Addresses of pods; there once the node has begun to make its network.
    pub(crate) fn network(&self) -> PathBuf {
        self.run.join("network")
    }

    /// Which process is the server; locked by it while it runs.
    pub(crate) fn server_record(&self) -> PathBuf {
        self.run.join("server.json")
    }
}
