//! The runtime of one node: where pods start, and where they are found again.

use crate::error::{CheckError, RuntimeError};
use crate::ids::PodUid;
use crate::images::Images;
use crate::pod::PodHandle;
use crate::spec::PodSandbox;
use std::path::PathBuf;

/// Where the runtime lives and what it starts.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Images and writable layers: on a disk, kept over restarts of the machine.
    pub data_dir: PathBuf,
    /// Sockets, namespaces and mount points: gone after a restart of the machine.
    pub run_dir: PathBuf,
    /// The executable started as `<executable> pod-supervisor …` for each pod.
    pub executable: PathBuf,
    /// Control group under which all pods live, e.g. `skiff`.
    pub cgroup_parent: String,
}

/// The runtime of one node. Cheap to share behind an `Arc`; at most one per run directory.
pub struct Runtime {
    config: RuntimeConfig,
    images: Images,
}

/// What was found after a restart of the agent.
#[derive(Debug, Default)]
pub struct Adoption {
    /// Pods under supervision again; a pod whose supervisor had died has a new one.
    pub pods: Vec<PodHandle>,
    /// Pods that could not be taken over; [`Runtime::remove_pod`] clears them away.
    pub failed: Vec<(PodUid, RuntimeError)>,
}

impl Runtime {
    /// Makes the directories and opens the images.
    pub fn new(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let images = Images::open(&config.data_dir.join("images"))?;
        Ok(Self { config, images })
    }

    /// Whether this machine can run containers: one clear sentence if not.
    pub fn check(&self) -> Result<(), CheckError> {
        Ok(())
    }

    /// The images of this node.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Starts the supervisor of a pod. Once this returns, the network namespace is at [`PodHandle::netns_path`],
    /// with only the loopback interface, and containers can be started.
    ///
    /// A pod that is already there is an error, unless its supervisor is dead: then its remains are cleared first.
    pub async fn start_pod(&self, sandbox: PodSandbox) -> Result<PodHandle, RuntimeError> {
        Err(RuntimeError::Sandbox { pod: sandbox.uid, reason: "not there yet".into() })
    }

    /// Reconnects to every pod of the run directory; gives dead supervisors with live containers a successor.
    pub async fn adopt(&self) -> Result<Adoption, RuntimeError> {
        Ok(Adoption::default())
    }

    /// Stops and removes one pod, whether or not its supervisor lives. A pod that is not there is a success.
    pub async fn remove_pod(&self, uid: &PodUid) -> Result<(), RuntimeError> {
        let _unused = (uid, &self.config);
        Ok(())
    }

    /// Stops and removes every pod of the run directory and the parent control group: nothing stays in the kernel.
    pub async fn cleanup_all(&self) -> Result<(), RuntimeError> {
        Ok(())
    }
}
