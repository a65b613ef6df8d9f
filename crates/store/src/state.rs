//! The current state as an immutable tree, and what a transaction makes of it. No I/O.

use std::ops::Bound;

use imbl::OrdMap;

use crate::types::{CommitError, Entry, Event, EventKind, Expect, Key, Listing, Op, Page, Revision, Txn};

/// All entries at one revision. Clones share structure, so a snapshot costs a pointer.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The revision of the last commit in it.
    pub(crate) revision: Revision,
    entries: OrdMap<Key, Entry>,
}

impl State {
    /// The state read from disk.
    pub(crate) fn new(revision: Revision, entries: impl IntoIterator<Item = Entry>) -> Self {
        Self { revision, entries: entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect() }
    }

    /// All entries, in key order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The entry of a key.
    pub(crate) fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// One page of the entries under a prefix; `page.at` is not looked at.
    pub(crate) fn list(&self, prefix: &str, page: &Page) -> Listing {
        let start = match &page.after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.clone()),
            _ => Bound::Included(Key::from(prefix)),
        };
        let mut rest = self
            .entries
            .range((start, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(|entry| entry.key.as_str().starts_with(prefix));
        let limit = page.limit.map_or(usize::MAX, std::num::NonZero::get);
        let entries: Vec<Entry> = rest.by_ref().take(limit).cloned().collect();
        Listing { revision: self.revision, entries, remaining: rest.count() }
    }

    /// Applies a transaction in place at the next revision and returns what it changed, or leaves the state
    /// as it was. A transaction that changes nothing takes no revision and returns no events.
    pub(crate) fn apply(&mut self, txn: &Txn) -> Result<Vec<Event>, CommitError> {
        self.expect(txn)?;
        let revision = self.revision.next();
        let events: Vec<Event> = txn.ops.iter().filter_map(|op| self.apply_op(op, revision)).collect();
        if !events.is_empty() {
            self.revision = revision;
        }
        Ok(events)
    }

    /// Whether all that a transaction expects holds; the error names the first that does not.
    pub(crate) fn expect(&self, txn: &Txn) -> Result<(), CommitError> {
        txn.expect.iter().try_for_each(|expect| self.check(expect))
    }

    fn check(&self, expect: &Expect) -> Result<(), CommitError> {
        let (key, holds) = match expect {
            Expect::Absent(key) => (key, self.get(key).is_none()),
            Expect::At(key, revision) => (key, self.get(key).is_some_and(|e| e.modified == *revision)),
        };
        if holds {
            return Ok(());
        }
        Err(CommitError::Conflict { key: key.clone(), actual: self.get(key).cloned().map(Box::new) })
    }

    fn apply_op(&mut self, op: &Op, revision: Revision) -> Option<Event> {
        match op {
            Op::Put { key, value } => {
                let created = self.get(key).map_or(revision, |entry| entry.created);
                let entry = Entry { key: key.clone(), value: value.clone(), created, modified: revision };
                let previous = self.entries.insert(key.clone(), entry.clone());
                Some(Event { kind: EventKind::Put, entry, previous })
            }
            Op::Delete { key } => {
                let previous = self.entries.remove(key)?;
                let entry = Entry { modified: revision, ..previous.clone() };
                Some(Event { kind: EventKind::Delete, entry, previous: Some(previous) })
            }
        }
    }
}
