//! Recent commits, apart for each space of keys: a storm of one kind's changes takes nothing from another's history.
//! No I/O.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::state::Change;
use crate::types::{Event, Key, Range, Revision};

/// Bytes of all histories together: some thousand changes, since values are packed. Who has most gives the oldest up first,
/// so a space that stays below its even share loses nothing.
const MAX_BYTES: usize = 4 << 20;

/// What is left of that when memory is to be given back after a burst. What a change holds was made when its object was, in pieces
/// all over what the burst took, and keeps several pages: of 20,000 pods that were deleted, the last 1,700 kept some 15 MB.
const FEW_BYTES: usize = MAX_BYTES / 32;

/// What an event takes beside its key and value, about.
const EVENT_BYTES: usize = 256;

/// One durable commit.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) revision: Revision,
    pub(crate) changes: Vec<Change>,
}

/// The commits of every space.
#[derive(Debug)]
pub(crate) struct History {
    spaces: BTreeMap<Box<str>, Space>,
    bytes: usize,
    /// Commits up to and including this one are forgotten everywhere.
    compacted: Revision,
    /// The newest commit, kept or not.
    head: Revision,
}

/// The commits of one space, in revision order.
#[derive(Debug, Default)]
struct Space {
    parts: VecDeque<Part>,
    bytes: usize,
    /// Commits up to and including this one are forgotten here.
    compacted: Revision,
}

/// What a commit changed in one space.
#[derive(Debug)]
struct Part {
    revision: Revision,
    /// When it was committed.
    at: Instant,
    /// With their places in the transaction.
    changes: Vec<(usize, Change)>,
    bytes: usize,
}

impl History {
    /// Of a store at `head`; nothing before is kept.
    pub(crate) fn new(head: Revision) -> Self {
        Self { spaces: BTreeMap::new(), bytes: 0, compacted: head, head }
    }

    /// The newest commit.
    pub(crate) fn head(&self) -> Revision {
        self.head
    }

    /// Adds the commit after the newest, of now; how many bytes that pushes out.
    pub(crate) fn push(&mut self, commit: Commit, now: Instant) -> usize {
        let Commit { revision, changes } = commit;
        self.head = revision;
        for (place, change) in changes.into_iter().enumerate() {
            let bytes = bytes(&change);
            self.bytes += bytes;
            let space = self.space(Key::space(change.event.entry.key.as_str()));
            space.part(revision, now).push(place, change, bytes);
            space.bytes += bytes;
        }
        self.shrink(MAX_BYTES, |_| true)
    }

    /// Forgets most of what is kept, but nothing from a revision or a time on.
    pub(crate) fn forget(&mut self, revision: Option<Revision>, time: Instant) {
        let may_go = |part: &Part| part.at < time && revision.is_none_or(|first| part.revision < first);
        self.shrink(FEW_BYTES, may_go);
        self.spaces.values_mut().for_each(|space| space.parts.shrink_to_fit());
    }

    /// Forgets the oldest of who has most, as long as more than so many bytes are kept; how many bytes that frees.
    fn shrink(&mut self, most: usize, may_go: impl Fn(&Part) -> bool) -> usize {
        let mut freed = 0;
        while self.bytes > most {
            let spaces = self.spaces.values_mut().filter(|space| space.parts.front().is_some_and(&may_go));
            let Some(largest) = spaces.max_by_key(|space| space.bytes) else { break };
            let bytes = largest.forget_oldest();
            self.bytes -= bytes;
            freed += bytes;
        }
        freed
    }

    fn space(&mut self, name: &str) -> &mut Space {
        if !self.spaces.contains_key(name) {
            self.spaces.insert(name.into(), Space::default());
        }
        self.spaces.get_mut(name).expect("it was there or has just been put there")
    }

    /// Forgets commits up to and including `upto`.
    pub(crate) fn compact(&mut self, upto: Revision) {
        self.compacted = self.compacted.max(upto);
        for space in self.spaces.values_mut() {
            while space.parts.front().is_some_and(|part| part.revision <= upto) {
                self.bytes -= space.forget_oldest();
            }
        }
        self.spaces.retain(|_, space| !space.parts.is_empty() || space.compacted > self.compacted);
    }

    /// The commits of a range are forgotten up to and including this one.
    pub(crate) fn compacted(&self, range: Range<'_>) -> Revision {
        let spaces = self.spaces_of(range.prefix).map(|space| space.compacted);
        spaces.fold(self.compacted, Revision::max)
    }

    /// The first commit after `cursor` that touches a range.
    pub(crate) fn next_after(&self, cursor: Revision, range: Range<'_>) -> Option<Revision> {
        let firsts = self.spaces_of(range.prefix).filter_map(|space| {
            let touches = |part: &&Part| part.changes.iter().any(|(_, change)| change.touches(range));
            space.after(cursor).find(touches).map(|part| part.revision)
        });
        firsts.min()
    }

