//! What a pod and its containers should be: plain data, written by the node agent, read by the supervisor.

use crate::ids::{ContainerId, IdRange, ImageId, PodUid};
use serde::{Deserialize, Serialize};
use skiff_rooted::Kind;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One pod's sandbox: namespaces, limits and the place of its logs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodSandbox {
    /// Identity of the pod.
    pub uid: PodUid,
    /// Namespace of the pod, for messages only.
    pub namespace: String,
    /// Name of the pod, for messages only.
    pub name: String,
    /// Host name inside the pod, also given as `HOSTNAME`. With `host_network` the node's is seen and only the variable
    /// is set.
    pub hostname: String,
    /// Use the node's network (and UTS) namespace.
    #[serde(default)]
    pub host_network: bool,
    /// Use the node's process namespace for every container.
    #[serde(default)]
    pub host_pid: bool,
    /// Use the node's IPC namespace.
    #[serde(default)]
    pub host_ipc: bool,
    /// A user namespace of its own, which has these IDs of the node; `None` for the node's. Not together with anything
    /// else of the node's above.
    #[serde(default)]
    pub users: Option<IdRange>,
    /// Namespaced kernel parameters (`net.*`, `kernel.shm*`, `fs.mqueue.*`, …), by dotted name.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// One process namespace for all containers, with a process of ours as its first.
    #[serde(default)]
    pub share_pids: bool,
    /// Which pods it shares CPU time with.
    #[serde(default)]
    pub class: ServiceClass,
    /// Limits of the whole pod.
    #[serde(default)]
    pub resources: Option<Resources>,
    /// Directory of the containers' logs; made when missing, never removed by the runtime.
    pub log_dir: PathBuf,
}

impl PodSandbox {
    /// The ID on the node of a user or group of the pod; `None` for one that its user namespace does not have.
    pub(crate) fn on_node(&self, id: u32) -> Option<u32> {
        self.users.map_or(Some(id), |users| users.on_node(id))
    }
}

/// How much a pod is promised. Each class but the first has a control group that its pods share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceClass {
    /// What it may use is reserved for it.
    #[default]
    Guaranteed,
    /// It may use more than it asked for.
    Burstable,
    /// It asked for nothing.
    BestEffort,
}

/// Limits and shares, in cgroup v1 units (translated on v2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Relative CPU weight: 1024 is one CPU's worth.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU time allowed in each period; negative for no limit.
    pub cpu_quota: Option<i64>,
    /// Length of the period in microseconds.
    pub cpu_period: Option<u64>,
    /// Bytes of memory; there is never swap on top.
    pub memory_limit: Option<i64>,
    /// Number of processes and threads.
    pub pids: Option<i64>,
}

/// Limits that a group has and is to have instead. Limits that are not to be any more are left as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Those it has.
    pub from: Resources,
    /// Those it is to have.
    pub to: Resources,
}

/// New limits of one running container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resized {
    /// The container.
    pub id: ContainerId,
    /// Its name within the pod, for messages.
    pub name: String,
    /// Its limits.
    pub change: Change,
}

/// New limits of a pod that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resize {
    /// Those of the pod's own group, if they change.
    pub pod: Option<Change>,
    /// Those of its containers that change.
    pub containers: Vec<Resized>,
}

