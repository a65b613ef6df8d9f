//! A memory of what was told that does not grow for ever.

use std::collections::{HashMap, VecDeque};

/// So many entries are kept, as in Kubernetes.
const REMEMBERED: usize = 4096;

/// A map that forgets its oldest entries beyond [`REMEMBERED`].
pub(super) struct Bounded<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + std::hash::Hash, V> Bounded<K, V> {
    pub(super) fn new() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.entries.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    pub(super) fn get_or_default(&mut self, key: &K) -> &mut V
    where
        V: Default,
    {
        if !self.entries.contains_key(key) {
            self.insert(key.clone(), V::default());
        }
        self.entries.entry(key.clone()).or_default()
    }
}
