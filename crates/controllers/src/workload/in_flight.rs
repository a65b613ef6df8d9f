//! What was written for each owner and may not show in the cache yet.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use skiff_informer::{Barrier, Cache, ObjectKey, Queue, Revision};

use super::owner::Dependent;

/// Looks again after this long if the watch has still not shown our own writes: a bound, not a poll, for an object that
/// was created and deleted while the watch was interrupted leaves no trace to wait for.
pub(crate) const STALE_CACHE_BOUND: Duration = Duration::from_secs(30);

/// The writes of one controller to objects of one cache, by owner.
///
/// A pass for an owner never creates on a cache older than the owner's last writes, and what it has deleted does not count even
/// while the cache still shows it: so it never makes too many, nor deletes too many.
pub(crate) struct InFlight<D> {
    cache: Cache<D>,
    writes: Arc<Mutex<Writes>>,
}

#[derive(Default)]
struct Writes {
    /// By owner, as long as the cache does not show them.
    written: HashMap<ObjectKey, Barrier>,
    /// UIDs, by owner.
    deleted: HashMap<ObjectKey, HashSet<String>>,
}

impl<D> InFlight<D> {
    /// For objects of `cache`.
    pub(crate) fn new(cache: &Cache<D>) -> Self {
        Self { cache: cache.clone(), writes: Arc::default() }
    }

    /// As [`InFlight::new`], where nothing else wakes an owner for changes of these objects: it is added to `queue` as soon as the
    /// cache shows what was written for it.
    pub(crate) fn waking(cache: &Cache<D>, queue: &Queue<ObjectKey>) -> Self
    where
        D: Send + Sync + 'static,
    {
        let this = Self::new(cache);
        let (writes, shown, queue) = (this.writes.clone(), cache.clone(), queue.clone());
        cache.subscribe(move |_| {
            let mut writes = writes.lock();
            writes
                .written
                .extract_if(|_, barrier| shown.reached(barrier))
                .for_each(|(owner, _)| queue.add(owner));
        });
        this
    }

    /// Remembers a write for `owner` that was answered with `meta`; the newest revision covers the older ones.
    pub(crate) fn wrote(&self, owner: &ObjectKey, meta: &ObjectMeta) {
        let barrier = self.cache.barrier(Revision::of(meta));
        let mut writes = self.writes.lock();
        let written = writes.written.entry(owner.clone()).or_insert(barrier);
        *written = written.max(barrier);
    }

    /// Whether the cache shows everything that was written for `owner`, deletions aside.
    pub(crate) fn is_settled(&self, owner: &ObjectKey) -> bool {
        let mut writes = self.writes.lock();
        let is_shown = writes.written.get(owner).is_none_or(|barrier| self.cache.reached(barrier));
        if is_shown {
            writes.written.remove(owner);
        }
        is_shown
    }

    /// Remembers that the object of that UID is being deleted for `owner`. Called before the request.
    pub(crate) fn deleting(&self, owner: &ObjectKey, uid: &str) {
        self.writes.lock().deleted.entry(owner.clone()).or_default().insert(uid.to_owned());
    }

    /// Forgets a deletion that failed.
    pub(crate) fn not_deleted(&self, owner: &ObjectKey, uid: &str) {
        if let Some(deleted) = self.writes.lock().deleted.get_mut(owner) {
            deleted.remove(uid);
        }
    }

    /// Forgets an owner that is gone.
    pub(crate) fn forget(&self, owner: &ObjectKey) {
        let mut writes = self.writes.lock();
        writes.written.remove(owner);
        writes.deleted.remove(owner);
    }
}

impl<D: Dependent> InFlight<D> {
    /// The UIDs among `alive` whose deletion was asked for already; those that are not there any more, or are seen being deleted,
    /// are forgotten.
    pub(crate) fn deleted(&self, owner: &ObjectKey, alive: &[Arc<D>]) -> HashSet<String> {
        let mut writes = self.writes.lock();
        let Some(deleted) = writes.deleted.get_mut(owner) else { return HashSet::new() };
        let shown: HashSet<&str> =
            alive.iter().filter(|object| !object.is_deleting()).map(|object| object.uid()).collect();
        deleted.retain(|uid| shown.contains(uid.as_str()));
        deleted.clone()
    }
}
