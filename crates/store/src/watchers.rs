//! Who is to be told of which change: watchers by what they can match, so that a write costs nothing for those it does
//! not concern. No I/O.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;

use crate::state::Change;
use crate::types::{Range, Term};

/// Watchers in order, each with the range in which it was put.
#[derive(Debug)]
pub(crate) struct Watchers<W> {
    /// By what the keys start with.
    groups: BTreeMap<Box<str>, Group<W>>,
    next: u64,
}

/// Those of one prefix, by number.
#[derive(Debug)]
struct Group<W> {
    all: BTreeMap<u64, Arc<W>>,
    by_term: HashMap<Term, BTreeMap<u64, Arc<W>>>,
}

impl<W> Default for Watchers<W> {
    fn default() -> Self {
        Self { groups: BTreeMap::new(), next: 0 }
    }
}

impl<W> Default for Group<W> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), by_term: HashMap::new() }
    }
}

impl<W> Watchers<W> {
    /// Adds one; the number takes it out again.
    pub(crate) fn add(&mut self, range: Range<'_>, watcher: Arc<W>) -> u64 {
        let number = self.next;
        self.next += 1;
        let group = self.groups.entry(range.prefix.into()).or_default();
        for term in range.terms {
            group.by_term.entry(term.clone()).or_default().insert(number, watcher.clone());
        }
        if range.terms.is_empty() {
            group.all.insert(number, watcher);
        }
        number
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, range: Range<'_>, number: u64) {
        let Entry::Occupied(mut group) = self.groups.entry(range.prefix.into()) else { return };
        for term in range.terms {
            let of_term = group.get_mut().by_term.get_mut(term);
            if of_term.is_some_and(|watchers| watchers.remove(&number).is_some() && watchers.is_empty()) {
                group.get_mut().by_term.remove(term);
            }
        }
        if range.terms.is_empty() {
            group.get_mut().all.remove(&number);
        }
        if group.get().all.is_empty() && group.get().by_term.is_empty() {
            group.remove();
        }
    }

    /// Calls `tell` for everyone whose range a change touches; for some of them more than once.
    pub(crate) fn touched(&self, change: &Change, mut tell: impl FnMut(&Arc<W>)) {
        self.groups_of(change.event.entry.key.as_str(), |group| {
            group.all.values().for_each(&mut tell);
            if !group.by_term.is_empty() {
                let terms = change.before.iter().chain(&*change.after);
                let of_terms = terms.filter_map(|term| group.by_term.get(term));
                of_terms.flat_map(BTreeMap::values).for_each(&mut tell);
            }
        });
    }

    /// Everyone, some more than once.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<W>> {
        self.groups
            .values()
            .flat_map(|group| group.all.values().chain(group.by_term.values().flat_map(BTreeMap::values)))
    }

    /// The groups whose prefixes the key starts with. From the key on backwards: what stands next before it in order is one
    /// of them, or has a beginning in common with the key, and all that are left are no longer than that beginning.
    fn groups_of<'a>(&'a self, key: &str, mut tell: impl FnMut(&'a Group<W>)) {
        let mut rest = key;
        while let Some((prefix, group)) = self.groups.range::<str, _>((Unbounded, Included(rest))).next_back()
        {
            let common = common(rest, prefix);
            if common == prefix.len() {
                tell(group);
                let Some((last, _)) = rest[..common].char_indices().next_back() else { return };
                rest = &rest[..last];
            } else {
                rest = &rest[..common];
            }
        }
    }
}

/// How many bytes both begin with, at a boundary of characters.
fn common(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::types::{self, Event, EventKind, Key, Revision};

    fn change(key: &str, before: &[&str], after: &[&str]) -> Change {
        let revision = Revision::new(1);
        let entry = types::Entry {
            key: Key::from(key),
            value: Bytes::new().into(),
            created: revision,
            modified: revision,
        };
        let terms = |texts: &[&str]| texts.iter().map(|text| Term::new(*text)).collect();
        let event = Event { kind: EventKind::Put, entry, previous: None };
        Change { event, before: terms(before), after: terms(after) }
    }

    fn told(watchers: &Watchers<usize>, change: &Change) -> BTreeSet<usize> {
        let told: RefCell<BTreeSet<usize>> = RefCell::default();
        watchers.touched(change, |watcher| {
            told.borrow_mut().insert(**watcher);
        });
        told.into_inner()
    }

    #[test]
    fn only_those_who_can_match_are_told() {
        let (n1, either) = ([Term::new("node=n1")], [Term::new("node=n2"), Term::new("node=n3")]);
        let mut watchers = Watchers::default();
        let all = Range::from("pods/");
        let of_node = Range { prefix: "pods/", terms: &n1 };
        let of_either = Range { prefix: "pods/b/", terms: &either };
        let ranges =
            [all, of_node, "pods/a/".into(), "pods/a/é".into(), "".into(), "nodes/".into(), of_either];
        let numbers = ranges
            .into_iter()
            .enumerate()
            .map(|(number, range)| (watchers.add(range, Arc::new(number)), range))
            .collect::<Vec<_>>();
        let check = |watchers: &Watchers<usize>, change: Change, expected: &[usize]| {
            assert_eq!(told(watchers, &change), expected.iter().copied().collect(), "{change:?}");
        };
        check(&watchers, change("pods/a/x", &[], &[]), &[0, 2, 4]);
        check(&watchers, change("pods/a/éa", &[], &["node=n2"]), &[0, 2, 3, 4]);
        check(&watchers, change("pods/b/x", &[], &["node=n1"]), &[0, 1, 4]);
        check(&watchers, change("pods/b/x", &["node=n1"], &["node=n2"]), &[0, 1, 4, 6]);
        check(&watchers, change("pods/b/x", &["node=n2"], &["node=n3"]), &[0, 4, 6]);
        check(&watchers, change("nodes/x", &["node=n1"], &[]), &[4, 5]);
        assert_eq!(watchers.all().count(), 8);
        for (number, range) in numbers {
            watchers.remove(range, number);
        }
        check(&watchers, change("pods/a/x", &["node=n1"], &[]), &[]);
        assert!(watchers.groups.is_empty());
    }

    proptest! {
        #[test]
        fn finds_every_prefix(prefixes in prop::collection::vec("[ab/é]{0,5}", 0..60), key in "[ab/é]{0,8}") {
            let mut watchers = Watchers::default();
            for (number, prefix) in prefixes.iter().enumerate() {
                watchers.add(Range::from(prefix.as_str()), Arc::new(number));
            }
            let expected = (0..prefixes.len()).filter(|number| key.starts_with(&prefixes[*number])).collect();
            prop_assert_eq!(told(&watchers, &change(&key, &[], &[])), expected);
        }
    }
}
