//! API aggregation: group versions that other API servers serve, registered by APIServices (kube-aggregator's part of
//! kube-apiserver).
//!
//! - Every request for such a version is authenticated and authorised here like any other, then passed on with the user's
//!   name in headers ([`proxy`]). Which requests these are is read from a model of the APIServices ([`registration`]), so that
//!   a cluster without any pays a look into an empty map.
//! - Each of them has a task ([`keeper`]) that asks whether it can be used and says so in the condition `Available`
//!   ([`availability`]), and what it has to tell for the documents ([`gather`]). The task is here and not among the
//!   controllers, since it has to dial as requests are dialled, with the same keys, and what it gathers is served here. It
//!   waits for changes of the Service, and asks again every half a minute; where nothing is aggregated there is no task.
//! - Versions that this server serves have APIServices, too: those that are built in are written before the first request
//!   (`bootstrap/api_services.rs`), those of custom kinds follow the definitions ([`local`]).
//!
//! - A version may also be served by another part of this program ([`inside`]): its APIService names no Service, and all else is
//!   as for the others.
//!
//! An extension server is a stranger: what it sends is bounded in size and time, and nothing else waits for it.

mod availability;
mod gather;
mod inside;
mod keeper;
mod local;
mod metrics;
mod proxy;
mod registration;
mod transport;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use skiff_identity::UserInfo;
use skiff_machinery::GroupVersion;
use skiff_pki::Pki;
use skiff_store::{ReadError, Revision, Store, View};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use inside::Inside;
pub(crate) use proxy::pass_on;
pub(crate) use registration::Registration;
use registration::Registrations;

use crate::offer::Offers;
use crate::server::Shared;

/// What the server knows of versions that others serve.
pub(crate) struct Aggregation {
    registrations: View<Registrations>,
    inside: Inside,
    transport: transport::Transport,
    metrics: metrics::Metrics,
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
        inside: Inside,
    ) -> Result<Self, ReadError> {
        let transport = transport::Transport::new(store.clone(), pki.front_proxy_client());
        let registrations = View::start(store, Registrations::new(offers, inside.clone())).await?;
        Ok(Self { registrations, inside, transport, metrics: metrics::Metrics::default() })
    }

    /// The APIService of a version that another server serves, or another part of this program.
    pub(crate) fn elsewhere(&self, gv: &GroupVersion) -> Option<Arc<Registration>> {
        self.registrations.read().elsewhere(gv)
    }

    /// An APIService as it is by now, if what is known of it is that it cannot be used.
    async fn newest(&self, known: &Arc<Registration>) -> Arc<Registration> {
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

/// How soon a write that failed is made again.
const RETRY: Duration = Duration::from_secs(10);

/// Whom this server is when it asks extension servers for itself, with the rights to ask everything.
fn aggregator(name: &str) -> UserInfo {
    UserInfo {
        name: name.to_owned(),
        groups: vec![skiff_identity::MASTERS.to_owned()],
        ..UserInfo::default()
    }
}

/// Keeps a task for each version that another server serves, and APIServices for what this one serves, until the shutdown.
pub(crate) async fn run(server: Arc<Shared>) {
    let mut kept: HashMap<String, Kept> = HashMap::new();
    let shutdown = server.shutdown.clone();
    let work = async {
        loop {
            keep(&server, &mut kept);
            let wait = if local::follow(&server).await { Duration::MAX } else { RETRY };
            // Late is as good as changed.
            tokio::time::timeout(wait, server.offers.changed()).await.ok();
        }
    };
    shutdown.run_until_cancelled(work).await;
}

/// A task and what it was started for.
struct Kept {
    registration: Arc<Registration>,
    nudge: Arc<keeper::Nudge>,
    _task: DropGuard,
}

/// Starts the tasks that are missing, ends those whose APIService is gone or leads elsewhere now, and tells the others of
/// changes.
fn keep(server: &Arc<Shared>, kept: &mut HashMap<String, Kept>) {
    let present: HashMap<String, Arc<Registration>> = {
        let registrations = server.aggregation.registrations.read();
        registrations.all_elsewhere().map(|one| (one.name().to_owned(), one.clone())).collect()
    };
    kept.retain(|name, task| {
        let stays = present.get(name).is_some_and(|now| now.leads_where(&task.registration));
        if !stays {
            server.offers.forget(&task.registration.gv);
        }
        stays
    });
    for (name, registration) in present {
        match kept.get_mut(&name) {
            Some(task) => {
                if !Arc::ptr_eq(&task.registration, &registration) {
                    task.nudge.look_at(&registration);
                    task.registration = registration;
                }
            }
            None => {
                let ended = CancellationToken::new();
                let nudge = Arc::<keeper::Nudge>::default();
                let task = keeper::Keeper::new(server.clone(), registration.clone(), nudge.clone());
                let stop = ended.clone();
                tokio::spawn(async move { stop.run_until_cancelled(task.run()).await });
                kept.insert(name, Kept { registration, nudge, _task: ended.drop_guard() });
            }
        }
    }
}
