//! The current state as immutable trees, and what a transaction makes of it. No I/O.

use std::collections::{BTreeSet, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::transformer::Transformer;
use crate::tree::{Iter, Keyed, Tree};
use crate::types::{
    CommitError, Entry, Event, EventKind, Expect, Extent, Key, Listing, Op, Page, Range, Revision, Term,
    Terms, Txn,
};
use crate::value::Value;

/// All entries at one revision. Clones share structure, so a snapshot costs two pointers.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The revision of the last commit in it.
    pub(crate) revision: Revision,
    entries: Tree<Stored>,
    index: Tree<Indexed>,
}

/// An entry and what it is indexed by.
#[derive(Clone, Debug)]
struct Stored {
    entry: Entry,
    terms: Arc<[Term]>,
}

impl Keyed for Stored {
    type Key = Key;

    fn key(&self) -> &Key {
        &self.entry.key
    }
}

/// An entry that has a term.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Indexed {
    term: Term,
    key: Key,
}

impl Keyed for Indexed {
    type Key = Self;

    fn key(&self) -> &Self {
        self
    }
}

/// A part of the index in which all have the same term.
struct Span<'a> {
    count: usize,
    /// Goes on behind it.
    with: Iter<'a, Indexed>,
}

/// A transaction with what the index needs to know of it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) txn: Txn,
    /// What each operation writes, and its terms.
    written: Vec<Option<(Value, Arc<[Term]>)>>,
}

impl Prepared {
    /// Packs what is written, finds its seal and reads its terms. Of several operations on a key the last is kept.
    pub(crate) fn new(mut txn: Txn, terms: &Terms, seals: &dyn Transformer) -> Result<Self, CommitError> {
        if txn.ops.len() > 1 {
            let mut seen = HashSet::new();
            txn.ops.reverse();
            txn.ops.retain(|op| seen.insert(op.key().clone()));
            txn.ops.reverse();
        }
        let written = txn.ops.iter().map(|op| match op {
            Op::Put { key, value } => {
                let unsealed = |why| CommitError::Unsealed { key: key.clone(), why };
                let seal = seals.current(key).map_err(unsealed)?;
                Ok(Some((Value::pack(value, seal), terms.of(key, value).into())))
            }
            Op::Delete { .. } => Ok(None),
        });
        Ok(Self { written: written.collect::<Result<_, CommitError>>()?, txn })
    }
}

/// An event, and what its entry is and was indexed by.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) event: Event,
    pub(crate) before: Arc<[Term]>,
    pub(crate) after: Arc<[Term]>,
}

impl Change {
    /// Whether its key lies in the range before or after it.
    pub(crate) fn touches(&self, range: Range<'_>) -> bool {
        self.event.entry.key.as_str().starts_with(range.prefix)
            && (range.terms.is_empty()
                || range.terms.iter().any(|term| self.before.contains(term) || self.after.contains(term)))
    }
}

impl State {
    /// The state read from disk.
    pub(crate) fn new(revision: Revision, entries: impl IntoIterator<Item = Entry>, terms: &Terms) -> Self {
        let mut state = Self { revision, ..Self::default() };
        for entry in entries {
            let is_closed = entry.value.why_closed().is_some();
            let terms = if is_closed { Vec::new() } else { terms.of(&entry.key, &entry.value.bytes()) };
            let terms = state.shared(terms.into());
            state.put(Stored { entry, terms });
        }
        state
    }

