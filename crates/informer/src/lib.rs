//! What every client of the API shares: caches kept current by a watch, work queues with retry, and event recording.
//!
//! Four facts shape this crate:
//!
//! * A cache is filled by one watch and shared by any number of readers. Subscribers are called synchronously, in the
//!   order of the watch, so a change reaches a work queue without passing through another task.
//! * Nothing here runs on a timer. A queue sleeps until a key is added or a delay that somebody asked for has passed.
//! * Objects are decoded one by one ([`watch_objects`]): what one object holds cannot stop a controller. One that cannot be
//!   decoded is told of by an Event at it and counted in [`metrics`].
//! * Resource versions are ordered numbers. A controller that wrote at revision N waits until its cache has seen N
//!   before it decides again ([`Cache::barrier`]); that is what keeps a stale cache from creating a pod twice.

mod cache;
mod errors;
mod events;
mod index;
mod key;
mod numbers;
mod queue;
#[doc(hidden)]
pub mod shared;
mod text;
mod tolerant;
mod unreadable;
mod vitals;
mod watch;

pub use cache::{Barrier, Cache, Change, Revision};
pub use errors::{describe, is_already_exists, is_conflict, is_namespace_terminating, is_not_found};
pub use events::{EventType, Happening, Recorder, SeriesRecorder};
pub use index::Index;
pub use key::ObjectKey;
pub use queue::{Next, Queue};
pub use tolerant::{Tolerant, Unreadable, watch_metadata, watch_objects, watch_objects_of};
pub use unreadable::metrics;
pub use vitals::{Beat, Pulse, STUCK_AFTER, Vitals, overdue};
