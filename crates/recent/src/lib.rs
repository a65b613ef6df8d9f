//! What was found out lately, and is not to be found out again: a map that never holds more than so much.
//!
//! Entries are in two halves. What is asked for or added is in the younger one; once that is full the older one is forgotten,
//! and the younger takes its place. So whoever fills the map with what nobody asks for again takes away only what has not been
//! asked for meanwhile, at the price of one more look and no lists, and what is asked for in turns stays if it fits into a half.
//! Nothing expires by itself: values say until when they hold.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;

use parking_lot::Mutex;

/// A map of so many entries, or so many bytes, at most; shared by threads.
pub struct Recent<K, V> {
    /// The most that each half weighs.
    half: usize,
    halves: Mutex<Halves<K, V>>,
}

struct Halves<K, V> {
    young: Half<K, V>,
    old: Half<K, V>,
}

/// Entries with what each of them weighs.
struct Half<K, V> {
    entries: HashMap<K, (V, usize)>,
    weight: usize,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    /// An empty one for entries that weigh at most so much together; two at least. One alone weighs 1, unless its weight is given.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { half: (most / 2).max(1), halves: Mutex::default() }
    }

    /// What is known of a key.
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let mut halves = self.halves.lock();
        if let Some((known, _)) = halves.young.entries.get(key) {
            return Some(known.clone());
        }
        let (key, value, weight) = halves.old.remove(key)?;
        halves.add(key, value.clone(), weight, self.half);
        Some(value)
    }

    /// Keeps what was found out of a key, instead of what was known before.
    pub fn insert(&self, key: K, value: V) {
        self.insert_weighing(key, value, 1);
    }

    /// As [`Recent::insert`], of what weighs so much (e.g. bytes). What weighs more than half of all is not kept.
    pub fn insert_weighing(&self, key: K, value: V, weight: usize) {
        let mut halves = self.halves.lock();
        halves.old.remove(&key);
        halves.young.remove(&key);
        if weight <= self.half {
            halves.add(key, value, weight, self.half);
        }
    }

    /// Lets go of everything.
    pub fn clear(&self) {
        *self.halves.lock() = Halves::default();
    }
}

impl<K: Eq + Hash, V> Halves<K, V> {
    /// Adds what is in neither.
    fn add(&mut self, key: K, value: V, weight: usize, most: usize) {
        if self.young.weight + weight > most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.weight += weight;
        self.young.entries.insert(key, (value, weight));
    }
}

impl<K: Eq + Hash, V> Half<K, V> {
    fn remove<Q>(&mut self, key: &Q) -> Option<(K, V, usize)>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (key, (value, weight)) = self.entries.remove_entry(key)?;
        self.weight -= weight;
        Some((key, value, weight))
    }
}

impl<K, V> Default for Halves<K, V> {
    fn default() -> Self {
        Self { young: Half::default(), old: Half::default() }
    }
}

impl<K, V> Default for Half<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), weight: 0 }
    }
}

impl<K, V> fmt::Debug for Recent<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let halves = self.halves.lock();
        write!(f, "Recent({} of {})", halves.young.weight + halves.old.weight, 2 * self.half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(recent: &Recent<u32, u32>) -> usize {
        let halves = recent.halves.lock();
        assert_eq!(halves.young.weight, halves.young.entries.values().map(|(_, weight)| weight).sum());
        assert_eq!(halves.old.weight, halves.old.entries.values().map(|(_, weight)| weight).sum());
        halves.young.weight + halves.old.weight
    }

    #[test]
    fn never_holds_more_than_it_may() {
        let recent = Recent::new(10);
        for key in 0..1000 {
            recent.insert(key, key);
            assert!(size(&recent) <= 10);
            assert_eq!(recent.get(&key), Some(key));
        }
        assert_eq!(recent.get(&0), None);
    }

    #[test]
    fn what_is_asked_for_stays_while_others_come_and_go() {
        let recent = Recent::new(10);
        recent.insert(0, 0);
        for key in 1..1000 {
            recent.insert(key, key);
            assert_eq!(recent.get(&0), Some(0), "after {key}");
        }
    }

    #[test]
    fn the_newest_value_counts_wherever_the_older_one_was() {
        let recent = Recent::new(4);
        recent.insert(1, 1);
        recent.insert(2, 2);
        recent.insert(3, 3);
        recent.insert(1, 10);
        assert_eq!(recent.get(&1), Some(10));
        recent.insert(1, 11);
        assert_eq!(recent.get(&1), Some(11));
        assert!(size(&recent) <= 4);
    }

    #[test]
    fn what_is_read_in_turns_stays_if_it_fits_into_a_half_and_what_weighs_more_is_not_kept() {
        let recent = Recent::new(100);
        let misses = |keys: u32| {
            let miss = |key: &u32| {
                let known = recent.get(key).is_some();
                if !known {
                    recent.insert_weighing(*key, 0, 10);
                }
                assert!(size(&recent) <= 100);
                !known
            };
            (0..keys).filter(miss).count()
        };
        assert_eq!((misses(5), misses(5), misses(5)), (5, 0, 0));
        assert!(misses(20) >= 15 && misses(20) == 20, "more than fits pushes itself out");
        recent.insert_weighing(0, 0, 51);
        assert_eq!(recent.get(&0), None);
        recent.clear();
        assert_eq!((size(&recent), recent.get(&19)), (0, None));
    }

    #[test]
    fn keys_are_found_by_what_they_borrow() {
        let recent = Recent::new(2);
        recent.insert("a".to_owned(), 1);
        assert_eq!(recent.get("a"), Some(1));
    }
}
