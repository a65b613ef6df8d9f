//! What authorisation knows of the store: models of the objects under a prefix, kept current by a watch.
//!
//! A model may be a moment behind the store. Whoever is about to refuse a request calls
//! [`View::catch_up`] first, so that a permission counts from the moment its write was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard};
use skiff_store::{Batch, EventKind, Page, ReadError, Revision, Store, Watch, WatchError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Something computed from all objects under a prefix.
pub(super) trait Model: Default + Send + Sync + 'static {
    /// What the keys of its objects start with.
    const PREFIX: &'static str;
    /// An object was created or replaced.
    fn put(&mut self, key: &str, value: &[u8]);
    /// An object is gone.
    fn remove(&mut self, key: &str);
    /// A batch of changes is complete.
    fn settle(&mut self) {}
}

/// A model and the task that keeps it current. The task ends when the view is dropped or the store closes.
pub(super) struct View<M> {
    shared: Arc<Shared<M>>,
    waiters: mpsc::UnboundedSender<Waiter>,
    _task: DropGuard,
}

struct Shared<M> {
    model: RwLock<M>,
    /// The model reflects everything up to this revision.
    seen: AtomicU64,
}

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
    pub(super) async fn start(store: Arc<dyn Store>) -> Result<Self, ReadError> {
        let shared = Arc::new(Shared { model: RwLock::default(), seen: AtomicU64::new(0) });
        let watch = shared.list(&*store).await?;
        let (waiters, requests) = mpsc::unbounded_channel();
        let ended = CancellationToken::new();
        let follow = follow(Arc::clone(&shared), store, watch, requests);
        let stop = ended.clone();
        tokio::spawn(async move { stop.run_until_cancelled(follow).await });
        Ok(Self { shared, waiters, _task: ended.drop_guard() })
    }

    /// The model as it is now. Do not hold it across an await.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, M> {
        self.shared.model.read()
    }

    /// Waits until the model reflects a revision, which the store must have reached. Returns at once when
    /// the store is closed.
    pub(super) async fn catch_up(&self, wanted: Revision) {
        if self.shared.seen.load(Ordering::Acquire) >= wanted.get() {
            return;
        }
        let (done, waiting) = oneshot::channel();
        if self.waiters.send(Waiter { wanted, done }).is_ok() {
            // An error means that the task has ended: the model is as new as it will get.
            waiting.await.ok();
        }
    }
}

impl<M: Model> Shared<M> {
    /// Replaces the model by one made from a listing; the watch goes on from there.
    async fn list(&self, store: &dyn Store) -> Result<Watch, ReadError> {
        loop {
            let listing = store.list(M::PREFIX, Page::default()).await?;
            let mut model = M::default();
            for entry in &listing.entries {
                model.put(entry.key.as_str(), &entry.value);
            }
            model.settle();
            *self.model.write() = model;
            match store.watch(M::PREFIX, listing.revision).await {
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

    fn apply(&self, batch: &Batch) {
        let mut model = self.model.write();
        for event in &batch.events {
            let key = event.entry.key.as_str();
            match event.kind {
                EventKind::Put => model.put(key, &event.entry.value),
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
    mut requests: mpsc::UnboundedReceiver<Waiter>,
) {
    let mut waiters: Vec<Waiter> = Vec::new();
    loop {
        tokio::select! {
            biased;
            next = watch.next() => match next {
                Ok(batch) => shared.apply(&batch),
                Err(WatchError::Closed) => return,
                Err(WatchError::Compacted { .. }) => match shared.list(&*store).await {
                    Ok(fresh) => watch = fresh,
                    Err(error) => {
                        tracing::error!(prefix = M::PREFIX, %error, "authorisation can no longer follow the store");
                        return;
                    }
                },
            },
            Some(waiter) = requests.recv() => waiters.push(waiter),
        }
        let seen = watch.progress();
        shared.seen.store(seen.get(), Ordering::Release);
        for waiter in waiters.extract_if(.., |waiter| waiter.wanted <= seen) {
            // An error means that the request was given up meanwhile.
            waiter.done.send(()).ok();
        }
    }
}
