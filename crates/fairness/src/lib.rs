//! API Priority and Fairness (KEP-1040): which request is served next, and which is turned away.
//!
//! A request is classified by the first FlowSchema that matches it, which leads it to a priority level. Each level has seats, and a
//! request takes one or more while it is served. Where none is free it waits in one of the level's queues, or is turned away.
//!
//! Three facts shape this crate:
//! - It does no I/O and has no clock: every call is told the time, and what is to be woken is given back to the caller. So
//!   hours of a busy server are tested in milliseconds.
//! - Classification takes no lock: it reads a snapshot of the configuration. What follows takes the lock of one level, for
//!   about as long as a few map operations take.
//! - A queue exists only while it holds a request: a level of ten million queues costs nothing.
//!
//! Where it is not as Kubernetes has it: a request leaves its seats when it ends, and none linger for what watchers cost; a level
//! with a nominal share keeps at least one seat; and flows are hashed with a secret, so that nobody can choose a
//! name that shares another's queues.

mod allocate;
mod deal;
mod demand;
mod dump;
mod estimate;
mod fairness;
mod level;
mod matching;
mod meter;
mod metrics;
mod queues;
mod spec;

pub use dump::Clock;
pub use estimate::{Listed, list_seats};
pub use fairness::{Classified, Fairness, Mandatory, Settled};
pub use level::Level;
pub use matching::{Asked, Target};
pub use meter::Reason;
pub use queues::{Details, Entered, Ticket, Wake};
