//! The values that cross the store's boundary.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::value::Value;

/// A point in the store's history. Each commit takes the next one; 0 is before any commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(u64);

impl Revision {
    /// Before anything was written.
    pub const ZERO: Self = Self(0);

    /// A revision by number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The revision after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key; ordered bytewise and cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// A key of this text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many slashes the name of a space has.
const SPACE_SLASHES: usize = 4;

impl Key {
    /// The space that a key of this text lies in: its text up to the fourth slash, or the last if it has fewer. That of
    /// an object is its kind's, `/registry/<group>/<plural>/`. Each space has a history of its own.
    pub fn space(text: &str) -> &str {
        let end = text.match_indices('/').take(SPACE_SLASHES).last().map_or(0, |(slash, _)| slash + 1);
        &text[..end]
    }

    /// Whether this is the whole name of a space, and no shorter one in which others lie.
    pub(crate) fn is_space(text: &str) -> bool {
        text.bytes().filter(|byte| *byte == b'/').count() == SPACE_SLASHES && text.ends_with('/')
    }
}

/// A property of a value by which entries are found and watched, e.g. `spec.nodeName=n1`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term(Arc<str>);

impl Term {
    /// A term of this text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }
}

/// The terms of a value, by which a store keeps it indexed: a pure function of what is stored, so that every server on a
/// store, and the same one after a restart, finds the same. It is called once for each write.
#[derive(Clone)]
pub struct Terms(Arc<Read>);

type Read = dyn Fn(&Key, &[u8]) -> Vec<Term> + Send + Sync;

impl Terms {
    /// Those of a value.
    pub fn of(&self, key: &Key, value: &[u8]) -> Vec<Term> {
        (self.0)(key, value)
    }
}

impl<F: Fn(&Key, &[u8]) -> Vec<Term> + Send + Sync + 'static> From<F> for Terms {
    fn from(read: F) -> Self {
        Self(Arc::new(read))
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Terms")
    }
}

/// Values have no terms.
pub fn no_terms(_: &Key, _: &[u8]) -> Vec<Term> {
    Vec::new()
}

/// Entries that are listed or watched together: those whose keys start with a prefix, or those of them that have one of
/// some terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<'a> {
    /// What the keys start with.
    pub prefix: &'a str,
    /// Of which the values have one; if there are none, values do not matter.
    pub terms: &'a [Term],
}

impl<'a> From<&'a str> for Range<'a> {
    fn from(prefix: &'a str) -> Self {
        Self { prefix, terms: &[] }
    }
}

/// A key with its value and history. Clones share the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Value,
    /// The revision at which the key came into being (again, after a deletion).
    pub created: Revision,
    /// The revision of the last write.
    pub modified: Revision,
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Creates or replaces.
    Put {
        /// Where.
        key: Key,
        /// What.
        value: Bytes,
    },
    /// Removes; removing an absent key changes nothing.
    Delete {
        /// Where.
        key: Key,
    },
}

impl Op {
    /// The key that it writes.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// What must hold for a transaction to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent(Key),
    /// The key exists and was last written at this revision.
    At(Key, Revision),
}

/// Writes that apply together, at one revision, if all expectations hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// Checked first, against the state just before the transaction.
    pub expect: Vec<Expect>,
    /// Of several on one key the last counts: a key changes once at a revision.
    pub ops: Vec<Op>,
}

/// How much there is in a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// How many entries.
    pub count: usize,
    /// How long their values are on average, in bytes, by a few of them.
    pub average: usize,
}

/// Which part of a listing is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Only keys greater than this one.
    pub after: Option<Key>,
    /// At most this many entries; no bound when absent.
    pub limit: Option<NonZeroUsize>,
    /// At this revision; the newest when absent. An older one can be read as long as the history since then is kept, and
    /// for a bounded time if it was the newest when a listing of it told of entries that remain.
    pub at: Option<Revision>,
}

/// The answer to a list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The revision that all entries belong to.
    pub revision: Revision,
    /// In key order.
    pub entries: Vec<Entry>,
    /// How many entries of the range follow the last one returned.
    pub remaining: usize,
}

/// Whether an event wrote or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The key was created or replaced.
    Put,
    /// The key was removed.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Written or removed.
    pub kind: EventKind,
    /// The new entry; of a removal, the last value with `modified` set to the removal's revision.
    pub entry: Entry,
    /// The entry before, if there was one.
    pub previous: Option<Entry>,
}

/// What one commit changed in a watch's range: every change of a key before or after which it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The commit's revision.
    pub revision: Revision,
    /// Never empty; each key once, in the order of the transaction.
    pub events: Vec<Event>,
}

/// A commit did not happen.
#[derive(Debug, Clone, Error)]
pub enum CommitError {
    /// An expectation did not hold; nothing was written. Retry after reading again.
    #[error("key {key} is not as expected")]
    Conflict {
        /// The key of the first expectation that failed.
        key: Key,
        /// What is there.
        actual: Option<Box<Entry>>,
    },
    /// The disk refused, and the store could not put itself right yet; nothing was written. May be retried.
    #[error("the store could not write to disk: {0}")]
    Storage(Arc<str>),
    /// The disk is full; nothing was written. Deletions and small changes of what exists go on; retry when there is
    /// room.
    #[error(
        "the disk of the store is full: until there is room, objects can be read and deleted, but not made or grown"
    )]
    Full,
    /// Something cannot be sealed as it should be; nothing was written. May be retried when the keys are there.
    #[error("unable to transform key {key:?}: {why}")]
    Unsealed {
        /// The key of what was to be written.
        key: Key,
        /// Why it cannot be sealed.
        why: Arc<str>,
    },
    /// The store is shut down.
    #[error("the store is closed")]
    Closed,
}

/// How a store is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// It takes everything.
    #[default]
    Good,
    /// The disk is full: see [`CommitError::Full`]. Ends by itself when there is room.
    Full,
    /// A write failed, with this reason, and the store is about to put itself right; writes are refused meanwhile.
    Failing(Arc<str>),
    /// It could not put itself right: no write is taken any more.
    Failed(Arc<str>),
}

/// A read could not be answered.
#[derive(Debug, Clone, Error)]
pub enum ReadError {
    /// The revision is older than what is kept; start again from the newest.
    #[error("revision {requested} is too old, the oldest kept is {oldest}")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The oldest from which a watch can start.
        oldest: Revision,
    },
    /// The revision is newer than the newest commit.
    #[error("revision {requested} is in the future, the newest is {current}")]
    Future {
        /// What was asked for.
        requested: Revision,
        /// The newest.
        current: Revision,
    },
    /// The backend did not answer; may be retried.
    #[error("the store could not be read: {0}")]
    Backend(Arc<str>),
    /// What is stored under a key is sealed, and cannot be opened with the keys that there are.
    #[error("unable to transform key {key:?}: {why}")]
    Closed {
        /// The key.
        key: Key,
        /// Why it cannot be opened.
        why: Arc<str>,
    },
}
