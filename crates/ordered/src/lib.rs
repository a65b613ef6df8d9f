//! Sorted lists, maps and sets whose code exists once, or nearly so.
//!
//! The standard library's sort is 3 KB of program for each type and each comparison, and 13 KB where the program is made for speed;
//! a map or set that is collected has one as well. There were 230 of them, 1.3 MB, most for lists of a few elements. Here the
//! places of elements are sorted, by one sort, and maps and sets are filled one by one. What is long and sorted often is better
//! off with the standard library's; so are lists of strings, whose sort is there anyway.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Sorts as [`slice::sort_by`] does: equal elements stay in their order.
pub fn sort_by<T>(list: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
    let mut from = sorted(list.len(), &mut |a, b| compare(&list[a], &list[b]));
    // Each place gets its element: along each circle of places, one exchange after the other.
    for start in 0..list.len() {
        let mut at = start;
        while from[at] != start {
            list.swap(at, from[at]);
            at = std::mem::replace(&mut from[at], at);
        }
        from[at] = at;
    }
}

/// Sorts as [`slice::sort_by_key`] does; the key is made for each comparison.
pub fn sort_by_key<T, K: Ord>(list: &mut [T], mut key: impl FnMut(&T) -> K) {
    sort_by(list, |a, b| key(a).cmp(&key(b)));
}

/// Of so many places, which comes where.
fn sorted(length: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..length).collect();
    places.sort_by(|a, b| compare(*a, *b));
    places
}

/// What collects entries and elements one by one. Of those with equal keys the last one stays.
pub trait Ordered: Iterator + Sized {
    /// A map, set or JSON object, as [`Iterator::collect`] makes it.
    fn one_by_one<C: Default + Extend<Self::Item>>(self) -> C {
        let mut all = C::default();
        all.extend(self);
        all
    }

    /// A map of what are pairs.
    fn to_map<K: Ord, V>(self) -> BTreeMap<K, V>
    where
        Self: Iterator<Item = (K, V)>,
    {
        self.one_by_one()
    }

    /// A set.
    fn to_set(self) -> BTreeSet<Self::Item>
    where
        Self::Item: Ord,
    {
        self.one_by_one()
    }
}

impl<I: Iterator> Ordered for I {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lists_are_sorted_as_the_standard_library_does(keys in prop::collection::vec(0_u8..8, 0..60)) {
            let list: Vec<(u8, String)> =
                keys.iter().enumerate().map(|(place, key)| (*key, place.to_string())).collect();
            let (mut ours, mut theirs) = (list.clone(), list);
            sort_by_key(&mut ours, |(key, _)| *key);
            theirs.sort_by_key(|(key, _)| *key);
            prop_assert_eq!(&ours, &theirs);
            sort_by(&mut ours, |(a, _), (b, _)| b.cmp(a));
            theirs.sort_by(|(a, _), (b, _)| b.cmp(a));
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn maps_and_sets_are_what_the_standard_library_collects(pairs in prop::collection::vec((0_u8..8, 0_u8..8), 0..30)) {
            prop_assert_eq!(pairs.iter().copied().to_map(), pairs.iter().copied().collect::<BTreeMap<_, _>>());
            prop_assert_eq!(pairs.iter().to_set(), pairs.iter().collect::<BTreeSet<_>>());
        }
    }
}
