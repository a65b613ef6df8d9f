//! The store on one machine: state in memory, durability in a redb file and the journal before it.

mod admission;
mod at_work;
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
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;
use tokio::sync::watch;

use crate::Store;
use crate::log::{Log, Watch};
use crate::numbers::Measured;
use crate::state::{Prepared, State};
use crate::transformer::{Plain, Transformer};
use crate::types::{
    CommitError, Condition, Entry, Expect, Extent, Key, Listing, Op, Page, Range, ReadError, Revision, Terms,
    Txn,
};
use at_work::AtWork;
use disk::{Disk, Place};
use medium::FileSystem;
use past::Past;
use writer::Writer;

/// How many snapshots are kept for listings that continue, and for how long after their last use. They hold what has been
/// deleted since, which is to be given back within a minute; a client that takes longer between pages is served as far as the
/// history reaches.
const MAX_PINNED: usize = 64;
const PINNED_FOR: Duration = Duration::from_secs(30);

/// How many entries are written anew in one transaction.
const RENEWED_TOGETHER: usize = 32;

/// A store in one file. Dropping it (or [`Embedded::close`]) finishes the writes already accepted.
#[derive(Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
    writer: Writer,
    terms: Terms,
    seals: Arc<dyn Transformer>,
    path: PathBuf,
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
        Self::open_sealed(path, terms, Arc::new(Plain))
    }

    /// As [`Embedded::open`], with values that lie on disk as `seals` makes them. What it cannot open stays as it is, and reads of
    /// it fail until [`Embedded::renew`] can.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing is changed on disk.
    pub fn open_sealed(
        path: impl AsRef<Path>,
        terms: impl Into<Terms>,
        seals: Arc<dyn Transformer>,
    ) -> Result<Self, OpenError> {
        let place = Place { medium: Arc::new(FileSystem), path: path.as_ref().to_owned(), seals };
        Self::open_on(place, terms.into())
    }

    fn open_on(place: Place, terms: Terms) -> Result<Self, OpenError> {
        let (disk, state) = Disk::open(&place, &terms)?;
        let (seals, path) = (Arc::clone(&place.seals), place.path.clone());
        let log = Log::new(state.revision);
        let condition = watch::Sender::default();
        let shared = Arc::new(Shared { state: ArcSwap::from_pointee(state), log, condition });
        let writer = Writer::start(AtWork::new(Arc::clone(&shared), place, disk));
        Ok(Self { shared, writer, terms, seals, path, pinned: Mutex::default(), past: Mutex::default() })
    }

    /// How the store is doing, now and whenever that changes.
    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.shared.condition.subscribe()
    }

    /// Writes anew what can be opened only now, and what could not be opened after a restart; to be called when other keys are
    /// there. May wait for whoever has the keys. Returns how many were written.
    ///
    /// # Errors
    /// When the store does not take one; the rest is left for the next time.
    pub async fn renew(&self) -> Result<usize, CommitError> {
        let state = self.shared.state.load_full();
        let entries = state.entries().filter_map(|entry| Some((entry, self.renewed(entry)?)));
        let entries: Vec<_> = entries.map(|(entry, value)| (entry.clone(), value)).collect();
        let mut written = 0;
        for group in entries.chunks(RENEWED_TOGETHER) {
            if self.rewrite(group).await? {
                written += group.len();
                continue;
            }
            // One was written or is gone meanwhile.
            for alone in group.chunks(1) {
                written += usize::from(self.rewrite(alone).await?);
            }
        }
        Ok(written)
    }

    /// Writes entries anew, unless another writer came first.
    async fn rewrite(&self, entries: &[(Entry, Bytes)]) -> Result<bool, CommitError> {
        let expect = entries.iter().map(|(entry, _)| Expect::At(entry.key.clone(), entry.modified));
        let put = |(entry, value): &(Entry, Bytes)| Op::Put { key: entry.key.clone(), value: value.clone() };
        let txn = Txn { expect: expect.collect(), ops: entries.iter().map(put).collect() };
        match self.commit(txn).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The value of an entry that is to be written anew.
    fn renewed(&self, entry: &Entry) -> Option<Bytes> {
        match entry.value.seal() {
            Some(seal) => (!self.seals.keeps(&entry.key, seal)).then(|| entry.value.bytes()),
            None => {
                let stored = entry.value.bytes();
                let opened = self.seals.open(&entry.key, &stored);
                opened.ok().map(|(_, value)| Bytes::from(value.into_owned()))
            }
        }
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
        self.shared.state.load().get(key).map(opened).transpose().map(Option::<&Entry>::cloned)
    }

    async fn list(&self, range: Range<'_>, page: Page) -> Result<Listing, ReadError> {
        let state = self.state_at(page.at, range.prefix)?;
        let listing = state.list(range, &page);
        listing.entries.iter().try_for_each(|entry| opened(entry).map(drop))?;
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
        let measured = Measured::begin(&txn);
        let committed = match Prepared::new(txn, &self.terms, &*self.seals) {
            Ok(work) => self.writer.commit(work).await,
            Err(error) => Err(error),
        };
        measured.end(committed.is_err());
        committed
    }

    async fn watch(&self, range: Range<'_>, after: Revision) -> Result<Watch, ReadError> {
        self.shared.log.watch(range, after)
    }

    fn size(&self) -> Option<u64> {
        let bytes = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.len()).ok();
        Some(bytes(&self.path)? + bytes(&self.path.with_extension("journal")).unwrap_or_default())
    }

    fn is_stale(&self, entry: &Entry) -> bool {
        entry.value.seal().is_some_and(|seal| self.seals.is_stale(&entry.key, seal))
    }

    fn forget(&self, from: Instant) {
        self.shared.log.forget(from);
    }

    async fn compact(&self, upto: Revision) -> Result<(), ReadError> {
        self.shared.log.compact(upto)
    }
}

/// The entry, if its value could be opened.
fn opened(entry: &Entry) -> Result<&Entry, ReadError> {
    match entry.value.why_closed() {
        Some(why) => Err(ReadError::Closed { key: entry.key.clone(), why: Arc::clone(why) }),
        None => Ok(entry),
    }
}
