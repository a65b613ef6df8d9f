//! What the server offers at present: the kinds, and the documents that describe them. It is replaced as a whole when
//! definitions of kinds come and go; a request sees one offer from its beginning to its end.

use std::sync::Arc;

use parking_lot::RwLock;
use skiff_machinery::{Catalogue, Kind};

use crate::build_info::BuildInfo;
use crate::http::Documents;

/// Kinds and documents of one moment.
pub(crate) struct Offer {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) documents: Documents,
}

/// The present offer, and what is always part of it.
pub(crate) struct Offers {
    built_in: Arc<Catalogue>,
    /// `host:port` as clients reach the server.
    server: String,
    build: BuildInfo,
    current: RwLock<Arc<Offer>>,
}

impl Offers {
    /// The built-in kinds alone.
    pub(crate) fn new(built_in: Arc<Catalogue>, server: String, build: BuildInfo) -> Self {
        let documents = Documents::new(built_in.clone(), server.clone(), build.clone());
        let first = Arc::new(Offer { catalogue: built_in.clone(), documents });
        Self { built_in, server, build, current: RwLock::new(first) }
    }

    pub(crate) fn current(&self) -> Arc<Offer> {
        self.current.read().clone()
    }

    /// The kinds on offer.
    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        self.current.read().catalogue.clone()
    }

    /// Offers these kinds besides those that are built in.
    pub(crate) fn replace(&self, custom: &[Arc<Kind>]) {
        let catalogue = Arc::new(self.built_in.with(custom));
        let documents = Documents::new(catalogue.clone(), self.server.clone(), self.build.clone());
        *self.current.write() = Arc::new(Offer { catalogue, documents });
    }
}