/// One container to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Name within the pod.
    pub name: String,
    /// How many runs of this name came before.
    pub attempt: u32,
    /// Image whose layers make the root file system.
    pub image: ImageId,
    /// The image as the user wrote it, for messages only.
    pub image_ref: String,
    /// Command line, complete: entrypoint and arguments.
    pub args: Vec<String>,
    /// Environment, complete, each `KEY=value`. `PATH`, `HOSTNAME` and, with a terminal, `TERM` are added when absent.
    pub env: Vec<String>,
    /// Working directory; made when missing. Empty means `/`.
    pub cwd: String,
    /// User and groups.
    pub user: UserSpec,
    /// Volumes and files besides the default mounts, in order.
    pub mounts: Vec<Mount>,
    /// Device nodes of the host to make available.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Mount the root file system read-only.
    pub rootfs_readonly: bool,
    /// Capabilities in all sets but ambient, e.g. `CAP_NET_BIND_SERVICE` (the prefix may be missing).
    pub capabilities: Vec<String>,
    /// All capabilities, all devices, no masked paths, no seccomp.
    pub privileged: bool,
    /// No masked or read-only paths.
    #[serde(default)]
    pub unmasked: bool,
    /// Forbid gaining privileges by exec (set-user-ID programs).
    pub no_new_privileges: bool,
    /// System call filter.
    pub seccomp: Seccomp,
    /// Run in the process namespace of this container of the pod, which must be running (debugging). Without effect
    /// where the pod shares one anyway.
    #[serde(default)]
    pub target: Option<ContainerId>,
    /// Limits of this container.
    pub resources: Resources,
    /// Badness for the kernel's out-of-memory killer, −1000 to 1000. Lowering it is skipped where the kernel refuses.
    pub oom_score_adj: Option<i32>,
    /// Give the container a terminal.
    pub tty: bool,
    /// Keep standard input open for attach.
    pub stdin: bool,
    /// Close standard input after the first attach that used it ends.
    pub stdin_once: bool,
    /// Signal that asks the container to stop, e.g. `SIGTERM` (the default when empty).
    pub stop_signal: String,
    /// Log file, in CRI format.
    pub log_path: PathBuf,
    /// Anything the caller wants to find again in [`crate::ContainerState`]; the runtime does not look at it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// User and groups of a process, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSpec {
    /// User ID.
    pub uid: u32,
    /// Primary group ID.
    pub gid: u32,
    /// Supplementary group IDs, all that are to count: the primary one is not added.
    pub groups: Vec<u32>,
}

/// A volume, directory or file made visible in the container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Absolute path inside the container; made when missing.
    pub destination: PathBuf,
    /// Forbid writing.
    pub readonly: bool,
    /// With `readonly`: forbid writing to what is mounted below, too.
    #[serde(default)]
    pub recursive: bool,
    /// Whether mounts made later travel in or out.
    pub propagation: Propagation,
}

/// What a [`Mount`] shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// Absolute path on the host, which must exist. Links in it are followed: nobody but root can change it, or it may
        /// lead anywhere.
        source: PathBuf,
        /// What of it to show: a path below, whose links must not lead out, whoever changes them. Empty for all.
        #[serde(default)]
        below: PathBuf,
        /// What must be there at the moment of mounting; `None` for anything.
        #[serde(default)]
        expected: Option<Kind>,
        /// Whose IDs its files have.
        #[serde(default)]
        ids: FileIds,
    },
    /// The files of an image of this node, which nobody can write.
    Image {
        /// The image.
        image: ImageId,
        /// What of it to show: a path below, whose links must not lead out. Empty for all.
        #[serde(default)]
        below: PathBuf,
    },
    /// Memory of its own.
    Tmpfs {
        /// Bytes; `None` for half of the machine's memory.
        size: Option<u64>,
    },
}

impl MountKind {
    /// All of a file or directory of the host.
    pub fn bind(source: impl Into<PathBuf>) -> Self {
        Self::Bind { source: source.into(), below: PathBuf::new(), expected: None, ids: FileIds::Container }
    }
}

/// What the owners of files mean to a container in a user namespace. To any other both are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileIds {
    /// What is stored are IDs inside: an ID-mapped mount shows them so. Where the file system has none, the container is
    /// not made.
    #[default]
    Container,
    /// What is stored are IDs of the node, those of the pod's range for what is the pod's.
    Node,
}

/// Whether mounts made after the container started are seen across its boundary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Propagation {
    /// Neither way.
    #[default]
    Private,
    /// The host's later mounts are seen in the container.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

/// A device node of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path on the host.
    pub host_path: PathBuf,
    /// Path inside the container.
    pub container_path: PathBuf,
    /// Any of `r`, `w`, `m`.
    pub permissions: String,
}

/// System call filter of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    /// The allow list that suits ordinary programs.
    #[default]
    RuntimeDefault,
    /// No filter.
    Unconfined,
}

/// A command to run inside a running container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Command line.
    pub args: Vec<String>,
    /// Environment on top of the container's, each `KEY=value`.
    pub env: Vec<String>,
    /// Give it a terminal; standard error is then part of standard output.
    pub tty: bool,
    /// Connect standard input.
    pub stdin: bool,
    /// First size of the terminal.
    pub size: Option<TerminalSize>,
}

/// Which streams of a running container to attach to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachSpec {
    /// Write to its standard input (only if the container keeps it open).
    pub stdin: bool,
    /// Read its standard output, from now on.
    pub stdout: bool,
    /// Read its standard error, from now on (never with a terminal).
    pub stderr: bool,
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}
