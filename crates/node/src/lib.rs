//! The agent of one node: runs the pods that are bound to it and tells the API how they are.
//!
//! Three facts shaped the crate:
//!
//! - *A pod is a state machine.* What to do next and what to report are pure functions of the pod and of what is
//!   known of it; one task per pod UID carries out their results. It is woken by events and deadlines only.
//! - *Pods outlive the agent.* Everything a later agent needs is in the runtime, in the API or in the pod's
//!   directory; a restart changes nothing for a pod that runs.
//! - *The agent is an API client like any other.* It watches its own pods, the Services, and single ConfigMaps and
//!   Secrets that its pods refer to. The provisioner of local paths beside it is another one, with an identity of its own.
//!
//! [`run`] is the one entry point.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests prepare what is attacked by path"))]

mod agent;
#[cfg(test)]
mod arbitrary;
mod backoff;
mod config;
mod container;
mod directory;
mod error;
mod eviction;
mod files;
#[cfg(debug_assertions)]
pub mod fuzzing;
mod ids;
mod logs;
#[allow(clippy::disallowed_methods, reason = "the kernel's files and the node's own")]
mod node;
mod paths;
mod pod;
mod probes;
mod provision;
mod quantity;
mod server;
mod shared;
mod sources;
#[allow(
    clippy::disallowed_methods,
    reason = "the kernel's files; what containers can write is looked at by descriptor"
)]
mod stats;
mod time;
mod users;
mod volumes;

pub use agent::{Clients, Reports, run};
pub use config::{AgentConfig, ServingTls};
pub use error::AgentError;
pub use eviction::{BadThreshold, EvictionHard};
pub use volumes::claims::resolve::PROVISIONER;
