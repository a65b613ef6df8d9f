//! The log of recent commits that watchers read, each at its own pace.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Notify;

use crate::types::{Batch, Event, ReadError, Revision};

/// Bounds of the log. Whichever is reached first drops the oldest commits.
const MAX_COMMITS: usize = 16_384;
const MAX_BYTES: usize = 8 << 20;

/// One durable commit.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) revision: Revision,
    pub(crate) events: Vec<Event>,
}

impl Commit {
    fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.entry.value.len() + event.entry.key.as_str().len()).sum()
    }

    fn touches(&self, prefix: &str) -> bool {
        self.events.iter().any(|event| event.entry.key.as_str().starts_with(prefix))
    }
}

/// Recent commits in revision order.
#[derive(Debug)]
pub(crate) struct Log {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    commits: VecDeque<Arc<Commit>>,
    bytes: usize,
    /// Commits up to and including this one are forgotten.
    compacted: Revision,
    /// The newest commit, kept or not.
    head: Revision,
    watchers: Vec<Weak<Watcher>>,
    closed: bool,
}

/// A watcher as the publisher sees it.
#[derive(Debug)]
struct Watcher {
    prefix: Box<str>,
    wake: Notify,
}

/// A stream of commits under a prefix. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    log: Arc<Log>,
    watcher: Arc<Watcher>,
    /// Everything up to here has been delivered or does not concern the prefix.
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

impl Log {
    /// An empty log of a store at `head`; nothing before is kept.
    pub(crate) fn new(head: Revision) -> Arc<Self> {
        let inner = Inner {
            commits: VecDeque::new(),
            bytes: 0,
            compacted: head,
            head,
            watchers: Vec::new(),
            closed: false,
        };
        Arc::new(Self { inner: Mutex::new(inner) })
    }

    /// Adds commits that follow each other and wakes the watchers that they concern. `show` makes the state after them
    /// the current one: nobody who has seen it finds a log that is behind it, and no watcher is told of what the state
    /// does not show.
    pub(crate) fn publish(&self, commits: Vec<Commit>, show: impl FnOnce()) {
        let Some(last) = commits.last() else { return };
        let mut inner = self.inner.lock();
        show();
        inner.head = last.revision;
        inner.watchers.retain(|watcher| {
            let Some(watcher) = watcher.upgrade() else { return false };
            if commits.iter().any(|commit| commit.touches(&watcher.prefix)) {
                watcher.wake.notify_one();
            }
            true
        });
        for commit in commits {
            inner.bytes += commit.bytes();
            inner.commits.push_back(Arc::new(commit));
        }
        while inner.commits.len() > MAX_COMMITS || inner.bytes > MAX_BYTES {
            inner.forget_oldest();
        }
    }

    /// Forgets commits up to and including `upto`.
    pub(crate) fn compact(&self, upto: Revision) -> Result<(), ReadError> {
        let mut inner = self.inner.lock();
        if upto > inner.head {
            return Err(ReadError::Future { requested: upto, current: inner.head });
        }
        while inner.commits.front().is_some_and(|commit| commit.revision <= upto) {
            inner.forget_oldest();
        }
        inner.compacted = inner.compacted.max(upto);
        Ok(())
    }

    /// Starts a watch after a revision.
    pub(crate) fn watch(self: &Arc<Self>, prefix: &str, after: Revision) -> Result<Watch, ReadError> {
        let mut inner = self.inner.lock();
        if after < inner.compacted {
            return Err(ReadError::Compacted { requested: after, oldest: inner.compacted });
        }
        if after > inner.head {
            return Err(ReadError::Future { requested: after, current: inner.head });
        }
        let watcher = Arc::new(Watcher { prefix: prefix.into(), wake: Notify::new() });
        inner.watchers.push(Arc::downgrade(&watcher));
        Ok(Watch { log: Arc::clone(self), watcher, cursor: after })
    }

    /// Ends all watches.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        for watcher in inner.watchers.drain(..).filter_map(|weak| weak.upgrade()) {
            watcher.wake.notify_one();
        }
    }
}

impl Inner {
    fn forget_oldest(&mut self) {
        if let Some(commit) = self.commits.pop_front() {
            self.bytes -= commit.bytes();
            self.compacted = commit.revision;
        }
    }

    /// The first commit after `cursor` that touches the prefix.
    fn next_after(&self, cursor: Revision, prefix: &str) -> Option<&Arc<Commit>> {
        let start = self.commits.partition_point(|commit| commit.revision <= cursor);
        self.commits.range(start..).find(|commit| commit.touches(prefix))
    }
}

impl Watch {
    /// The next commit under the prefix; waits until there is one. Cancel safe.
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

    /// The next commit under the prefix, if it is there already.
    pub fn try_next(&mut self) -> Result<Option<Batch>, WatchError> {
        let found = {
            let inner = self.log.inner.lock();
            if self.cursor < inner.compacted {
                return Err(WatchError::Compacted { cursor: self.cursor, oldest: inner.compacted });
            }
            let found = inner.next_after(self.cursor, &self.watcher.prefix).cloned();
            if found.is_none() && inner.closed {
                return Err(WatchError::Closed);
            }
            self.cursor = found.as_ref().map_or(inner.head, |commit| commit.revision);
            found
        };
        Ok(found.map(|commit| self.batch(&commit)))
    }

    /// A revision up to which everything under the prefix has been delivered; moves on when commits do not
    /// concern the prefix, so that a bookmark can be given.
    pub fn progress(&mut self) -> Revision {
        let inner = self.log.inner.lock();
        if self.cursor >= inner.compacted {
            self.cursor = match inner.next_after(self.cursor, &self.watcher.prefix) {
                Some(commit) => Revision::new(commit.revision.get() - 1),
                None => inner.head,
            };
        }
        self.cursor
    }

    fn batch(&self, commit: &Commit) -> Batch {
        let prefix = &*self.watcher.prefix;
        let mine = |event: &&Event| event.entry.key.as_str().starts_with(prefix);
        Batch { revision: commit.revision, events: commit.events.iter().filter(mine).cloned().collect() }
    }
}
