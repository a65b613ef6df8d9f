//! The store behind the API server: ordered keys, one global revision, multi-key compare-and-commit,
//! consistent snapshot reads, watch from a revision, compaction.
//!
//! [`Store`] is the contract; [`Embedded`] keeps it on one machine (redb file, group commit). Every backend
//! passes the suite in [`contract`].
//!
//! Facts that shaped the crate:
//! - Current state is an immutable tree in memory, so a read or LIST never waits for a write.
//! - A commit is visible to reads and watches only once it is durable: nobody can act on a write that a
//!   crash would take back.
//! - Watchers share one log of recent commits and hold a cursor each; a watcher that falls behind the log is
//!   told so ([`WatchError::Compacted`]) instead of holding memory.
//! - What was published is in memory, so a file that failed can always be written anew; and the file keeps a reserve,
//!   so that a full disk never stands in the way of deletions ([`Condition`]).
//!
//! The bytes on disk are described in `docs/store-format.md`.

#[doc(hidden)]
pub mod contract;
mod embedded;
mod log;
mod state;
mod types;

use async_trait::async_trait;

pub use embedded::{Embedded, OpenError};
pub use log::{Watch, WatchError};
pub use types::{
    Batch, CommitError, Condition, Entry, Event, EventKind, Expect, Key, Listing, Op, Page, ReadError,
    Revision, Txn,
};

/// The store's contract. Object safe, so that the API server holds an `Arc<dyn Store>`.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The newest revision that reads see.
    fn revision(&self) -> Revision;

    /// The entry of one key at the newest revision.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, ReadError>;

    /// Entries whose keys start with `prefix`, in key order, all of one revision.
    ///
    /// # Errors
    /// [`ReadError::Compacted`] if the snapshot of `page.at` is gone, [`ReadError::Future`] if it is yet to come.
    async fn list(&self, prefix: &str, page: Page) -> Result<Listing, ReadError>;

    /// Applies all of a transaction at one new revision, or nothing. Returns once it would survive a crash.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] names the first expectation that did not hold; nothing was written.
    async fn commit(&self, txn: Txn) -> Result<Revision, CommitError>;

    /// Every commit after `after` that touches a key under `prefix`, in order, without gap or repetition.
    ///
    /// # Errors
    /// [`ReadError::Compacted`] if commits after `after` are no longer kept.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, ReadError>;

    /// Forgets commits up to and including `upto`: watches can no longer start there.
    async fn compact(&self, upto: Revision) -> Result<(), ReadError>;
}
