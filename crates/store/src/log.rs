//! The log of recent commits that watchers read, each at its own pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Notify;

use crate::history::{Commit, History};
use crate::state::{Change, State};
use crate::types::{Batch, Range, ReadError, Revision, Term};
use crate::watchers::Watchers;

/// Recent commits, and who waits for more.
#[derive(Debug)]
pub(crate) struct Log {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    history: History,
    watchers: Watchers<Watcher>,
    closed: bool,
}

/// A watcher as the publisher sees it.
#[derive(Debug, Default)]
struct Watcher {
    /// The first commit in its range that it has not been given; 0 if there is none. Guarded by the log's lock. Because the
    /// publisher sets it, commits that do not concern a watcher cost it nothing, not even when they are forgotten.
    pending: AtomicU64,
    wake: Notify,
}

/// A stream of the commits in a range. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    log: Arc<Log>,
    watcher: Arc<Watcher>,
    number: u64,
    prefix: Box<str>,
    terms: Box<[Term]>,
    /// Everything up to here has been delivered or does not concern the range.
    cursor: Revision,
}

/// A watch has ended; none of its variants is cured by calling `next` again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WatchError {
    /// The watcher was slower than the log is long: list again and watch from there.
    #[error("the watch fell behind: revision {cursor} is too old, the oldest kept is {oldest}")]
    Compacted {
        /// How far the watch had come.
        cursor: Revision,
        /// The oldest from which a watch can start.
        oldest: Revision,
    },
    /// The store is shut down.
    #[error("the store is closed")]
    Closed,
}

/// Watchers that have something to look at. They are woken when this is dropped.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Woken(Vec<Arc<Watcher>>);

impl Drop for Woken {
    fn drop(&mut self) {
        self.0.iter().for_each(|watcher| watcher.wake.notify_one());
    }
}

impl Watcher {
    fn pending(&self) -> Option<Revision> {
        Some(Revision::new(self.pending.load(Ordering::Relaxed))).filter(|first| *first != Revision::ZERO)
    }

    fn set_pending(&self, first: Option<Revision>) {
        self.pending.store(first.unwrap_or(Revision::ZERO).get(), Ordering::Relaxed);
    }
}

impl Log {
    /// An empty log of a store at `head`; nothing before is kept.
    pub(crate) fn new(head: Revision) -> Arc<Self> {
        let inner = Inner { history: History::new(head), watchers: Watchers::default(), closed: false };
        Arc::new(Self { inner: Mutex::new(inner) })
    }

    /// Adds commits that follow each other; the watchers that they concern are to be woken. `show` makes the state after them
    /// the current one: nobody who has seen it finds a log that is behind it, and no watcher is told of what the state
    /// does not show.
    pub(crate) fn publish(&self, commits: Vec<Commit>, show: impl FnOnce()) -> Woken {
        let mut inner = self.inner.lock();
        show();
        let (now, mut freed, mut woken) = (Instant::now(), 0, Vec::new());
        for commit in commits {
            for change in &commit.changes {
                inner.watchers.touched(change, |watcher| {
                    // Who has something before it already is awake, or looks again before it sleeps.
                    if watcher.pending().is_none() {
                        watcher.set_pending(Some(commit.revision));
                        woken.push(watcher.clone());
                    }
                });
            }
            freed += inner.history.push(commit, now);
        }
        skiff_heap::freed(freed);
        Woken(woken)
    }

    /// Forgets commits up to and including `upto`.
    pub(crate) fn compact(&self, upto: Revision) -> Result<(), ReadError> {
        let mut inner = self.inner.lock();
        inner.not_in_future(upto)?;
        inner.history.compact(upto);
        Ok(())
    }

    /// Forgets most of the history, but for what watchers have not been given yet, and what was committed from a time on.
    pub(crate) fn forget(&self, from: Instant) {
        let mut inner = self.inner.lock();
        let first = inner.watchers.all().filter_map(|watcher| watcher.pending()).min();
        inner.history.forget(first, from);
    }

    /// Starts a watch after a revision.
    pub(crate) fn watch(self: &Arc<Self>, range: Range<'_>, after: Revision) -> Result<Watch, ReadError> {
        let mut inner = self.inner.lock();
        let oldest = inner.history.compacted(range);
        if after < oldest {
            return Err(ReadError::Compacted { requested: after, oldest });
        }
        inner.not_in_future(after)?;
        let watcher = Arc::new(Watcher::default());
        watcher.set_pending(inner.history.next_after(after, range));
        let number = inner.watchers.add(range, Arc::clone(&watcher));
        let (prefix, terms) = (range.prefix.into(), range.terms.into());
        Ok(Watch { log: Arc::clone(self), watcher, number, prefix, terms, cursor: after })
    }

    /// Makes of a state that is or was the current one the state at an earlier revision, as far as keys with this prefix
    /// are concerned. `None` if the history does not reach back so far.
    pub(crate) fn rewind(&self, state: &State, to: Revision, prefix: &str) -> Option<State> {
        // What the state does not show yet cannot be taken back from it.
        let shown = |change: &&Change| change.event.entry.modified <= state.revision;
        let changes: Vec<Change> =
            self.inner.lock().history.since(to, prefix)?.filter(shown).cloned().collect();
        let mut state = state.clone();
        changes.iter().for_each(|change| state.undo(change));
        state.revision = to;
        Some(state)
    }

    /// Ends all watches.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.watchers.all().for_each(|watcher| watcher.wake.notify_one());
    }
}

impl Inner {
    fn not_in_future(&self, requested: Revision) -> Result<(), ReadError> {
        let current = self.history.head();
        if requested > current { Err(ReadError::Future { requested, current }) } else { Ok(()) }
    }
}

impl Watch {
    /// The next commit in the range; waits until there is one. Cancel safe.
    ///
    /// # Errors
    /// When the watch cannot go on, see [`WatchError`].
    pub async fn next(&mut self) -> Result<Batch, WatchError> {
        loop {
            if let Some(batch) = self.try_next()? {
                return Ok(batch);
            }
            self.watcher.wake.notified().await;
        }
    }

    /// The next commit in the range, if it is there already.
    pub fn try_next(&mut self) -> Result<Option<Batch>, WatchError> {
        let range = Range { prefix: &self.prefix, terms: &self.terms };
        let inner = self.log.inner.lock();
        let Some(revision) = self.watcher.pending() else {
            self.cursor = inner.history.head();
            return if inner.closed { Err(WatchError::Closed) } else { Ok(None) };
        };
        let oldest = inner.history.compacted(range);
        if revision <= oldest {
            return Err(WatchError::Compacted { cursor: self.cursor, oldest });
        }
        self.watcher.set_pending(inner.history.next_after(revision, range));
        self.cursor = revision;
        Ok(Some(Batch { revision, events: inner.history.events(revision, range) }))
    }

    /// A revision up to which everything in the range has been delivered; moves on when commits do not
    /// concern the range, so that a bookmark can be given.
    pub fn progress(&mut self) -> Revision {
        let inner = self.log.inner.lock();
        self.cursor = match self.watcher.pending() {
            Some(first) => Revision::new(first.get() - 1),
            None => inner.history.head(),
        };
        self.cursor
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let range = Range { prefix: &self.prefix, terms: &self.terms };
        self.log.inner.lock().watchers.remove(range, self.number);
    }
}
