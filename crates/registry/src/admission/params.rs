//! Parameters of policies, as they are stored.

use std::sync::Arc;

use async_trait::async_trait;
use skiff_admission::{GroupVersionKind, Params};
use skiff_machinery::{Kind, Object, Scope, keys, selector::LabelSelector};
use skiff_store::{Entry, Page, Store};

use super::surroundings::find;
use crate::errors::ApiError;
use crate::pipeline::{codec, versions};
use crate::services::Offer;

/// Reads parameters from the store.
pub(super) struct Stored {
    store: Arc<dyn Store>,
    offer: Arc<dyn Offer>,
}

impl Stored {
    pub(super) fn new(store: Arc<dyn Store>, offer: Arc<dyn Offer>) -> Self {
        Self { store, offer }
    }

    fn kind(&self, kind: &GroupVersionKind) -> Option<Arc<Kind>> {
        find(&self.offer.catalogue(), kind)
    }

    /// As clients see them in this version of the kind.
    async fn shown(&self, kind: &Kind, entries: Vec<Entry>) -> Result<Vec<Arc<Object>>, ApiError> {
        let entries = versions::shown_of(kind, entries).await?;
        Ok(entries.iter().map(|entry| codec::decode(entry).map(Arc::new)).collect::<Result<_, _>>()?)
    }

    async fn read(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Arc<Object>>, ApiError> {
        let entry = self.store.get(&keys::object(kind, namespace, name)).await?;
        Ok(self.shown(kind, entry.into_iter().collect()).await?.pop())
    }

    async fn all(&self, kind: &Kind, namespace: &str) -> Result<Vec<Arc<Object>>, ApiError> {
        let listing =
            self.store.list(keys::collection(kind, namespace).as_str().into(), Page::default()).await?;
        self.shown(kind, listing.entries).await
    }
}

#[async_trait]
impl Params for Stored {
    fn scope(&self, kind: &GroupVersionKind) -> Option<Scope> {
        self.kind(kind).map(|kind| kind.scope)
    }

    async fn get(
        &self,
        kind: &GroupVersionKind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Object>>, String> {
        let Some(kind) = self.kind(kind) else { return Ok(None) };
        self.read(&kind, namespace, name).await.map_err(|error| error.to_string())
    }

    async fn list(
        &self,
        kind: &GroupVersionKind,
        namespace: &str,
        selector: &LabelSelector,
    ) -> Result<Vec<Arc<Object>>, String> {
        let Some(kind) = self.kind(kind) else { return Ok(Vec::new()) };
        let mut all = self.all(&kind, namespace).await.map_err(|error| error.to_string())?;
        all.retain(|object| selector.matches(&object.labels()));
        Ok(all)
    }
}