    /// All entries, in key order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(|stored| &stored.entry)
    }

    /// The entry of a key.
    pub(crate) fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key).map(|stored| &stored.entry)
    }

    /// One page of a range; `page.at` is not looked at.
    pub(crate) fn list(&self, range: Range<'_>, page: &Page) -> Listing {
        let prefix = range.prefix;
        let before = |key: &Key| match &page.after {
            Some(after) if after.as_str() >= prefix => key <= after,
            _ => key.as_str() < prefix,
        };
        let not_behind = |key: &Key| key.as_str() < prefix || key.as_str().starts_with(prefix);
        let (all, entries) = if range.terms.is_empty() {
            let all = self.entries.position(not_behind).saturating_sub(self.entries.position(before));
            let rest = self.entries.iter_from(before).map(|stored| &stored.entry);
            (all, take(rest, all, page))
        } else {
            let spans = range.terms.iter().map(|term| self.span(term, before, not_behind));
            self.take_of(spans.filter(|span| span.count > 0).collect(), page)
        };
        Listing { revision: self.revision, remaining: all - entries.len(), entries }
    }

    /// The entries that have a term, from a place on and up to another.
    fn span(
        &self,
        term: &Term,
        before: impl Fn(&Key) -> bool,
        not_behind: impl Fn(&Key) -> bool,
    ) -> Span<'_> {
        let place = |with: &Indexed, inside: &dyn Fn(&Key) -> bool| {
            with.term < *term || (with.term == *term && inside(&with.key))
        };
        let start = |with: &Indexed| place(with, &before);
        let end = self.index.position(|with| place(with, &not_behind));
        let count = end.saturating_sub(self.index.position(start));
        Span { count, with: self.index.iter_from(start) }
    }

    /// How many entries there are in some spans, and those of the page.
    fn take_of(&self, spans: Vec<Span<'_>>, page: &Page) -> (usize, Vec<Entry>) {
        let entries = |with: &Indexed| self.get(&with.key);
        match <[Span<'_>; 1]>::try_from(spans) {
            Ok([Span { count, with }]) => (count, take(with.filter_map(entries), count, page)),
            Err(several) => {
                let with = several.into_iter().flat_map(|span| span.with.take(span.count));
                let keys: BTreeSet<&Key> = with.map(|with| &with.key).collect();
                (keys.len(), take(keys.iter().filter_map(|key| self.get(key)), keys.len(), page))
            }
        }
    }

    /// How many entries there are in a range, and how long the first few are.
    pub(crate) fn extent(&self, range: Range<'_>) -> Extent {
        const LOOKED_AT: usize = 4;
        let few = Page { limit: NonZeroUsize::new(LOOKED_AT), ..Page::default() };
        let Listing { entries, remaining, .. } = self.list(range, &few);
        let sum: usize = entries.iter().map(|entry| entry.value.len()).sum();
        Extent { count: entries.len() + remaining, average: sum / entries.len().max(1) }
    }

    /// Applies a transaction in place at the next revision and returns what it changed, or leaves the state
    /// as it was. A transaction that changes nothing takes no revision and returns nothing.
    pub(crate) fn apply(&mut self, prepared: &Prepared) -> Result<Vec<Change>, CommitError> {
        self.expect(&prepared.txn)?;
        let revision = self.revision.next();
        let ops = prepared.txn.ops.iter().zip(&prepared.written);
        let changes: Vec<Change> =
            ops.filter_map(|(op, written)| self.apply_op(op.key(), written.clone(), revision)).collect();
        if !changes.is_empty() {
            self.revision = revision;
        }
        Ok(changes)
    }

    /// Takes a change back, the newest first; the revision is the caller's to set.
    pub(crate) fn undo(&mut self, change: &Change) {
        match &change.event.previous {
            Some(entry) => self.put(Stored { entry: entry.clone(), terms: Arc::clone(&change.before) }),
            None => self.remove(&change.event.entry.key),
        };
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

    /// Writes a value with its terms, or removes the key.
    fn apply_op(
        &mut self,
        key: &Key,
        written: Option<(Value, Arc<[Term]>)>,
        revision: Revision,
    ) -> Option<Change> {
        let Some((value, after)) = written else {
            let Stored { entry: previous, terms: before } = self.remove(key)?;
            let entry = Entry { modified: revision, ..previous.clone() };
            let event = Event { kind: EventKind::Delete, entry, previous: readable(previous) };
            return Some(Change { event, before, after: Arc::default() });
        };
        // One allocation for a key, however often it is written, and for its terms while they stay.
        let (key, created, after) = match self.entries.get(key) {
            Some(Stored { entry, terms }) if *terms == after => (&entry.key, entry.created, terms.clone()),
            Some(Stored { entry, .. }) => (&entry.key, entry.created, self.shared(after)),
            None => (key, revision, self.shared(after)),
        };
        let entry = Entry { key: key.clone(), value, created, modified: revision };
        let previous = self.put(Stored { entry: entry.clone(), terms: Arc::clone(&after) });
        let (previous, before) = previous.map(|stored| (stored.entry, stored.terms)).unzip();
        let event = Event { kind: EventKind::Put, entry, previous: previous.and_then(readable) };
        Some(Change { event, before: before.unwrap_or_default(), after })
    }

    /// The terms in the allocations of those who have the same: of what many have there is one text.
    fn shared(&self, terms: Arc<[Term]>) -> Arc<[Term]> {
        let same = |term: &Term| {
            let first = self.index.iter_from(|with| with.term < *term).next();
            first.map(|with| &with.term).filter(|known| *known == term).cloned()
        };
        let known: Vec<Option<Term>> = terms.iter().map(same).collect();
        if known.iter().all(Option::is_none) {
            return terms;
        }
        terms.iter().zip(known).map(|(term, known)| known.unwrap_or_else(|| term.clone())).collect()
    }

    fn put(&mut self, stored: Stored) -> Option<Stored> {
        let (key, terms) = (stored.entry.key.clone(), Arc::clone(&stored.terms));
        let previous = self.entries.insert(stored);
        let before: &[Term] = previous.as_ref().map_or(&[], |stored| &*stored.terms);
        if *before != *terms {
            self.unindex(&key, before);
            for term in &*terms {
                self.index.insert(Indexed { term: term.clone(), key: key.clone() });
            }
        }
        previous
    }

    fn remove(&mut self, key: &Key) -> Option<Stored> {
        let removed = self.entries.remove(key)?;
        self.unindex(key, &removed.terms);
        Some(removed)
    }

    fn unindex(&mut self, key: &Key, terms: &[Term]) {
        for term in terms {
            self.index.remove(&Indexed { term: term.clone(), key: key.clone() });
        }
    }
}

/// An entry as those who watch know it: what nobody could read was not there.
fn readable(entry: Entry) -> Option<Entry> {
    entry.value.why_closed().is_none().then_some(entry)
}

/// As many of the `all` first entries as the page may have.
fn take<'a>(rest: impl Iterator<Item = &'a Entry>, all: usize, page: &Page) -> Vec<Entry> {
    let limit = page.limit.map_or(usize::MAX, std::num::NonZero::get);
    rest.take(all.min(limit)).cloned().collect()
}
