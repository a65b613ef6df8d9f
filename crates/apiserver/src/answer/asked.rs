//! A call with what its answer is written by.

use std::sync::Arc;

use bytes::Bytes;
use skiff_machinery::Object;
use skiff_registry::{ApiError, Call, Recent, Registry};
use skiff_store::Entry;
use tokio::time::Instant;

use crate::fairness::priority::Seat;
use crate::http::accept::Encoding;
use crate::http::aside::Aside;
use crate::http::gate::{Gate, Share};

/// What all answers share.
pub(crate) struct Answers {
    pub(crate) registry: Arc<Registry>,
    /// Entries as messages of protobuf.
    pub(crate) messages: Recent<Bytes>,
    /// Room for lists.
    pub(crate) gate: Gate,
    /// Where large ones are written.
    pub(crate) aside: Aside,
}

/// A call whose answer is to be written.
pub(crate) struct Asked {
    pub(crate) answers: Arc<Answers>,
    pub(crate) call: Arc<Call>,
    pub(crate) encoding: Encoding,
    /// Whose places the request takes.
    pub(crate) share: Share,
    /// When it has to be carried out.
    pub(crate) until: Instant,
    /// Its seats; none for what takes none.
    pub(crate) seat: Option<Arc<Seat>>,
}

impl Asked {
    /// The object of an entry, with its `resourceVersion`.
    pub(crate) fn decoded(&self, entry: &Entry) -> Result<Arc<Object>, ApiError> {
        self.answers.registry.decoded(&self.call, entry)
    }
}
