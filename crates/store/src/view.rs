//! What a server itself knows of its store: models of the objects under a prefix, kept current by a watch.
//!
//! A model may be a moment behind the store. Whoever is about to refuse a request by it calls [`View::catch_up`] first, so
//! that a permission, or a kind, counts from the moment its write was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::{Batch, EventKind, Page, ReadError, Revision, Store, Watch, WatchError};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Something computed from all objects under a prefix.
pub trait Model: Send + Sync + 'static {
    /// What the keys of its objects start with.
    const PREFIX: &'static str;
    /// Forgets everything: a listing follows.
    fn reset(&mut self);
    /// An object was created or replaced.
    fn put(&mut self, key: &str, value: &[u8]);
    /// An object is gone.
    fn remove(&mut self, key: &str);
    /// A batch of changes is complete.
    fn settle(&mut self) {}
}

/// How long to wait before a store that failed is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// A model and the task that keeps it current. The task ends when the view is dropped or the store closes.
pub struct View<M> {
    shared: Arc<Shared<M>>,
    waiters: mpsc::Sender<Waiter>,
    _task: DropGuard,
}

struct Shared<M> {
    model: RwLock<M>,
    /// The model reflects everything up to this revision.
    seen: AtomicU64,
}

/// How many can be handed over to the one who follows; who comes then waits until it has taken one. It keeps each until
/// the model is new enough or the request that waits has ended, so requests in flight bound those.
const MAX_WAITING: usize = 256;

/// Someone who needs the model to be at least as new as a revision.
struct Waiter {
    wanted: Revision,
    done: oneshot::Sender<()>,
}

impl<M: Model> View<M> {
    /// Reads all objects, then follows their changes.
    ///
    /// # Errors
    /// When the first listing fails.
    pub async fn start(store: Arc<dyn Store>, model: M) -> Result<Self, ReadError> {
        let shared = Arc::new(Shared { model: RwLock::new(model), seen: AtomicU64::new(0) });
        let watch = shared.list(&*store).await?;
        let (waiters, requests) = mpsc::channel(MAX_WAITING);
        let ended = CancellationToken::new();
        let follow = follow(Arc::clone(&shared), store, watch, requests);
        let stop = ended.clone();
        tokio::spawn(async move { stop.run_until_cancelled(follow).await });
        Ok(Self { shared, waiters, _task: ended.drop_guard() })
    }

    /// The model as it is now. Do not hold it across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, M> {
        self.shared.model.read()
    }

    /// Waits until the model reflects a revision, which the store must have reached. Returns at once when
    /// the store is closed.
    pub async fn catch_up(&self, wanted: Revision) {
        if self.shared.seen.load(Ordering::Acquire) >= wanted.get() {
            return;
        }
        let (done, waiting) = oneshot::channel();
        if self.waiters.send(Waiter { wanted, done }).await.is_ok() {
            // An error means that the task has ended: the model is as new as it will get.
            waiting.await.ok();
        }
    }
}

