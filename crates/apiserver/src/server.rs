//! The server as its user sees it: started once, serving in process and over the network.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use http::HeaderValue;
use serde_json::Value;
use skiff_admission::{Type, Webhooks};
use skiff_auth::{Auth, Issuer};
use skiff_identity::UserInfo;
use skiff_listener::Checks;
use skiff_machinery::{Catalogue, Convert, Part};
use skiff_pki::{PkiError, SignError};
use skiff_registry::{Callers, Converters, Parts, Recent, Registry, Services};
use skiff_schema::Schema;
use skiff_store::{ReadError, View};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::access::{self, AccessError, Reloads};
use crate::aggregation;
use crate::aggregation::inside::Inside;
use crate::aggregation::known::Aggregation;
use crate::aggregation::setting::Setting;
use crate::aggregation::writer::Writer;
use crate::answer::asked::Answers;
use crate::audit::{Audit, AuditError};
use crate::bootstrap::{self, Bootstrap, BootstrapError};
use crate::config::{ClusterConfig, Config};
use crate::expiry::{self, EventTtl};
use crate::fairness::configuration::Configuration;
use crate::fairness::keeper::{self, Keeper};
use crate::fairness::priority::Priority;
use crate::http::aside::Aside;
use crate::http::caller::Caller;
use crate::http::client::ApiService;
use crate::http::gate::Gate;
use crate::http::listener;
use crate::offer::Offers;
use crate::shared::Shared;
use crate::subresources::node::Nodes;
use crate::webhooks::conversion::Converter;
use crate::webhooks::credentials::{Credentials, CredentialsError};
use crate::webhooks::outgoing::{Admission, Outgoing};

/// The bytes that kept messages take: of a list that is read again and again, some thousand items.
const MESSAGES: usize = 8 << 20;

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
    /// Requests cannot be written down as is asked for.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Webhooks cannot be called as is asked for.
    #[error(transparent)]
    Webhooks(#[from] CredentialsError),
    /// Nobody can come in, or decide, as is asked for.
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl ApiServer {
    /// Writes the objects that every cluster has and reads what authorisation needs.
    ///
    /// # Errors
    /// When the store fails.
    pub fn start(config: Config) -> BoxFuture<'static, Result<Self, StartError>> {
        Box::pin(Self::started(config))
    }

    async fn started(config: Config) -> Result<Self, StartError> {
        let inside = Inside::new(config.extensions.clone()).await;
        write_first_objects(&config, &inside).await?;
        let (changed, event_ttl) = (Arc::<Notify>::default(), config.event_ttl);
        let issuer = issuer(&config.cluster);
        let outgoing = Arc::new(Outgoing::new(config.store.clone()));
        let (authentication, authorization) = (config.authentication.clone(), config.authorization.clone());
        let started = access::start(authentication, authorization, &issuer.url, outgoing.clone()).await?;
        let (access, uses, followed) = started.into_parts();
        let auth = Auth::start(config.store.clone(), config.pki.clone(), issuer, access).await?;
        let server = Self { shared: Arc::new(share(config, inside, auth, outgoing, &changed).await?) };
        server.keep(changed, event_ttl);
        let Shared { auth, reloads, shutdown, .. } = &*server.shared;
        access::follow(followed, auth, reloads, shutdown);
        access::note_uses(server.client(UserInfo::api_server(), "kube-apiserver"), uses, shutdown.clone());
        Ok(server)
    }

    /// Starts what the server does by itself.
    fn keep(&self, changed: Arc<Notify>, event_ttl: EventTtl) {
        let Shared { store, offers, aggregation, priority, flow_control, shutdown, .. } = &*self.shared;
        let itself = self.client(UserInfo::api_server(), "kube-apiserver");
        let keeper = Keeper {
            store: store.clone(),
            priority: priority.clone(),
            flow_control: flow_control.clone(),
            client: itself.clone(),
        };
        keeper::keep(keeper, changed, shutdown.clone());
        let setting = Setting {
            store: store.clone(),
            offers: offers.clone(),
            aggregation: aggregation.clone(),
            writer: Writer::new(itself),
        };
        tokio::spawn(aggregation::run::run(setting, shutdown.clone()));
        expiry::keep(store.clone(), event_ttl, shutdown.clone());
    }

    /// A client in the same process that acts as `user`: no TCP, no TLS, the same pipeline. `agent` is its `User-Agent`, by which
    /// what it writes is known, such as `kube-scheduler`.
    pub fn client(&self, user: UserInfo, agent: &'static str) -> kube::Client {
        kube::Client::new(self.service_of(user, agent), "default")
    }

    /// The kinds that are served at any time, with their types.
    pub fn kinds(&self) -> Arc<dyn skiff_admission::Kinds> {
        skiff_registry::kinds(self.shared.offers.clone())
    }

    /// How often the files of authentication and authorisation were read again.
    pub fn reloads(&self) -> watch::Receiver<Reloads> {
        self.shared.reloads.subscribe()
    }

    /// The token that a Secret of a ServiceAccount holds.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn secret_token(
        &self,
        namespace: &str,
        account: &str,
        uid: &str,
        secret: &str,
    ) -> Result<String, SignError> {
        self.shared.auth.secret_token(namespace, account, uid, secret)
    }

    /// Lets go of what is kept only so that it need not be made again.
    pub fn forget(&self) {
        self.shared.registry.forget();
        self.shared.answers.messages.clear();
    }

    /// The API as a `tower` service for one user in the same process.
    pub fn service(&self, user: UserInfo) -> ApiService {
        self.service_of(user, "")
    }

    fn service_of(&self, user: UserInfo, agent: &'static str) -> ApiService {
        let caller = Caller::InProcess { user: Arc::new(user), agent: HeaderValue::from_static(agent) };
        ApiService::new(self.shared.clone(), caller)
    }

    /// Waits until the requests that have ended are written down, if they are.
    pub async fn flush(&self) {
        if let Some(audit) = &self.shared.audit {
            audit.flush().await;
        }
    }

    /// Serves HTTPS (HTTP/1.1 and HTTP/2) until the shutdown; then watches end and other requests get a few
    /// seconds to finish.
    ///
    /// # Errors
    /// When there is no usable certificate.
    pub fn serve(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, Result<(), StartError>> {
        Box::pin(self.serving(listener, shutdown))
    }

    async fn serving(self, listener: TcpListener, shutdown: CancellationToken) -> Result<(), StartError> {
        let tls = self.shared.pki.api_server_tls()?;
        let ended = self.shared.shutdown.clone();
        let end_watches = async {
            shutdown.cancelled().await;
            ended.cancel();
        };
        tokio::join!(listener::serve(self.shared.clone(), listener, tls, shutdown.clone()), end_watches);
        self.flush().await;
        Ok(())
    }
}

