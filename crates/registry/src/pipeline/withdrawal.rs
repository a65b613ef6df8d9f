//! Kinds that are withdrawn while somebody watches them.
//!
//! As Kubernetes ends the watches of custom resources when their definition goes or says something else, or their version
//! is no longer served: the client hears the end of the stream, and learns on its next attempt what has become of the kind.

use std::future;
use std::sync::Arc;

use skiff_machinery::{Catalogue, Kind};
use tokio::sync::watch::Receiver;

/// Tells when a kind is no longer offered as it was when a watch of it began.
pub(super) struct Withdrawal {
    kind: Arc<Kind>,
    catalogues: Receiver<Arc<Catalogue>>,
}

impl Withdrawal {
    /// Of a kind, seen in the catalogues that are offered from now on, and the present one.
    pub(super) fn new(kind: Arc<Kind>, catalogues: Receiver<Arc<Catalogue>>) -> Self {
        Self { kind, catalogues }
    }

    /// Returns when the kind is withdrawn; at once, if that has happened. It may be dropped and asked for again.
    pub(super) async fn happened(&mut self) {
        if self.kind.edition.is_empty() {
            // Nothing withdraws what is built in.
            return future::pending().await;
        }
        while is_offered(&self.catalogues.borrow_and_update(), &self.kind) {
            if self.catalogues.changed().await.is_err() {
                return future::pending().await;
            }
        }
    }
}

fn is_offered(catalogue: &Catalogue, kind: &Kind) -> bool {
    let now = catalogue.find(&kind.gv.group, &kind.gv.version, &kind.names.plural);
    now.is_some_and(|now| now.edition == kind.edition)
}
