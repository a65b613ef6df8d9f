//! What the server knows of versions that others serve.

use std::sync::Arc;

use skiff_machinery::GroupVersion;
use skiff_pki::Pki;
use skiff_store::{ReadError, Revision, Store, View};

use super::metrics::Metrics;
use super::registration::{Registration, Registrations};
use super::transport::Transport;
use crate::offer::Offers;

/// What the server knows of versions that others serve.
pub(crate) struct Aggregation {
    pub(super) registrations: View<Registrations>,
    pub(super) transport: Transport,
    pub(super) metrics: Metrics,
}

impl Aggregation {
    /// Reads the APIServices, and follows them.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        offers: Arc<Offers>,
        pki: &Pki,
    ) -> Result<Self, ReadError> {
        let transport = Transport::new(store.clone(), pki.front_proxy_client());
        let registrations = View::start(store, Registrations::new(offers)).await?;
        Ok(Self { registrations, transport, metrics: Metrics::default() })
    }

    /// The APIService of a version that another server serves.
    pub(crate) fn elsewhere(&self, gv: &GroupVersion) -> Option<Arc<Registration>> {
        self.registrations.read().elsewhere(gv)
    }

    /// An APIService as it is by now, if what is known of it is that it cannot be used.
    pub(super) async fn newest(&self, known: &Arc<Registration>) -> Arc<Registration> {
        if known.is_available() {
            return known.clone();
        }
        self.catch_up(self.transport.revision()).await;
        self.elsewhere(&known.gv).unwrap_or_else(|| known.clone())
    }

    /// Whether there are any such versions.
    pub(crate) fn is_used(&self) -> bool {
        self.registrations.read().is_used()
    }

    /// Waits until the APIServices that were written up to a revision count.
    pub(crate) async fn catch_up(&self, revision: Revision) {
        self.registrations.catch_up(revision).await;
    }

    /// What `/metrics` says of the APIServices.
    pub(crate) fn metrics(&self) -> String {
        self.metrics.render(&self.registrations.read())
    }
}
