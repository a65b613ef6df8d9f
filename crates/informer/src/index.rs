//! A second way into a cache: objects by a property other than their name.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::{Cache, Change, ObjectKey};

type Entries<P, T> = HashMap<P, BTreeMap<ObjectKey, Arc<T>>>;

/// The objects of a [`Cache`] grouped by a property, kept current by a subscription.
///
/// Create it before other subscribers, so that they find their change already indexed.
pub struct Index<P, T> {
    entries: Arc<RwLock<Entries<P, T>>>,
}

impl<P, T> Clone for Index<P, T> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone() }
    }
}

impl<P, T> Index<P, T>
where
    P: Eq + Hash + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// Groups the objects of `cache` by the values of `property`: none, one or several per object.
    pub fn new<V: IntoIterator<Item = P>>(
        cache: &Cache<T>,
        property: impl Fn(&ObjectKey, &T) -> V + Send + Sync + 'static,
    ) -> Self {
        let entries = Arc::new(RwLock::new(Entries::new()));
        let index = Self { entries: entries.clone() };
        cache.subscribe(move |change| apply(&mut entries.write(), &property, change));
        index
    }

    /// The objects whose property is `value`, ordered by namespace and name.
    pub fn get(&self, value: &P) -> Vec<Arc<T>> {
        self.entries.read().get(value).map(|objects| objects.values().cloned().collect()).unwrap_or_default()
    }
}

fn apply<P: Eq + Hash, T, V: IntoIterator<Item = P>>(
    entries: &mut Entries<P, T>,
    property: &impl Fn(&ObjectKey, &T) -> V,
    change: &Change<'_, T>,
) {
    for value in change.old.into_iter().flat_map(|old| property(change.key, old)) {
        if let Some(objects) = entries.get_mut(&value) {
            objects.remove(change.key);
            if objects.is_empty() {
                entries.remove(&value);
            }
        }
    }
    for value in change.new.into_iter().flat_map(|new| property(change.key, new)) {
        let objects = entries.entry(value).or_default();
        objects.insert(change.key.clone(), change.latest().clone());
    }
}