impl<M: Model> Shared<M> {
    /// Replaces the model by one made from a listing; the watch goes on from there.
    async fn list(&self, store: &dyn Store) -> Result<Watch, ReadError> {
        loop {
            let listing = store.list(M::PREFIX.into(), Page::default()).await?;
            {
                let mut model = self.model.write();
                model.reset();
                for entry in &listing.entries {
                    model.put(entry.key.as_str(), &entry.value.bytes());
                }
                model.settle();
            }
            match store.watch(M::PREFIX.into(), listing.revision).await {
                Ok(watch) => {
                    self.seen.store(listing.revision.get(), Ordering::Release);
                    return Ok(watch);
                }
                // Compacted while we were listing: the next listing is newer.
                Err(ReadError::Compacted { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`Shared::list`], until it succeeds: a model that stops following would keep permissions alive that
    /// were taken away, and kinds that are gone.
    async fn list_again(&self, store: &dyn Store) -> Watch {
        loop {
            match self.list(store).await {
                Ok(watch) => return watch,
                Err(error) => {
                    tracing::error!(prefix = M::PREFIX, %error, "the server cannot follow its store; trying again");
                    // The store gives no sign of recovery that could be waited for.
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn apply(&self, batch: &Batch) {
        let mut model = self.model.write();
        for event in &batch.events {
            let key = event.entry.key.as_str();
            match event.kind {
                EventKind::Put => model.put(key, &event.entry.value.bytes()),
                EventKind::Delete => model.remove(key),
            }
        }
        model.settle();
    }
}

async fn follow<M: Model>(
    shared: Arc<Shared<M>>,
    store: Arc<dyn Store>,
    mut watch: Watch,
    mut requests: mpsc::Receiver<Waiter>,
) {
    let mut waiters: Vec<Waiter> = Vec::new();
    loop {
        tokio::select! {
            biased;
            next = watch.next() => match next {
                Ok(batch) => shared.apply(&batch),
                Err(WatchError::Closed) => return,
                Err(WatchError::Compacted { .. }) => watch = shared.list_again(&*store).await,
            },
            Some(waiter) = requests.recv() => waiters.push(waiter),
        }
        let seen = watch.progress();
        shared.seen.store(seen.get(), Ordering::Release);
        for waiter in waiters.extract_if(.., |waiter| waiter.wanted <= seen || waiter.done.is_closed()) {
            // An error means that the request was given up meanwhile.
            waiter.done.send(()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::{Embedded, Key, Op, Txn, no_terms};

    use super::*;

    /// The keys that exist.
    #[derive(Default)]
    struct Keys(BTreeSet<String>);

    impl Model for Keys {
        const PREFIX: &'static str = "k/";

        fn reset(&mut self) {
            self.0.clear();
        }

        fn put(&mut self, key: &str, _value: &[u8]) {
            self.0.insert(key.to_owned());
        }

        fn remove(&mut self, key: &str) {
            self.0.remove(key);
        }
    }

    async fn write(store: &dyn Store, op: Op) -> Revision {
        store.commit(Txn { expect: Vec::new(), ops: vec![op] }).await.unwrap()
    }

    fn put(key: &str) -> Op {
        Op::Put { key: Key::from(key), value: "{}".into() }
    }

    #[tokio::test]
    async fn catching_up_includes_everything_written() {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Embedded::open(dir.path().join("db"), no_terms).unwrap());
        write(&*store, put("k/0")).await;
        let view: View<Keys> = View::start(Arc::clone(&store), Keys::default()).await.unwrap();
        let check =
            |expected: &[&str]| assert!(view.read().0.iter().eq(expected.iter()), "{:?}", view.read().0);
        check(&["k/0"]);
        view.catch_up(write(&*store, put("k/1")).await).await;
        check(&["k/0", "k/1"]);
        view.catch_up(write(&*store, put("other/1")).await).await;
        view.catch_up(write(&*store, Op::Delete { key: Key::from("k/0") }).await).await;
        check(&["k/1"]);
    }

    #[tokio::test]
    async fn a_watch_that_fell_behind_starts_again() {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Embedded::open(dir.path().join("db"), no_terms).unwrap());
        let shared = Arc::new(Shared { model: RwLock::new(Keys::default()), seen: AtomicU64::new(0) });
        let behind = shared.list(&*store).await.unwrap();
        write(&*store, put("k/1")).await;
        let last = write(&*store, put("k/2")).await;
        store.compact(last).await.unwrap();
        let (waiters, requests) = mpsc::channel(MAX_WAITING);
        tokio::spawn(follow(Arc::clone(&shared), store, behind, requests));
        let (done, waiting) = oneshot::channel();
        waiters.send(Waiter { wanted: last, done }).await.unwrap();
        waiting.await.unwrap();
        assert_eq!(shared.model.read().0.len(), 2);
    }
}
