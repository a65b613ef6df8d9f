//! Starts the watch that fills a cache.

use futures::StreamExt;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::runtime::watcher;
use kube::{Api, Resource};
use tokio_util::sync::CancellationToken;

use crate::{Cache, watch_objects};

impl<T: Send + Sync + 'static> Cache<T> {
    /// Fills this cache from `api` in a task of its own until `shutdown`, keeping `project(object)` of each object
    /// with its managed fields removed; `None` leaves the object out. Failures are logged and retried with back-off.
    pub fn watch<K>(
        &self,
        api: Api<K>,
        selection: watcher::Config,
        shutdown: &CancellationToken,
        project: impl Fn(K) -> Option<T> + Send + Sync + 'static,
    ) where
        K: Resource + DeserializeOwned + Send + 'static,
        K::DynamicType: Default,
    {
        let (cache, shutdown) = (self.clone(), shutdown.clone());
        tokio::spawn(async move {
            let events = watch_objects(api, selection).boxed();
            let project = |mut object: K| {
                object.meta_mut().managed_fields = None;
                project(object)
            };
            shutdown.run_until_cancelled(cache.follow(events, project)).await;
        });
    }
}
