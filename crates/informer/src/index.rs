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
    /// Groups the objects of `cache` by `property`; an object without the property is left out.
    pub fn new(
        cache: &Cache<T>,
        property: impl Fn(&ObjectKey, &T) -> Option<P> + Send + Sync + 'static,
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

fn apply<P: Eq + Hash, T>(
    entries: &mut Entries<P, T>,
    property: &impl Fn(&ObjectKey, &T) -> Option<P>,
    change: &Change<'_, T>,
) {
    if let Some(value) = change.old.and_then(|old| property(change.key, old))
        && let Some(objects) = entries.get_mut(&value)
    {
        objects.remove(change.key);
        if objects.is_empty() {
            entries.remove(&value);
        }
    }
    if let Some(new) = change.new
        && let Some(value) = property(change.key, new)
    {
        entries.entry(value).or_default().insert(change.key.clone(), new.clone());
    }
}
