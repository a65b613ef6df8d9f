//! What the tasks of aggregation work with.

use std::sync::Arc;

use skiff_store::Store;

use super::known::Aggregation;
use super::writer::Writer;
use crate::offer::Offers;

/// What the tasks of aggregation work with.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) offers: Arc<Offers>,
    pub(crate) aggregation: Arc<Aggregation>,
    pub(crate) writer: Writer,
}
