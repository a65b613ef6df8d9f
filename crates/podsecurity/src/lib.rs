//! The Pod Security Standards, and what the admission plugin PodSecurity of Kubernetes 1.36 decides by them
//! (KEP-2579).
//!
//! Everything is a function of JSON trees: a pod, or a pod's template, is an object with `metadata` and `spec`.
//! Nothing is read or listed here; the caller passes the namespace's labels, and its pods where they are asked
//! for.
//!
//! Two facts shaped this crate. A check changes from one Kubernetes version to the next, and a namespace may ask
//! for an old version: each check is a row that says from which version on which function is in force ([`check`]
//! finds the rows). And the texts are what people read in `kubectl`, so they are Kubernetes', word for word, down
//! to the order of containers and values.
//!
//! # How the API server calls it
//!
//! The plugin validates: it runs after every plugin and webhook that changes objects, on creates and updates, dry
//! runs included (a dry run is decided in the same way).
//!
#![doc = "```no_run"]
#![doc = include_str!("../tests/calls.rs")]
#![doc = "```"]

mod admission;
mod checks;
mod configuration;
mod level;
mod namespace;
mod pod;
mod policy;
mod text;

pub use admission::{Decision, Denial, Exemptions, Operation, PodSecurity, Request, template_path};
pub use checks::{Violation, check, details, reasons};
pub use level::{InvalidLevel, InvalidVersion, Level, LevelVersion, Version};
pub use namespace::{MOST_PODS, NamespaceOutcome, POD_CHECK_TIME};
pub use policy::Policy;
