//! What is: the observed state of a pod and its containers, as the supervisor reports it.

use crate::ids::{ContainerId, ImageId};
use crate::spec::UserSpec;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything a supervisor knows about its pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodState {
    /// Containers in the order they were started, also those that ended, until they are removed.
    pub containers: Vec<ContainerState>,
    /// False once the supervisor is gone; the rest is then the last that was heard.
    pub supervised: bool,
}

impl PodState {
    /// The container with this identity.
    pub fn container(&self, id: &ContainerId) -> Option<&ContainerState> {
        self.containers.iter().find(|c| c.id == *id)
    }
}

/// One run of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Identity of this run.
    pub id: ContainerId,
    /// Name within the pod.
    pub name: String,
    /// How many runs of this name came before.
    pub attempt: u32,
    /// Image it was made from.
    pub image: ImageId,
    /// The image as the user wrote it.
    pub image_ref: String,
    /// Log file.
    pub log_path: PathBuf,
    /// Where it is in its life.
    pub status: ContainerStatus,
    /// Whether it has a terminal.
    pub tty: bool,
    /// User and groups its first process starts with.
    #[serde(default)]
    pub user: UserSpec,
    /// The labels of its [`crate::ContainerSpec`].
    pub labels: BTreeMap<String, String>,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerStatus {
    /// Being made; its process does not run yet.
    Created,
    /// Its process runs.
    Running {
        /// Process ID in the node's namespace.
        pid: i32,
        /// When the process was let go.
        started_at: Timestamp,
    },
    /// Its process ended.
    Exited {
        /// Exit code; 128 + signal when a signal ended it.
        code: i32,
        /// The signal that ended it.
        signal: Option<i32>,
        /// Whether the kernel killed a process of it for want of memory.
        oom_killed: bool,
        /// When the process was let go.
        started_at: Timestamp,
        /// When its end was seen.
        finished_at: Timestamp,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// What one control group uses: a container's, a pod's or the whole machine's. What the kernel does not tell is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time so far, in nanoseconds.
    pub cpu_nanos: Option<u64>,
    /// How often a limit of CPU time held it up.
    pub throttling: Option<Throttling>,
    /// Bytes of memory charged.
    pub memory_bytes: Option<u64>,
    /// Bytes of memory charged without inactive file pages.
    pub working_set_bytes: Option<u64>,
    /// Bytes of memory that no file stands for.
    pub rss_bytes: Option<u64>,
    /// Bytes of file pages.
    pub cache_bytes: Option<u64>,
    /// Bytes in swap.
    pub swap_bytes: Option<u64>,
    /// Page faults so far.
    pub page_faults: Option<u64>,
    /// Those of them that waited for a disk.
    pub major_page_faults: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
}

/// What a limit of CPU time did to a group so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Periods in which the group wanted to run.
    pub periods: u64,
    /// Those in which its time ran out.
    pub throttled: u64,
    /// Nanoseconds that it had to wait.
    pub nanos: u64,
}

/// What a pod uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodStats {
    /// The pod's control group below each tree; those of its containers lie in it, named by ID.
    pub group: String,
    /// The pod, without its supervisor.
    pub pod: Usage,
    /// Processes in the pod.
    pub processes: u64,
    /// Each running container.
    pub containers: Vec<(ContainerId, Usage)>,
}
