//! What every controller is given when it is assembled.

use std::fmt::Display;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, JoinAll, join_all};
use kube::Client;
use skiff_admission::Kinds;
use skiff_informer::{Cache, Next, ObjectKey, Queue, Vitals};
use tokio_util::sync::CancellationToken;

use crate::ControllersConfig;
use crate::informers::Informers;
use crate::removals::Removals;

/// A controller, subscribed and ready: runs until shutdown when polled.
pub(crate) type Controller = BoxFuture<'static, ()>;

/// The surroundings of all controllers.
pub(crate) struct Environment<'a> {
    /// Shared caches. Subscribe while assembling: the watches start afterwards.
    pub(crate) informers: Informers,
    /// Tells of every object that is gone.
    pub(crate) removals: Removals,
    /// The types of what is served.
    pub(crate) kinds: Arc<dyn Kinds>,
    /// Where queues come from, so that one which is stuck can be named.
    pub(crate) vitals: &'a Vitals,
    /// How the cluster is set up.
    pub(crate) config: &'a ControllersConfig,
    /// Ends every controller.
    pub(crate) shutdown: CancellationToken,
    /// Gives a client that acts as the named identity.
    pub(crate) client_for: &'a (dyn Fn(&str) -> Client + Send + Sync),
}

impl Environment<'_> {
    /// A client that acts as [`crate::identity`]`(name)`.
    pub(crate) fn client(&self, name: &str) -> Client {
        (self.client_for)(name)
    }

    /// The usual controller: once what it `reads` has been listed, it hands the keys of `queue` to `reconcile`, at most
    /// `workers` at a time, until shutdown. `state` is what reconciling needs.
    pub(crate) fn reconciler<S, E>(
        &self,
        queue: Queue<ObjectKey>,
        reads: &[&dyn Read],
        workers: usize,
        state: S,
        reconcile: impl for<'s> Fn(&'s S, ObjectKey) -> BoxFuture<'s, Result<Next, E>> + Send + Sync + 'static,
    ) -> Controller
    where
        S: Send + Sync + 'static,
        E: Display + Send + 'static,
    {
        let listed = join_all(reads.iter().map(|cache| cache.listed()));
        let shared = Arc::new((state, reconcile));
        let work = move |key| {
            let shared = shared.clone();
            let reconciled =
                async move { (shared.1)(&shared.0, key).await.map_err(|error| error.to_string()) };
            reconciled.boxed()
        };
        Box::pin(work_off(queue, listed, workers, self.shutdown.clone(), Box::new(work)))
    }
}

/// What a controller does about a key.
type Work = Box<dyn Fn(ObjectKey) -> BoxFuture<'static, Result<Next, String>> + Send + Sync>;

/// Compiled once for all controllers.
async fn work_off(
    queue: Queue<ObjectKey>,
    listed: JoinAll<BoxFuture<'static, ()>>,
    workers: usize,
    shutdown: CancellationToken,
    work: Work,
) {
    listed.await;
    queue.run(workers, &shutdown, work).await;
}

/// A cache of whatever objects.
pub(crate) trait Read {
    /// Waits until they have been listed for the first time.
    fn listed(&self) -> BoxFuture<'static, ()>;
}

impl<T: Send + Sync + 'static> Read for Cache<T> {
    fn listed(&self) -> BoxFuture<'static, ()> {
        let cache = self.clone();
        async move { cache.synced().await }.boxed()
    }
}
