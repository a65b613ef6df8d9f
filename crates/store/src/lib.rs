//! The store behind the API server: ordered keys, one global revision, multi-key compare-and-commit,
//! consistent snapshot reads, watch from a revision, compaction.
//!
//! [`Store`] is the contract; [`Embedded`] keeps it on one machine (journal, redb file, group commit). Every backend
//! passes the suite in [`contract`].
//!
//! Facts that shaped the crate:
//! - Current state is an immutable tree in memory, so a read or LIST never waits for a write. It counts, so that a page
//!   costs what it shows and not what follows.
//! - Values lie packed in memory ([`Value`]) and on disk as a [`Transformer`] makes them: as they are, or encrypted. What cannot be
//!   opened when the store is stays as it is, and reads of it fail.
//! - Values are indexed by [`Terms`], a pure function of what is stored: entries are found and watched by a term at the
//!   cost of those that have it.
//! - A commit is visible to reads and watches only once it is durable: nobody can act on a write that a
//!   crash would take back.
//! - Watchers share one log of recent commits and hold a cursor each; a watcher that falls behind the log is
//!   told so ([`WatchError::Compacted`]) instead of holding memory. The log is one history for each space of keys
//!   ([`Key::space`]), and a commit looks up whom it concerns, so neither memory nor time of a kind is spent by another.
//! - What was published is in memory, so a file that failed can always be written anew; and the file keeps a reserve,
//!   so that a full disk never stands in the way of deletions ([`Condition`]).
//!
//! The bytes on disk are described in `docs/store-format.md`.

#[doc(hidden)]
pub mod contract;
mod embedded;
mod history;
mod log;
mod numbers;
mod state;
mod transformer;
mod tree;
mod types;
mod value;
mod view;
mod watchers;

use std::time::Instant;

use async_trait::async_trait;

pub use embedded::{Embedded, OpenError};
pub use log::{Watch, WatchError};
pub use numbers::METRICS;
pub use transformer::{Plain, SEALED, Seal, Transformer};
pub use types::{
    Batch, CommitError, Condition, Entry, Event, EventKind, Expect, Extent, Key, Listing, Op, Page, Range,
    ReadError, Revision, Term, Terms, Txn, no_terms,
};
pub use value::Value;
pub use view::{Model, View};

/// The store's contract. Object safe, so that the API server holds an `Arc<dyn Store>`.
///
/// Several servers may stand on one store, each with a handle of its own. A backend may keep a replica: state, index and log
/// fed by one watch of what all servers share, with commits sent there. For that the contract asks no more than this:
/// - Revisions are those of the shared store, and every handle sees every commit at the same one, in the same order.
/// - A read without `at` sees every commit that was acknowledged by any handle before the read began; a replica asks for the
///   shared store's revision and waits until it has come so far. [`Store::revision`] need not wait.
/// - A commit is acknowledged by a handle only once that handle shows it.
/// - Calls may be given up at any point. A commit that was given up has happened whole or not at all.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The newest revision that reads see.
    fn revision(&self) -> Revision;

    /// The entry of one key at the newest revision.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, ReadError>;

    /// The entries of a range, in key order, all of one revision.
    ///
    /// # Errors
    /// [`ReadError::Compacted`] if the snapshot of `page.at` is gone, [`ReadError::Future`] if it is yet to come,
    /// [`ReadError::Closed`] if an entry of the page cannot be opened.
    async fn list(&self, range: Range<'_>, page: Page) -> Result<Listing, ReadError>;

    /// How much there is in a range at the newest revision, at the cost of a few reads.
    fn extent(&self, range: Range<'_>) -> Extent;

    /// Applies all of a transaction at one new revision, or nothing. Returns once it would survive a crash. A transaction
    /// that changes nothing takes no revision and returns the newest.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] names the first expectation that did not hold; nothing was written.
    async fn commit(&self, txn: Txn) -> Result<Revision, CommitError>;

    /// Every commit after `after` that changes a key in the range, in order, without gap or repetition. A change that brings
    /// a key into the range or takes it out of it is one in the range.
    ///
    /// # Errors
    /// [`ReadError::Compacted`] if commits after `after` are no longer kept.
    async fn watch(&self, range: Range<'_>, after: Revision) -> Result<Watch, ReadError>;

    /// How many bytes the store takes on disk, if that can be told.
    fn size(&self) -> Option<u64> {
        None
    }

    /// Whether what is on disk of an entry would be written otherwise now, with another key.
    fn is_stale(&self, _entry: &Entry) -> bool {
        false
    }

    /// Lets go of what is kept only for those who come late, so that memory can be given back after a burst: watches may no longer
    /// start as far back as they could, but at any revision since `from`. Those that have begun lose nothing.
    fn forget(&self, _from: Instant) {}

    /// Forgets commits up to and including `upto`: watches can no longer start there.
    async fn compact(&self, upto: Revision) -> Result<(), ReadError>;
}
