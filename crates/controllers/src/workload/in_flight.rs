//! What was written for each owner and may not show in the cache yet.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use skiff_informer::{Barrier, Cache, ObjectKey, Revision};

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
    writes: Mutex<HashMap<ObjectKey, Writes>>,
}

#[derive(Default)]
struct Writes {
    written: Option<Barrier>,
    deleted: HashSet<String>,
}

impl<D> InFlight<D> {
    /// For objects of `cache`.
    pub(crate) fn new(cache: &Cache<D>) -> Self {
        Self { cache: cache.clone(), writes: Mutex::default() }
    }

    /// Remembers a write for `owner` that was answered with `meta`; the newest revision covers the older ones.
    pub(crate) fn wrote(&self, owner: &ObjectKey, meta: &ObjectMeta) {
        let barrier = self.cache.barrier(Revision::of(meta));
        let mut writes = self.writes.lock();
        let written = &mut writes.entry(owner.clone()).or_default().written;
        *written = Some(written.map_or(barrier, |earlier| earlier.max(barrier)));
    }

    /// Whether the cache shows everything that was written for `owner`, deletions aside.
    pub(crate) fn is_settled(&self, owner: &ObjectKey) -> bool {
        let mut writes = self.writes.lock();
        let Some(entry) = writes.get_mut(owner) else { return true };
        if entry.written.as_ref().is_some_and(|barrier| self.cache.reached(barrier)) {
            entry.written = None;
        }
        entry.written.is_none()
    }

    /// Remembers that the object of that UID is being deleted for `owner`. Called before the request.
    pub(crate) fn deleting(&self, owner: &ObjectKey, uid: &str) {
        self.writes.lock().entry(owner.clone()).or_default().deleted.insert(uid.to_owned());
    }

    /// Forgets a deletion that failed.
    pub(crate) fn not_deleted(&self, owner: &ObjectKey, uid: &str) {
        if let Some(entry) = self.writes.lock().get_mut(owner) {
            entry.deleted.remove(uid);
        }
    }

    /// Forgets an owner that is gone.
    pub(crate) fn forget(&self, owner: &ObjectKey) {
        self.writes.lock().remove(owner);
    }
}

impl<D: Dependent> InFlight<D> {
    /// The UIDs among `alive` whose deletion was asked for already; those that are not there any more, or are seen being deleted,
    /// are forgotten.
    pub(crate) fn deleted(&self, owner: &ObjectKey, alive: &[Arc<D>]) -> HashSet<String> {
        let mut writes = self.writes.lock();
        let Some(entry) = writes.get_mut(owner) else { return HashSet::new() };
        let shown: HashSet<&str> =
            alive.iter().filter(|object| !object.is_deleting()).map(|object| object.uid()).collect();
        entry.deleted.retain(|uid| shown.contains(uid.as_str()));
        entry.deleted.clone()
    }
}
