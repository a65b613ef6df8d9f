//! What was found out lately, and is not to be found out again: a map that never holds more than so many entries.
//!
//! Entries are in two halves. What is asked for or added is in the younger one; once that is full the older one is forgotten,
//! and the younger takes its place. So whoever fills the map with what nobody asks for again takes away only what has not been
//! asked for meanwhile, at the price of one more look and no lists. Nothing expires by itself: values say until when they hold.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;

use parking_lot::Mutex;

/// A map of at most so many entries, shared by threads.
pub struct Recent<K, V> {
    /// The most entries of each half.
    half: usize,
    halves: Mutex<Halves<K, V>>,
}

struct Halves<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    /// An empty one for at most so many entries, two at least.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let halves = Halves { young: HashMap::new(), old: HashMap::new() };
        Self { half: (most / 2).max(1), halves: Mutex::new(halves) }
    }

    /// What is known of a key.
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let mut halves = self.halves.lock();
        if let Some(known) = halves.young.get(key) {
            return Some(known.clone());
        }
        let (key, value) = halves.old.remove_entry(key)?;
        halves.add(key, value.clone(), self.half);
        Some(value)
    }

    /// Keeps what was found out of a key, instead of what was known before.
    pub fn insert(&self, key: K, value: V) {
        let mut halves = self.halves.lock();
        halves.old.remove(&key);
        halves.add(key, value, self.half);
    }
}

impl<K: Eq + Hash, V> Halves<K, V> {
    fn add(&mut self, key: K, value: V, most: usize) {
        if self.young.len() >= most && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

impl<K, V> fmt::Debug for Recent<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let halves = self.halves.lock();
        write!(f, "Recent({} of {})", halves.young.len() + halves.old.len(), 2 * self.half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(recent: &Recent<u32, u32>) -> usize {
        let halves = recent.halves.lock();
        halves.young.len() + halves.old.len()
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
    fn keys_are_found_by_what_they_borrow() {
        let recent = Recent::new(2);
        recent.insert("a".to_owned(), 1);
        assert_eq!(recent.get("a"), Some(1));
    }
}
