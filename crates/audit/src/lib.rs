//! What is written down of requests: the policies and events of `audit.k8s.io/v1`. No I/O.
//!
//! - A [`Policy`] says of a request how much of it is written down, and at which of its [`Stage`]s.
//! - A [`Record`] goes with a request through the pipeline, which notes there what only it knows: the object that was sent,
//!   annotations of admission.
//! - An [`Event`] is what is written.
//!
//! The texts, the order of members and what is in an event at which level are those of Kubernetes' audit log, so that what
//! reads one reads the other.

mod event;
mod level;
mod policy;
mod record;

pub use event::{Event, ObjectReference, Person, Told};
pub use level::{Level, Stage, Stages};
pub use policy::{Asked, Extent, Policy, SCHEMA};
pub use record::{Identified, Noted, Record, is_annotation_key};