    /// What a commit changed in a range, in the order of the transaction.
    pub(crate) fn events(&self, revision: Revision, range: Range<'_>) -> Vec<Event> {
        let parts = self.spaces_of(range.prefix).filter_map(|space| space.at(revision));
        let changes = parts.flat_map(|part| &part.changes);
        let mut found: Vec<_> = changes.filter(|(_, change)| change.touches(range)).collect();
        found.sort_by_key(|(place, _)| *place);
        found.into_iter().map(|(_, change)| change.event.clone()).collect()
    }

    /// What was changed after a revision under a prefix, each key's newest first; none if that is no longer known.
    pub(crate) fn since<'a>(
        &'a self,
        revision: Revision,
        prefix: &'a str,
    ) -> Option<impl Iterator<Item = &'a Change>> {
        if self.compacted(prefix.into()) > revision {
            return None;
        }
        let spaces = self.spaces_of(prefix);
        let parts = spaces.flat_map(move |space| space.after(revision).rev());
        Some(parts.flat_map(|part| part.changes.iter().map(|(_, change)| change)))
    }

    /// The spaces that can hold keys with this prefix: its own, and those that lie in it.
    fn spaces_of<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Space> {
        let own = Key::space(prefix);
        // A prefix that goes beyond a whole name holds no other.
        let alone = own.len() < prefix.len() && Key::is_space(own);
        let own = (own.len() < prefix.len()).then(|| self.spaces.get(own)).flatten();
        let inside = (!alone).then(|| {
            let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
            self.spaces.range::<str, _>(from).take_while(move |(name, _)| name.starts_with(prefix))
        });
        own.into_iter().chain(inside.into_iter().flatten().map(|(_, space)| space))
    }
}

impl Space {
    /// The part of the newest commit.
    fn part(&mut self, revision: Revision, at: Instant) -> &mut Part {
        if self.parts.back().is_none_or(|part| part.revision != revision) {
            self.parts.push_back(Part { revision, at, changes: Vec::new(), bytes: 0 });
        }
        self.parts.back_mut().expect("it was there or has just been put there")
    }

    /// How many bytes that frees.
    fn forget_oldest(&mut self) -> usize {
        let Some(part) = self.parts.pop_front() else { return 0 };
        self.bytes -= part.bytes;
        self.compacted = part.revision;
        part.bytes
    }

    fn after(&self, cursor: Revision) -> std::collections::vec_deque::Iter<'_, Part> {
        self.parts.range(self.parts.partition_point(|part| part.revision <= cursor)..)
    }

    fn at(&self, revision: Revision) -> Option<&Part> {
        let index = self.parts.binary_search_by_key(&revision, |part| part.revision).ok()?;
        self.parts.get(index)
    }
}

impl Part {
    fn push(&mut self, place: usize, change: Change, bytes: usize) {
        self.changes.push((place, change));
        self.bytes += bytes;
    }
}

fn bytes(change: &Change) -> usize {
    let entry = &change.event.entry;
    entry.value.held() + entry.key.as_str().len() + EVENT_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Entry, EventKind};

    fn put(key: &str, revision: u64) -> Commit {
        let revision = Revision::new(revision);
        let entry = Entry { key: key.into(), value: "1".into(), created: revision, modified: revision };
        let event = Event { kind: EventKind::Put, entry, previous: None };
        let change = Change { event, before: [].into(), after: [].into() };
        Commit { revision, changes: vec![change] }
    }

    #[test]
    fn a_prefix_finds_the_spaces_that_can_hold_it() {
        let mut history = History::new(Revision::new(1));
        let keys =
            ["/registry/apps/sets/a/x", "/registry/apps/deployments/a/x", "/registry/core/pods/a/x", "a/x"];
        for (key, revision) in keys.into_iter().zip(2..) {
            history.push(put(key, revision), Instant::now());
        }
        let check = |prefix: &str, expected: &[u64]| {
            let all = history.since(Revision::new(1), prefix).unwrap();
            let mut found: Vec<u64> = all
                .filter(|change| change.touches(prefix.into()))
                .map(|change| change.event.entry.modified.get())
                .collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{prefix}");
            let next = history.next_after(Revision::new(1), prefix.into());
            assert_eq!(next.map(Revision::get), expected.first().copied(), "{prefix}");
        };
        check("", &[2, 3, 4, 5]);
        check("/registry/apps", &[2, 3]);
        check("/registry/apps/", &[2, 3]);
        check("/registry/apps/s", &[2]);
        check("/registry/apps/sets/", &[2]);
        check("/registry/apps/sets/a/", &[2]);
        check("/registry/apps/sets/b/", &[]);
        check("a/", &[5]);
        check("a/x", &[5]);
    }
}
