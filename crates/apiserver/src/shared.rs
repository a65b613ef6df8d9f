//! What all requests share.

use std::sync::Arc;

use skiff_audit::Record;
use skiff_auth::Auth;
use skiff_listener::Checks;
use skiff_pki::Pki;
use skiff_registry::Registry;
use skiff_store::{Store, View};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::access::Reloads;
use crate::aggregation::known::Aggregation;
use crate::answer::asked::Answers;
use crate::audit::Audit;
use crate::fairness::configuration::Configuration;
use crate::fairness::priority::Priority;
use crate::http::metrics::Metrics;
use crate::limits::Limits;
use crate::offer::Offers;
use crate::subresources::node::Nodes;

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) offers: Arc<Offers>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) answers: Arc<Answers>,
    /// Where what leads to nodes goes.
    pub(crate) nodes: Nodes,
    /// Versions that other servers serve.
    pub(crate) aggregation: Arc<Aggregation>,
    pub(crate) auth: Auth,
    /// How often the files of authentication and authorisation were read again.
    pub(crate) reloads: watch::Sender<Reloads>,
    /// What is written down of requests, if anything.
    pub(crate) audit: Option<Arc<Audit>>,
    /// The record of all requests of which nothing is.
    pub(crate) unrecorded: Arc<Record>,
    pub(crate) pki: Arc<Pki>,
    pub(crate) metrics: Metrics,
    /// What other parts of the process count.
    pub(crate) more_metrics: fn() -> String,
    pub(crate) checks: Checks,
    pub(crate) limits: Limits,
    pub(crate) priority: Arc<Priority>,
    /// What it decides by.
    pub(crate) flow_control: Arc<View<Configuration>>,
    /// Ends watches.
    pub(crate) shutdown: CancellationToken,
}
