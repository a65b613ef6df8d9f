//! The kit of controllers that keep objects for an owner: pods for a ReplicaSet, ReplicaSets for a Deployment, pods for a Job.
//!
//! A controller of this kind is a pure plan, (objects observed) → what to do, and an executor made of these parts:
//!
//! - A kind that owns is an [`Owner`]: it says what its selector selects. What it owns is a [`Dependent`]: every typed
//!   object is, and so is a [`KnownPod`](crate::pods::KnownPod). The caches are indexed by who controls what ([`ByOwner`]).
//! - While assembling, [`follow`] fills the queue: an owner is worked on when it or what it controls changes, or when it could adopt
//!   something. [`Environment::reconciler`](crate::environment::Environment::reconciler) then runs the passes.
//! - A pass takes its candidates from the index, sorts them by [`claim`], and adopts and releases by `Claims::settle`.
//! - Writes are remembered in an [`InFlight`], one for each kind written: while [`InFlight::is_settled`] says no, the pass must not
//!   create, and ends in `Next::After(STALE_CACHE_BOUND)` (the watch's event brings it up before); what [`InFlight::deleted`]
//!   names does not count any more. [`PodControl`] does so for pods by itself, makes them in growing batches and records the events.
//!   How fast pods may be made that end at once is said by [`Pace`](crate::pods::pace::Pace).
//! - A status is compared by [`status::says_the_same`] and written by [`status::write`] only when it says something new
//!   ([`status::report`] does both);
//!   [`conditions`] keep their times. A controller may sleep until [`status::next_available`].
//! - [`history`] keeps templates in ControllerRevisions, for rolling back.
//! - [`template`] has the hashes that names are made of, [`amount`] what a number or a share of replicas is.

pub(crate) mod amount;
mod claims;
pub(crate) mod conditions;
pub(crate) mod history;
mod in_flight;
mod owner;
mod pass;
mod pods;
mod selector;
pub(crate) mod status;
pub(crate) mod template;

pub(crate) use claims::{ClaimError, claim};
pub(crate) use in_flight::{InFlight, STALE_CACHE_BOUND};
pub(crate) use owner::{ByOwner, Dependent, Owner, follow};
pub(crate) use pass::{Named, PassError};
pub(crate) use pods::{BURST, PodControl, PodFailure, pod_of};
pub(crate) use selector::Selector;
