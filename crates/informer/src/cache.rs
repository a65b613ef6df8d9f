//! An in-memory copy of all objects of one kind, kept current by one watch.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::watcher;
use parking_lot::RwLock;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::{ObjectKey, Tolerant};

/// A point in the history of the cluster: an object's `metadata.resourceVersion` as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(u64);

impl Revision {
    /// The revision at which the object that carries `meta` was last written; 0 when unknown.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self(meta.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0))
    }
}

/// What happened to one object. `old` and `new` are never both absent.
pub struct Change<'a, T> {
    /// Which object.
    pub key: &'a ObjectKey,
    /// The copy held before, absent for a new object.
    pub old: Option<&'a Arc<T>>,
    /// The copy held now, absent for a deleted object.
    pub new: Option<&'a Arc<T>>,
}

impl<'a, T> Change<'a, T> {
    /// The newest copy known: `new`, or the last one of a deleted object.
    pub fn latest(&self) -> &'a Arc<T> {
        self.new.or(self.old).expect("a change has an old or a new object: the cache emits nothing else")
    }

    /// Both copies that exist, old first.
    pub fn both(&self) -> impl Iterator<Item = &'a Arc<T>> {
        self.old.into_iter().chain(self.new)
    }
}

/// A state of the cache that a writer waits for; see [`Cache::barrier`].
#[derive(Clone, Copy, Debug)]
pub struct Barrier {
    revision: Revision,
    lists_started: u64,
}

impl Barrier {
    /// A mark for two writes: reached once the cache shows both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        let (revision, lists_started) =
            (self.revision.max(other.revision), self.lists_started.max(other.lists_started));
        Self { revision, lists_started }
    }
}

type Subscriber<T> = Box<dyn Fn(&Change<'_, T>) + Send + Sync>;

struct Slot<T> {
    revision: Revision,
    value: Arc<T>,
}

struct State<T> {
    objects: BTreeMap<ObjectKey, Slot<T>>,
    /// Everything up to here has been seen.
    observed: Revision,
    lists_started: u64,
    /// The newest complete list, by the number it had when it started.
    last_complete_list: u64,
}

struct Shared<T> {
    state: RwLock<State<T>>,
    subscribers: RwLock<Vec<Subscriber<T>>>,
    synced: watch::Sender<bool>,
}

/// All objects of one kind (or one selection of it), projected to `T`. Cloning shares the cache.
pub struct Cache<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        let state = State {
            objects: BTreeMap::new(),
            observed: Revision(0),
            lists_started: 0,
            last_complete_list: 0,
        };
        let (synced, _) = watch::channel(false);
        let subscribers = RwLock::new(Vec::new());
        Self { shared: Arc::new(Shared { state: RwLock::new(state), subscribers, synced }) }
    }
}

impl<T> Cache<T> {
    /// An empty cache; [`Cache::follow`] fills it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `subscriber` for every later change, from the task that follows the watch: it must not block.
    /// Register before following starts, else earlier changes are missed.
    pub fn subscribe(&self, subscriber: impl Fn(&Change<'_, T>) + Send + Sync + 'static) {
        self.shared.subscribers.write().push(Box::new(subscriber));
    }

    /// The object at `key`.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.shared.state.read().objects.get(key).map(|slot| slot.value.clone())
    }

