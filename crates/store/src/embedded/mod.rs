//! The store on one machine: state in memory, durability in a redb file and the journal before it.

mod admission;
mod disk;
#[cfg(test)]
mod faults;
mod journal;
mod medium;
#[cfg(test)]
mod outage;
mod past;
mod record;
mod writer;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;
use tokio::sync::watch;

use crate::Store;
use crate::log::{Log, Watch};
use crate::state::{Prepared, State};
use crate::types::{
    CommitError, Condition, Entry, Extent, Key, Listing, Page, Range, ReadError, Revision, Terms, Txn,
};
use disk::Disk;
use medium::{FileSystem, Medium};
use past::Past;
use writer::Writer;

/// How many snapshots are kept for listings that continue, and for how long after their last use. They hold what has been
/// deleted since; a client that takes longer between pages is served as far as the history reaches.
const MAX_PINNED: usize = 64;
const PINNED_FOR: Duration = Duration::from_secs(60);

/// A store in one file. Dropping it (or [`Embedded::close`]) finishes the writes already accepted.
#[derive(Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
    writer: Writer,
    terms: Terms,
    pinned: Mutex<VecDeque<Pinned>>,
    past: Mutex<Past>,
}

/// What readers and the writer share.
#[derive(Debug)]
struct Shared {
    /// The newest durable state.
    state: ArcSwap<State>,
    log: Arc<Log>,
    condition: watch::Sender<Condition>,
}

#[derive(Debug)]
struct Pinned {
    used: Instant,
    state: Arc<State>,
}

/// The store's file cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by another process; stop that one first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file's content is not a sound database.
    #[error("{} is damaged ({reason}); restore it from a copy, or remove it to start with an empty cluster", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file was written by another version of the program.
    #[error("{} has format {found}, this version reads format {expected}; use the version that wrote it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The number in the file.
        found: u64,
        /// The number that this version writes.
        expected: u64,
    },
    /// The file cannot be read or made.
    #[error("cannot open {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Embedded {
    /// Opens the file, or makes it (its directory must exist), and reads all of it. Values are indexed by `terms`.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing is changed on disk.
    pub fn open(path: impl AsRef<Path>, terms: impl Into<Terms>) -> Result<Self, OpenError> {
        Self::open_on(Arc::new(FileSystem), path.as_ref(), terms.into())
    }

    fn open_on(medium: Arc<dyn Medium>, path: &Path, terms: Terms) -> Result<Self, OpenError> {
        let (disk, state) = Disk::open(medium, path, &terms)?;
        let log = Log::new(state.revision);
        let condition = watch::Sender::default();
        let shared = Arc::new(Shared { state: ArcSwap::from_pointee(state), log, condition });
        let writer = Writer::start(Arc::clone(&shared), disk);
        Ok(Self { shared, writer, terms, pinned: Mutex::default(), past: Mutex::default() })
    }

    /// How the store is doing, now and whenever that changes.
    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.shared.condition.subscribe()
    }

    /// Finishes accepted writes, ends all watches and closes the file.
    pub fn close(&self) {
        self.writer.close();
        self.shared.log.close();
    }

    /// The state for a listing: the newest, one pinned by an earlier page, or one made of the newest and the history.
    fn state_at(&self, at: Option<Revision>, prefix: &str) -> Result<Arc<State>, ReadError> {
        let current = self.shared.state.load_full();
        let now = Instant::now();
        let Some(requested) = at.filter(|revision| *revision != current.revision) else {
            self.past.lock().note(now, current.revision);
            return Ok(current);
        };
        if requested > current.revision {
            return Err(ReadError::Future { requested, current: current.revision });
        }
        let compacted = ReadError::Compacted { requested, oldest: current.revision };
        if !self.past.lock().reaches(now, current.revision, requested) {
            return Err(compacted);
        }
        let pinned = self.pinned().iter_mut().find(|pin| pin.state.revision == requested).map(|pin| {
            pin.used = now;
            Arc::clone(&pin.state)
        });
        let rewound = || self.shared.log.rewind(&current, requested, prefix).map(Arc::new);
        pinned.or_else(rewound).ok_or(compacted)
    }

    /// The snapshots that are kept and not too old.
    fn pinned(&self) -> MutexGuard<'_, VecDeque<Pinned>> {
        let mut pinned = self.pinned.lock();
        let before = pinned.len();
        pinned.retain(|pin| pin.used.elapsed() < PINNED_FOR);
        if pinned.len() < before {
            skiff_heap::burst();
        }
        pinned
    }

    fn pin(&self, state: &Arc<State>) {
        let mut pinned = self.pinned();
        if pinned.iter().any(|pin| pin.state.revision == state.revision) {
            return;
        }
        if pinned.len() == MAX_PINNED {
            pinned.pop_front();
        }
        pinned.push_back(Pinned { used: Instant::now(), state: Arc::clone(state) });
    }
}

#[async_trait]
impl Store for Embedded {
    fn revision(&self) -> Revision {
        self.shared.state.load().revision
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, ReadError> {
        Ok(self.shared.state.load().get(key).cloned())
    }

    async fn list(&self, range: Range<'_>, page: Page) -> Result<Listing, ReadError> {
        let state = self.state_at(page.at, range.prefix)?;
        let listing = state.list(range, &page);
        // One that was made again is right for its prefix only.
        if listing.remaining > 0 && page.at.is_none_or(|at| at == self.revision()) {
            self.pin(&state);
        }
        Ok(listing)
    }

    fn extent(&self, range: Range<'_>) -> Extent {
        self.shared.state.load().extent(range)
    }

    async fn commit(&self, txn: Txn) -> Result<Revision, CommitError> {
        // Snapshots of what a burst left must not outlive their time because nobody lists.
        drop(self.pinned());
        self.writer.commit(Prepared::new(txn, &self.terms)).await
    }

    async fn watch(&self, range: Range<'_>, after: Revision) -> Result<Watch, ReadError> {
        self.shared.log.watch(range, after)
    }

    async fn compact(&self, upto: Revision) -> Result<(), ReadError> {
        self.shared.log.compact(upto)
    }
}
