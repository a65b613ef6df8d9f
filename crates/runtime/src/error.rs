//! What can go wrong with pods and containers. Each error names the object and carries its cause.

use crate::ids::{ContainerId, PodUid};
use crate::images::ImageError;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A failed operation on a pod or container.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The sandbox could not be made: nothing of the pod runs.
    #[error("failed to create sandbox of pod {pod}: {reason}")]
    Sandbox {
        /// The pod.
        pod: PodUid,
        /// What the supervisor said.
        reason: String,
    },
    /// The container could not be made (image, mounts, limits): `CreateContainerError`.
    #[error("failed to create container {container:?} of pod {pod}: {reason}")]
    Create {
        /// The pod.
        pod: PodUid,
        /// Name of the container.
        container: String,
        /// What went wrong.
        reason: String,
    },
    /// The container was made but its command could not be run: `StartError`, exit code 128.
    #[error("failed to start container {container:?} of pod {pod}: {reason}")]
    Start {
        /// The pod.
        pod: PodUid,
        /// Name of the container.
        container: String,
        /// What went wrong, e.g. `exec: "foo": executable file not found in $PATH`.
        reason: String,
    },
    /// The container's start hung and was given up: `RunContainerError`. Nothing is left of it, unless the kernel still holds
    /// one of its processes.
    #[error("failed to run container {container:?} of pod {pod}: {reason}")]
    Hung {
        /// The pod.
        pod: PodUid,
        /// Name of the container.
        container: String,
        /// `context deadline exceeded`, and what it hung in.
        reason: String,
    },
    /// A command could not be run inside a container.
    #[error("failed to exec in container {container}: {reason}")]
    Exec {
        /// The container.
        container: ContainerId,
        /// What went wrong.
        reason: String,
    },
    /// A command ran longer than allowed and was killed.
    #[error("command {command:?} timed out after {limit:?}")]
    Timeout {
        /// Command line, joined by spaces.
        command: String,
        /// The bound.
        limit: Duration,
    },
    /// There is no such container in the pod.
    #[error("container {container} not found in pod {pod}")]
    NoContainer {
        /// The pod.
        pod: PodUid,
        /// The container.
        container: ContainerId,
    },
    /// The container does not run.
    #[error("container {container} is not running")]
    NotRunning {
        /// The container.
        container: ContainerId,
    },
    /// The supervisor of the pod refused a request for another reason.
    #[error("supervisor of pod {pod}: {reason}")]
    Refused {
        /// The pod.
        pod: PodUid,
        /// What it said.
        reason: String,
    },
    /// The supervisor of the pod cannot be reached. [`crate::Runtime::adopt`] brings a new one.
    #[error("supervisor of pod {pod} is gone: {source}")]
    SupervisorGone {
        /// The pod.
        pod: PodUid,
        /// The cause.
        source: std::io::Error,
    },
    /// The supervisor of the pod hung and was ended. Its successor can be asked; what was asked for may have been done.
    #[error("supervisor of pod {pod} did not answer within {limit:?}; another takes its place, try again")]
    NoAnswer {
        /// The pod.
        pod: PodUid,
        /// The bound.
        limit: Duration,
    },
    /// The pod's limits could not be changed, or not all of them. Trying again is safe.
    #[error("{reason}")]
    Resize {
        /// The pod.
        pod: PodUid,
        /// What went wrong.
        reason: String,
    },
    /// Something of the pod could not be removed. Trying again is safe.
    #[error("failed to clean up pod {pod}: {reason}")]
    Cleanup {
        /// The pod.
        pod: PodUid,
        /// Everything that stayed behind and why.
        reason: String,
    },
    /// A signal's name is not known.
    #[error("unknown signal {name:?}")]
    UnknownSignal {
        /// The name.
        name: String,
    },
    /// The control groups that pods share could not be made or weighted.
    #[error("{reason}")]
    Cgroups {
        /// What was tried on which group, and the cause.
        reason: String,
    },
    /// A file or directory of the runtime.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried, e.g. `create`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The container's image.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl RuntimeError {
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<std::io::Error>) -> Self {
        Self::Io { action, path: path.to_owned(), source: source.into() }
    }
}

/// Why this machine cannot run containers, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Not the superuser.
    #[error("containers need root: run skiff as root (now user {uid})")]
    NotRoot {
        /// Effective user ID.
        uid: u32,
    },
    /// No usable control groups.
    #[error("control groups are not usable: {reason}")]
    Cgroups {
        /// What is missing and how to get it.
        reason: String,
    },
    /// No overlay file system.
    #[error(
        "the kernel has no overlay file system (CONFIG_OVERLAY_FS), and its module `overlay` cannot be loaded: `modprobe \
         overlay` says why"
    )]
    NoOverlay,
    /// Pods cannot have user namespaces; others run.
    #[error("{reason}")]
    NoUsers {
        /// What is missing and how to get it.
        reason: String,
    },
    /// The data directory cannot hold writable layers.
    #[error("{} cannot hold container layers: {reason}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What is wrong and how to mend it.
        reason: String,
    },
}
