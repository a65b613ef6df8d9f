//! What was recently made of entries, so that one change that many watches, Tables and updates look into is decoded
//! once, and encoded once for all who want it in protobuf.

use std::collections::HashMap;
use std::collections::VecDeque;

use parking_lot::Mutex;
use skiff_store::{Entry, Key, Revision};

/// Bytes of which something is kept; a tree takes several times its text.
const BUDGET: usize = 512 * 1024;

/// A bounded map from an entry's key and revision to something made of it. First in, first out.
#[derive(Debug)]
pub struct Recent<V>(Mutex<Kept<V>>);

#[derive(Debug)]
struct Kept<V> {
    values: HashMap<(Key, Revision), V>,
    order: VecDeque<((Key, Revision), usize)>,
    bytes: usize,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V: Clone> Recent<V> {
    /// What was made of an entry, or is made of it now.
    pub fn get<E>(&self, entry: &Entry, make: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let id = (entry.key.clone(), entry.modified);
        if let Some(value) = self.0.lock().values.get(&id) {
            return Ok(value.clone());
        }
        let value = make()?;
        self.0.lock().keep(id, value.clone(), entry.value.len());
        Ok(value)
    }
}

impl<V> Recent<V> {
    /// Lets go of everything.
    pub fn clear(&self) {
        *self.0.lock() = Kept::default();
    }
}

impl<V> Default for Kept<V> {
    fn default() -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), bytes: 0 }
    }
}

impl<V> Kept<V> {
    fn keep(&mut self, id: (Key, Revision), value: V, bytes: usize) {
        if self.values.insert(id.clone(), value).is_none() {
            self.order.push_back((id, bytes));
            self.bytes += bytes;
        }
        while self.bytes > BUDGET {
            let Some((oldest, bytes)) = self.order.pop_front() else { break };
            self.values.remove(&oldest);
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::convert::Infallible;

    #[test]
    fn what_is_cleared_is_made_again() {
        let recent = Recent::default();
        let entry = Entry {
            key: Key::from("k"),
            value: Bytes::from_static(b"v").into(),
            created: Revision::new(1),
            modified: Revision::new(1),
        };
        let made = std::cell::Cell::new(0);
        let get = || recent.get(&entry, || Ok::<_, Infallible>(made.replace(made.get() + 1))).unwrap();
        assert_eq!((get(), get()), (0, 0));
        recent.clear();
        assert_eq!(get(), 1);
    }

    #[test]
    fn stays_within_its_budget() {
        let recent = Recent::default();
        let filler = Bytes::from("x".repeat(BUDGET / 4 + 1));
        for i in 0..20 {
            let revision = Revision::new(i);
            let entry = Entry {
                key: Key::from("/k"),
                value: filler.clone().into(),
                created: revision,
                modified: revision,
            };
            let make = |value| recent.get(&entry, || Ok::<_, Infallible>(value));
            assert_eq!((make(i), make(100)), (Ok(i), Ok(i)));
        }
        let kept = recent.0.lock();
        assert!(kept.bytes <= BUDGET && kept.values.len() == kept.order.len() && kept.order.len() < 4);
    }
}