    /// Every object, ordered by namespace and name.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.shared.state.read().objects.values().map(|slot| slot.value.clone()).collect()
    }

    /// Every object of `namespace`, ordered by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let state = self.shared.state.read();
        let from = state.objects.range(ObjectKey::new(namespace, "")..);
        from.take_while(|(key, _)| key.namespace() == namespace).map(|(_, slot)| slot.value.clone()).collect()
    }

    /// The number of objects held.
    pub fn len(&self) -> usize {
        self.shared.state.read().objects.len()
    }

    /// Whether no object is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the first complete list has been taken in.
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        synced.wait_for(|done| *done).await.map(drop).expect("`self` holds the sender");
    }

    /// Whether the first complete list has been taken in.
    pub fn is_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// A mark for a write that returned `revision`: reached once the cache shows that write, or a state after it.
    pub fn barrier(&self, revision: Revision) -> Barrier {
        Barrier { revision, lists_started: self.shared.state.read().lists_started }
    }

    /// Whether the cache is at least as new as `barrier`. A list that began after the write counts, whatever it shows.
    pub fn reached(&self, barrier: &Barrier) -> bool {
        let state = self.shared.state.read();
        state.observed >= barrier.revision || state.last_complete_list > barrier.lists_started
    }
}

impl<T: Send + Sync + 'static> Cache<T> {
    /// Takes in `events` until the stream ends, keeping `project(object)` of each; `None` leaves the object out. Of an
    /// object that cannot be read the last copy stays, until it is deleted.
    ///
    /// Watch failures are logged; the stream is expected to back off and recover by itself.
    pub async fn follow<K: Resource>(
        &self,
        events: impl Stream<Item = watcher::Result<watcher::Event<Tolerant<K>>>>,
        project: impl Fn(K) -> Option<T>,
    ) where
        K::DynamicType: Default,
    {
        let mut events = std::pin::pin!(events);
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    self.shared.state.write().lists_started += 1;
                }
                Ok(watcher::Event::InitApply(object)) => {
                    listed.insert(ObjectKey::of(object.meta()));
                    self.put(object, &project);
                }
                Ok(watcher::Event::InitDone) => self.finish_list(std::mem::take(&mut listed)),
                Ok(watcher::Event::Apply(object)) => self.put(object, &project),
                Ok(watcher::Event::Delete(object)) => {
                    self.remove(&ObjectKey::of(object.meta()), Revision::of(object.meta()));
                }
                Err(error @ watcher::Error::WatchFailed(_)) => {
                    debug!(%error, kind = %kind::<K>(), "watch interrupted")
                }
                Err(error) => warn!(%error, kind = %kind::<K>(), "watch failed, retrying"),
            }
        }
    }

    fn put<K: Resource>(&self, object: Tolerant<K>, project: &impl Fn(K) -> Option<T>) {
        let (key, revision) = (ObjectKey::of(object.meta()), Revision::of(object.meta()));
        let Some(object) = object.readable() else { return self.see(revision) };
        let Some(value) = project(object).map(Arc::new) else { return self.remove(&key, revision) };
        let old = {
            let mut state = self.shared.state.write();
            state.observed = state.observed.max(revision);
            let same = |slot: &Slot<T>| slot.revision == revision && revision != Revision(0);
            if state.objects.get(&key).is_some_and(same) {
                return;
            }
            state.objects.insert(key.clone(), Slot { revision, value: value.clone() })
        };
        self.notify(&Change { key: &key, old: old.as_ref().map(|slot| &slot.value), new: Some(&value) });
    }

    /// Everything up to a revision has been seen, as far as it can be.
    fn see(&self, revision: Revision) {
        let mut state = self.shared.state.write();
        state.observed = state.observed.max(revision);
    }

    fn remove(&self, key: &ObjectKey, revision: Revision) {
        let old = {
            let mut state = self.shared.state.write();
            state.observed = state.observed.max(revision);
            state.objects.remove(key)
        };
        if let Some(old) = old {
            self.notify(&Change { key, old: Some(&old.value), new: None });
        }
    }

    /// Ends a list: what it did not mention was deleted while nobody watched.
    fn finish_list(&self, listed: HashSet<ObjectKey>) {
        let gone: Vec<_> = {
            let mut state = self.shared.state.write();
            state.last_complete_list = state.lists_started;
            state.objects.keys().filter(|key| !listed.contains(key)).cloned().collect()
        };
        for key in gone {
            self.remove(&key, Revision(0));
        }
        self.shared.synced.send_replace(true);
    }

    fn notify(&self, change: &Change<'_, T>) {
        for subscriber in self.shared.subscribers.read().iter() {
            subscriber(change);
        }
    }
}

