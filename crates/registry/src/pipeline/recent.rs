//! What was recently made of entries, so that one change that many watches, Tables and updates look into is decoded
//! once, and encoded once for all who want it in protobuf.

use skiff_store::{Entry, Key, Revision, Value};

/// What a map takes for an entry, beside its value and what was made of it: its place, its key and the head of an allocation.
const PLACE: usize = 192;

/// A bounded map from entries to something made of them.
///
/// Key and revision do not tell an entry: who watches what has left a selection is shown, at the revision at which it left, what
/// the object was before. So what was made of a value counts for this value alone.
#[derive(Debug)]
pub struct Recent<V>(skiff_recent::Recent<(Key, Revision), Made<V>>);

/// Something and what it was made of.
#[derive(Clone, Debug)]
struct Made<V> {
    of: Value,
    value: V,
}

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
        let known = self.0.get(&id).filter(|made| made.of == entry.value);
        if let Some(made) = &known
            && made.of.is_clone_of(&entry.value)
        {
            return Ok(made.value.clone());
        }
        let value = known.map_or_else(make, |made| Ok(made.value))?;
        let weight = PLACE + id.0.as_str().len() + entry.value.held() + size(&value);
        let made = Made { of: entry.value.clone(), value: value.clone() };
        self.0.insert_weighing(id, made, weight);
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
    use std::cell::Cell;
    use std::convert::Infallible;

    fn entry(value: &str) -> Entry {
        Entry {
            key: Key::from("k"),
            value: Bytes::copy_from_slice(value.as_bytes()).into(),
            created: Revision::new(1),
            modified: Revision::new(2),
        }
    }

    #[test]
    fn what_is_cleared_is_made_again() {
        let (recent, made, entry) = (Recent::holding(1024), Cell::new(0), entry("v"));
        let get = || recent.get(&entry, || Ok::<_, Infallible>(made.replace(made.get() + 1)), |_| 8).unwrap();
        assert_eq!((get(), get()), (0, 0));
        recent.clear();
        assert_eq!(get(), 1);
    }

    #[test]
    fn a_value_is_made_once_and_no_other_is_taken_for_it() {
        let (recent, made) = (Recent::holding(1024), Cell::new(0));
        let make = |entry: &Entry| {
            made.set(made.get() + 1);
            Ok::<_, Infallible>(entry.value.bytes())
        };
        let get = |entry: &Entry| recent.get(entry, || make(entry), Bytes::len).unwrap();
        let (before, after) = (entry("before"), entry("after"));
        for (entry, expected) in [(&before, 1), (&after, 2), (&after.clone(), 2), (&self::entry("after"), 2)]
        {
            assert_eq!(get(entry), entry.value.bytes());
            assert_eq!(made.get(), expected);
        }
    }
}
