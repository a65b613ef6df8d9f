//! What every controller is given when it is assembled.

use std::sync::Arc;

use futures::future::BoxFuture;
use kube::Client;
use skiff_admission::Kinds;
use skiff_informer::Vitals;
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
}