fn kind<K: Resource>() -> String
where
    K::DynamicType: Default,
{
    K::kind(&K::DynamicType::default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::watcher::Event;
    use parking_lot::Mutex;

    fn object(name: &str, revision: u64) -> Tolerant<ConfigMap> {
        Tolerant::Readable(readable(name, revision))
    }

    fn unreadable(name: &str, revision: u64) -> Tolerant<ConfigMap> {
        let meta = readable(name, revision).metadata;
        Tolerant::Unreadable(crate::Unreadable { meta, why: String::new() })
    }

    fn readable(name: &str, revision: u64) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.namespace = Some("ns".into());
        map.metadata.name = Some(name.into());
        map.metadata.resource_version = Some(revision.to_string());
        map
    }

    /// Feeds `events` and returns what subscribers saw: `+a` added, `~a` changed, `-a` deleted.
    async fn check(cache: &Cache<ConfigMap>, events: Vec<Event<Tolerant<ConfigMap>>>) -> Vec<String> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = seen.clone();
        cache.subscribe(move |change| {
            let sign = match (change.old, change.new) {
                (None, _) => '+',
                (_, None) => '-',
                _ => '~',
            };
            record.lock().push(format!("{sign}{}", change.key.name()));
        });
        cache.follow(futures::stream::iter(events.into_iter().map(Ok)), Some).await;
        let seen = seen.lock();
        seen.clone()
    }

    #[tokio::test]
    async fn list_then_changes() {
        let cache = Cache::new();
        let events = vec![
            Event::Init,
            Event::InitApply(object("a", 1)),
            Event::InitDone,
            Event::Apply(object("b", 2)),
            Event::Apply(object("a", 3)),
            Event::Delete(object("b", 4)),
        ];
        assert_eq!(check(&cache, events).await, ["+a", "+b", "~a", "-b"]);
        assert!(cache.is_synced());
        assert_eq!(cache.len(), 1);
        assert_eq!(cache.in_namespace("ns").len(), 1);
        assert!(cache.in_namespace("n").is_empty());
    }

    #[tokio::test]
    async fn a_second_list_reports_only_differences() {
        let cache = Cache::new();
        let events = vec![
            Event::Init,
            Event::InitApply(object("a", 1)),
            Event::InitApply(object("b", 2)),
            Event::InitDone,
            Event::Init,
            Event::InitApply(object("a", 1)),
            Event::InitDone,
        ];
        assert_eq!(check(&cache, events).await, ["+a", "+b", "-b"]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_stays_as_it_was() {
        let cache = Cache::new();
        let events = vec![
            Event::Init,
            Event::InitApply(object("a", 1)),
            Event::InitApply(unreadable("b", 2)),
            Event::InitDone,
            Event::Apply(unreadable("a", 3)),
            Event::Init,
            Event::InitApply(unreadable("a", 3)),
            Event::InitDone,
        ];
        assert_eq!(check(&cache, events).await, ["+a"]);
        assert!(cache.reached(&cache.barrier(Revision(3))));
        assert_eq!(check(&cache, vec![Event::Delete(unreadable("a", 4))]).await, ["-a"]);
    }

    #[tokio::test]
    async fn a_barrier_is_reached_by_revision_or_by_a_later_list() {
        let cache = Cache::<ConfigMap>::new();
        check(&cache, vec![Event::Init, Event::InitApply(object("a", 5)), Event::InitDone]).await;
        let past = cache.barrier(Revision(5));
        let future = cache.barrier(Revision(9));
        assert!(cache.reached(&past));
        assert!(!cache.reached(&future));
        check(&cache, vec![Event::Init, Event::InitDone]).await;
        assert!(cache.reached(&future), "the list began after the write");
    }
}
