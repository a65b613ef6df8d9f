//! Where the agent keeps the files of a pod: `<data dir>/pods/<uid>/…`.

use crate::ids::ContainerName;
use skiff_runtime::PodUid;
use std::path::{Path, PathBuf};

/// The directory of one pod.
#[derive(Clone, Debug)]
pub(crate) struct PodPaths(PathBuf);

/// The directory that holds one directory per pod, named by UID.
pub(crate) fn pods_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("pods")
}

impl PodPaths {
    /// The files of pod `uid`.
    pub(crate) fn new(data_dir: &Path, uid: &PodUid) -> Self {
        Self(pods_dir(data_dir).join(uid.as_str()))
    }

    /// The whole directory.
    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    /// The directory that holds one directory per volume, named by volume.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.0.join("volumes")
    }

    /// The directory of a volume that the agent makes.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.volumes().join(name)
    }

    /// The pod's `/etc/hosts`.
    pub(crate) fn hosts(&self) -> PathBuf {
        self.0.join("etc-hosts")
    }

    /// The pod's `/etc/hostname`.
    pub(crate) fn hostname(&self) -> PathBuf {
        self.0.join("etc-hostname")
    }

    /// The pod's `/etc/resolv.conf`.
    pub(crate) fn resolv_conf(&self) -> PathBuf {
        self.0.join("resolv.conf")
    }

    /// Where a container leaves its termination message.
    pub(crate) fn termination_message(&self, container: &ContainerName, attempt: u32) -> PathBuf {
        self.0.join("containers").join(container.as_str()).join(attempt.to_string())
    }

    /// The directory of all logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The directory of the logs of a container: one file per attempt, rotated ones beside it.
    pub(crate) fn container_logs(&self, container: &ContainerName) -> PathBuf {
        self.logs().join(container.as_str())
    }

    /// The log of one attempt.
    pub(crate) fn log(&self, container: &ContainerName, attempt: u32) -> PathBuf {
        self.container_logs(container).join(format!("{attempt}.log"))
    }
}
