//! The server as its user sees it: started once, serving in process and over the network.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use skiff_auth::{Auth, Issuer};
use skiff_identity::UserInfo;
use skiff_listener::Checks;
use skiff_machinery::{ClusterFacts, Object};
use skiff_pki::{Pki, PkiError};
use skiff_store::{ReadError, Store, View};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admission::{self, Configured};
use crate::aggregation::{self, Aggregation, Inside};
use crate::bootstrap::{self, Bootstrap, BootstrapError};
use crate::config::{ClusterConfig, Config};
use crate::definitions::Definitions;
use crate::fairness::{self, Configuration, Priority};
use crate::http;
use crate::http::aside::Aside;
use crate::http::client::{ApiService, Caller};
use crate::http::gate::Gate;
use crate::http::metrics::Metrics;
use crate::limits::Limits;
use crate::offer::Offers;
use crate::pipeline::recent::Recent;
use crate::plugins::Plugins;
use crate::webhooks::Outgoing;

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) offers: Arc<Offers>,
    /// What keeps the offers current.
    pub(crate) definitions: View<Definitions>,
    /// Versions that other servers serve.
    pub(crate) aggregation: Aggregation,
    pub(crate) auth: Auth,
    pub(crate) configured: Configured,
    pub(crate) plugins: Plugins,
    pub(crate) pki: Arc<Pki>,
    /// For connections to nodes.
    pub(crate) kubelet_tls: Arc<rustls::ClientConfig>,
    pub(crate) cluster: ClusterConfig,
    pub(crate) facts: ClusterFacts,
    /// Objects of entries.
    pub(crate) decoded: Recent<Arc<Object>>,
    /// Entries as messages of protobuf.
    pub(crate) messages: Recent<Bytes>,
    pub(crate) metrics: Metrics,
    /// What other parts of the process count.
    pub(crate) more_metrics: fn() -> String,
    pub(crate) checks: Checks,
    pub(crate) limits: Limits,
    pub(crate) gate: Gate,
    pub(crate) priority: Priority,
    /// What it decides by.
    pub(crate) flow_control: View<Configuration>,
    /// Where large requests are worked on.
    pub(crate) aside: Aside,
    /// Ends watches.
    pub(crate) shutdown: CancellationToken,
}

/// A running API server; clones are the same server.
#[derive(Clone)]
pub struct ApiServer {
    shared: Arc<Shared>,
}

/// The server cannot start or serve.
#[derive(Debug, Error)]
pub enum StartError {
    /// What authorisation decides by could not be read.
    #[error("the API server cannot read its store")]
    Store(#[from] ReadError),
    /// The objects that every cluster has could not be written.
    #[error("the API server cannot write the first objects of the cluster")]
    Bootstrap(#[from] BootstrapError),
    /// The TLS configuration could not be made.
    #[error("the API server cannot use its certificates")]
    Tls(#[from] PkiError),
}

impl ApiServer {
    /// Writes the objects that every cluster has and reads what authorisation needs.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let Config {
            store,
            catalogue,
            pki,
            cluster,
            checks,
            limits,
            plugins,
            build,
            more_metrics,
            extensions,
        } = config;
        let inside = Inside::new(extensions);
        let built_in = skiff_machinery::discovery::group_versions(&catalogue);
        let first = Bootstrap {
            service_cidrs: vec![cluster.service_cidr.to_string()],
            client_ca_pem: pki.ca_pem().to_owned(),
            front_proxy_ca_pem: pki.front_proxy_ca_pem().to_owned(),
            versions: built_in.into_iter().chain(inside.versions()).collect(),
        };
        bootstrap::run(&*store, &first).await?;
        let issuer = Issuer::new(&cluster.domain, cluster.advertise_address, cluster.port);
        let auth = Auth::start(store.clone(), pki.clone(), issuer).await?;
        let address = SocketAddr::new(cluster.advertise_address, cluster.port);
        let shutdown = CancellationToken::new();
        let kubernetes = catalogue.iter().next().map(|kind| kind.root.share()).unwrap_or_default();
        let offers = Arc::new(Offers::new(catalogue, address.to_string(), build));
        let outgoing = Arc::new(Outgoing::new(store.clone()));
        let definitions = Definitions::new(kubernetes, offers.clone(), outgoing.clone());
        let definitions = View::start(store.clone(), definitions).await?;
        let aggregation = Aggregation::start(store.clone(), offers.clone(), &pki, inside).await?;
        let configured = Configured::start(store.clone(), offers.clone(), auth.clone(), outgoing).await?;
        let (priority, changed) = (Priority::new(&limits), Arc::default());
        let flow_control = Configuration::new(priority.fairness.clone(), Arc::clone(&changed));
        let flow_control = View::start(store.clone(), flow_control).await?;
        let shared = Shared {
            aggregation,
            configured,
            plugins,
            auth,
            kubelet_tls: pki.kubelet_client_tls()?,
            facts: cluster.facts(),
            decoded: Recent::default(),
            messages: Recent::default(),
            metrics: Metrics::default(),
            more_metrics,
            shutdown,
            store,
            offers,
            definitions,
            pki,
            cluster,
            checks,
            gate: Gate::new(&limits),
            priority,
            flow_control,
            aside: Aside::new(limits.large),
            limits,
        };
        let shared = Arc::new(shared);
        fairness::keep(&shared, changed);
        tokio::spawn(aggregation::run(shared.clone()));
        Ok(Self { shared })
    }

    /// A client in the same process that acts as `user`: no TCP, no TLS, the same pipeline.
    pub fn client(&self, user: UserInfo) -> kube::Client {
        kube::Client::new(self.service(user), "default")
    }

    /// The kinds that are served at any time, with their types.
    pub fn kinds(&self) -> Arc<dyn skiff_admission::Kinds> {
        admission::kinds(self.shared.offers.clone())
    }

    /// Lets go of what is kept only so that it need not be made again.
    pub fn forget(&self) {
        self.shared.decoded.clear();
        self.shared.messages.clear();
    }

    /// The API as a `tower` service for one user in the same process.
    pub fn service(&self, user: UserInfo) -> ApiService {
        ApiService::new(self.shared.clone(), Caller::InProcess(Arc::new(user)))
    }

    /// Serves HTTPS (HTTP/1.1 and HTTP/2) until the shutdown; then watches end and other requests get a few
    /// seconds to finish.
    ///
    /// # Errors
    /// When there is no usable certificate.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> Result<(), StartError> {
        let tls = self.shared.pki.api_server_tls()?;
        let ended = self.shared.shutdown.clone();
        let end_watches = async {
            shutdown.cancelled().await;
            ended.cancel();
        };
        tokio::join!(http::serve(self.shared.clone(), listener, tls, shutdown.clone()), end_watches);
        Ok(())
    }
}
