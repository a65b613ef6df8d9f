//! What a namespace may use: the admission plugins LimitRanger and ResourceQuota of Kubernetes 1.36.
//!
//! Everything is a function of JSON trees as they are stored: objects, LimitRanges, ResourceQuotas. Nothing is
//! read or written here; the caller passes the LimitRanges and ResourceQuotas of the object's namespace, and
//! writes what [`quota::charge`] says in the transaction that writes the object.
//!
//! Two facts shaped this crate. Amounts are exact and keep the suffixes in which they were written, since messages
//! show them. And the texts are what people read in `kubectl`, so they are Kubernetes', word for word; where
//! Kubernetes names resources in no particular order, here they are sorted.
//!
//! # How the API server calls it
//!
#![doc = "```no_run"]
#![doc = include_str!("../tests/calls.rs")]
#![doc = "```"]

mod amounts;
pub mod node;
mod pod;
pub mod quota;
pub mod ranger;

pub use amounts::Amounts;
pub use skiff_quantity::Needed;

/// What is done to an object.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// The object is new.
    Create,
    /// The object is there.
    Update {
        /// As it is before the update.
        old: &'a serde_json::Value,
    },
}
