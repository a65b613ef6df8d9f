//! Where the agent keeps the files of a pod: `<data dir>/pods/<uid>/…`. For the runtime, which mounts some of them, and
//! for messages; the agent's own work goes through [`crate::directory`].

use crate::ids::ContainerName;
use skiff_runtime::PodUid;
use std::path::{Path, PathBuf};

/// The directory of volumes in a pod's directory.
pub(crate) const VOLUMES: &str = "volumes";
/// The directory of termination messages: one directory per container, one file per attempt.
pub(crate) const CONTAINERS: &str = "containers";
/// The directory of logs: one directory per container.
pub(crate) const LOGS: &str = "logs";
/// The pod's `/etc/hosts`.
pub(crate) const HOSTS: &str = "etc-hosts";
/// The pod's `/etc/hostname`.
pub(crate) const HOSTNAME: &str = "etc-hostname";
/// The pod's `/etc/resolv.conf`.
pub(crate) const RESOLV_CONF: &str = "resolv.conf";

/// What a later agent has to know of the pod's resources.
pub(crate) const SIZES: &str = "sizes.json";

/// The directory of one pod.
#[derive(Clone, Debug)]
pub(crate) struct PodPaths {
    pods: PathBuf,
    uid: PodUid,
    root: PathBuf,
}

/// The directory that holds one directory per pod, named by UID.
pub(crate) fn pods_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("pods")
}

/// Name of the log of an attempt; rotated ones have a number behind it.
pub(crate) fn log_name(attempt: u32) -> String {
    format!("{attempt}.log")
}

/// Where a container leaves its termination message, in the pod's directory.
pub(crate) fn message_file(container: &ContainerName, attempt: u32) -> PathBuf {
    Path::new(CONTAINERS).join(container.as_str()).join(attempt.to_string())
}

impl PodPaths {
    /// The files of pod `uid`.
    pub(crate) fn new(data_dir: &Path, uid: &PodUid) -> Self {
        let pods = pods_dir(data_dir);
        Self { root: pods.join(uid.as_str()), uid: uid.clone(), pods }
    }

    /// The pod's UID.
    pub(crate) fn uid(&self) -> &PodUid {
        &self.uid
    }

    /// The directory of all pods.
    pub(crate) fn pods(&self) -> &Path {
        &self.pods
    }

    /// The name of the pod's directory among them.
    pub(crate) fn name(&self) -> &str {
        self.uid.as_str()
    }

    /// The whole directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The directory that holds one directory per volume, named by volume.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join(VOLUMES)
    }

    /// The directory of a volume that the agent makes.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.volumes().join(name)
    }

    /// Where a container leaves its termination message.
    pub(crate) fn termination_message(&self, container: &ContainerName, attempt: u32) -> PathBuf {
        self.root.join(message_file(container, attempt))
    }

    /// The directory of all logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join(LOGS)
    }

    /// The directory of the logs of a container: one file per attempt, rotated ones beside it.
    pub(crate) fn container_logs(&self, container: &ContainerName) -> PathBuf {
        self.logs().join(container.as_str())
    }

    /// The log of one attempt.
    pub(crate) fn log(&self, container: &ContainerName, attempt: u32) -> PathBuf {
        self.container_logs(container).join(log_name(attempt))
    }
}
