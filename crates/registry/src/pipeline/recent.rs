//! What was recently made of entries, so that one change that many watches, Tables and updates look into is decoded
//! once, and encoded once for all who want it in protobuf.

use skiff_store::{Entry, Key, Revision};

/// What a map takes for an entry, beside what was made of it: its place, its key and the head of an allocation.
const PLACE: usize = 192;

/// A bounded map from an entry's key and revision to something made of it.
#[derive(Debug)]
pub struct Recent<V>(skiff_recent::Recent<(Key, Revision), V>);

impl<V: Clone> Recent<V> {
    /// An empty one that takes about so many bytes at most.
    #[must_use]
    pub fn holding(bytes: usize) -> Self {
        Self(skiff_recent::Recent::new(bytes))
    }

    /// What was made of an entry, or is made of it now; `size` tells how many bytes that has.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn get<E>(
        &self,
        entry: &Entry,
        make: impl FnOnce() -> Result<V, E>,
        size: impl FnOnce(&V) -> usize,
    ) -> Result<V, E> {
        let id = (entry.key.clone(), entry.modified);
        if let Some(value) = self.0.get(&id) {
            return Ok(value);
        }
        let value = make()?;
        let weight = PLACE + id.0.as_str().len() + size(&value);
        self.0.insert_weighing(id, value.clone(), weight);
        Ok(value)
    }

    /// Lets go of everything.
    pub fn clear(&self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::convert::Infallible;

    #[test]
    fn what_is_cleared_is_made_again() {
        let recent = Recent::holding(1024);
        let entry = Entry {
            key: Key::from("k"),
            value: Bytes::from_static(b"v").into(),
            created: Revision::new(1),
            modified: Revision::new(1),
        };
        let made = std::cell::Cell::new(0);
        let get = || recent.get(&entry, || Ok::<_, Infallible>(made.replace(made.get() + 1)), |_| 8).unwrap();
        assert_eq!((get(), get()), (0, 0));
        recent.clear();
        assert_eq!(get(), 1);
    }
}
