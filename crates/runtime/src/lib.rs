//! Pods as processes: sandboxes, containers, the supervisor of each pod, and images. Knows nothing of Kubernetes.
//!
//! Three facts shaped the crate:
//!
//! - *The pod outlives the agent.* Each pod has a supervisor, a small single-threaded process (the same executable,
//!   started as `pod-supervisor`), which owns namespaces, output, logs and exit codes. The agent talks to it over a
//!   socket ([`PodHandle`]) and finds it again after a restart ([`Runtime::adopt`]).
//! - *Containers outlive the supervisor.* Their output goes through named pipes that they themselves keep open, so a
//!   killed supervisor is replaced by one that reads on.
//! - *libcontainer wants a process to itself.* It changes the working directory and clones raw; it therefore only ever
//!   runs in a forked child of a supervisor, never in the agent.
//!
//! Images ([`Images`]) are unpacked once per layer and mounted as overlays.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests prepare what is attacked by path"))]

#[allow(clippy::disallowed_methods, reason = "the control groups of pods, which containers see read-only")]
mod cgroup;
#[allow(clippy::disallowed_methods, reason = "the run directory, which is skiff's own")]
mod cleanup;
#[allow(clippy::disallowed_methods, reason = "the run directory, which is skiff's own")]
mod client;
#[allow(clippy::disallowed_methods, reason = "the node's own devices")]
mod devices;
mod error;
mod ids;
#[allow(
    clippy::disallowed_methods,
    reason = "the store's own directories; what an image names is touched by the unpacker alone, which sees nothing else"
)]
pub mod images;
mod oci;
#[allow(clippy::disallowed_methods, reason = "skiff's own directories")]
mod paths;
#[allow(clippy::disallowed_methods, reason = "skiff's own directories")]
mod pod;
#[allow(clippy::disallowed_methods, reason = "skiff's own directories")]
mod runtime;
mod seccomp;
mod session;
mod spec;
mod state;
mod supervisor;
#[allow(clippy::disallowed_methods, reason = "namespaces of the trial's own")]
mod trial;
mod wire;

pub use error::{CheckError, RuntimeError};
pub use ids::{ContainerId, IdRange, ImageId, InvalidId, PodUid};
pub use images::{
    Image, ImageConfig, ImageError, ImageLimits, Images, PullCredentials, PullPolicy, unpacker_main,
};
pub use pod::PodHandle;
pub use runtime::{Runtime, RuntimeConfig, START_LIMIT};
pub use session::{AttachSession, Captured, ExecProcess, ExecSession, SessionInput, SessionOutput, Terminal};
pub use spec::{
    AttachSpec, Change, ContainerSpec, Device, ExecSpec, FileIds, Mount, MountKind, PodSandbox, Propagation,
    Resize, Resized, Resources, Seccomp, ServiceClass, TerminalSize, UserSpec,
};
pub use state::{ContainerState, ContainerStatus, ExitStatus, PodState, PodStats, Throttling, Usage};
pub use supervisor::supervisor_main;