async fn write_first_objects(config: &Config, inside: &Inside) -> Result<(), BootstrapError> {
    let built_in = skiff_machinery::discovery::group_versions(&config.catalogue);
    let first = Bootstrap {
        service_cidrs: vec![config.cluster.service_cidr.to_string()],
        client_ca_pem: config.pki.ca_pem().to_owned(),
        front_proxy_ca_pem: config.pki.front_proxy_ca_pem().to_owned(),
        versions: built_in.into_iter().chain(inside.versions()).collect(),
    };
    bootstrap::run(&*config.store, &first).await
}

/// Reads what requests are decided by. `changed` is told when priority and fairness are configured anew.
async fn share(
    config: Config,
    inside: Inside,
    auth: Auth,
    outgoing: Arc<Outgoing>,
    changed: &Arc<Notify>,
) -> Result<Shared, StartError> {
    let Config {
        store, catalogue, pki, cluster, checks, limits, plugins, audit, build, more_metrics, ..
    } = config;
    let audit = match audit {
        Some(audit) => Some(Audit::start(audit, &outgoing)?),
        None => None,
    };
    let address = SocketAddr::new(cluster.advertise_address, cluster.port);
    let schema = schema_of(&catalogue);
    let offers = Arc::new(Offers::new(catalogue, address.to_string(), build));
    let registry = Registry::start(Services {
        store: store.clone(),
        offer: offers.clone(),
        authority: Arc::new(auth.clone()),
        webhooks: Callers {
            mutating: admission(&outgoing, plugins.kubeconfig(Type::Mutating))?,
            validating: admission(&outgoing, plugins.kubeconfig(Type::Validating))?,
        },
        converters: converters(outgoing),
        plugins,
        facts: cluster.facts(),
        service_cidr: cluster.service_cidr.into(),
        parts: parts(checks.clone()),
        schema,
    });
    let registry = Arc::new(registry.await?);
    let aggregation = Arc::new(Aggregation::start(store.clone(), offers.clone(), &pki, inside).await?);
    let priority = Arc::new(Priority::new(&limits));
    let flow_control = Configuration::new(priority.fairness.clone(), changed.clone());
    let flow_control = Arc::new(View::start(store.clone(), flow_control).await?);
    let (gate, aside) = (Gate::new(&limits), Aside::new(limits.large));
    let answers = Answers { registry: registry.clone(), messages: Recent::holding(MESSAGES), gate, aside };
    Ok(Shared {
        nodes: Nodes { registry: registry.clone(), tls: pki.kubelet_client_tls()? },
        answers: Arc::new(answers),
        shutdown: CancellationToken::new(),
        store,
        offers,
        registry,
        aggregation,
        auth,
        reloads: watch::Sender::default(),
        audit,
        unrecorded: Arc::default(),
        pki,
        more_metrics,
        checks,
        limits,
        priority,
        flow_control,
    })
}

/// Who issues the tokens of ServiceAccounts.
fn issuer(cluster: &ClusterConfig) -> Issuer {
    Issuer::new(&cluster.domain, cluster.advertise_address, cluster.port)
}

/// How the parts of the control plane are, by the checks of the server.
fn parts(checks: Checks) -> Parts {
    Arc::new(move || {
        let outcomes = checks.results("readyz").into_iter();
        outcomes.map(|outcome| Part { name: outcome.name.to_owned(), failure: outcome.failure }).collect()
    })
}

/// That of the built-in kinds.
fn schema_of(catalogue: &Catalogue) -> Arc<Schema> {
    catalogue.iter().next().map(|kind| kind.root.share()).unwrap_or_default()
}

/// Calls the webhooks of a plugin with the credentials of its kubeconfig.
fn admission(
    outgoing: &Arc<Outgoing>,
    kubeconfig: Option<&Path>,
) -> Result<Arc<dyn Webhooks>, CredentialsError> {
    let credentials = kubeconfig.map(Credentials::read).transpose()?.unwrap_or_default();
    Ok(Arc::new(Admission { outgoing: outgoing.clone(), credentials }))
}

fn converters(outgoing: Arc<Outgoing>) -> Converters {
    Arc::new(move |webhook: &Value| -> Arc<dyn Convert> {
        Arc::new(Converter::new(outgoing.clone(), webhook))
    })
}
