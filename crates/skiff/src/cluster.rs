//! The one function that assembles a cluster from its parts, in the order in which they start.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use kube::Client;
use skiff_apiserver::{ApiServer, Checks, ClusterConfig, Extension};
use skiff_errors::error_text;
use skiff_identity::UserInfo;
use skiff_informer::Vitals;
use skiff_node::{Clients, Reports};
use skiff_pki::Pki;
use skiff_proxy::Health;
use skiff_store::{Embedded, Terms};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agent::{Told, start_node};
use crate::authorities::{controller_client, controllers};
use crate::certificates::{self, renew_kubeconfigs, write_kubeconfigs};
use crate::encryption::Encryption;
use crate::health::{check_proxy, watch_store, watched};
use crate::metrics::MetricsApi;
use crate::parts::Parts;
use crate::progress::{Progress, Report};
use crate::ready::Starting;
use crate::settings::{Settings, build_info, pki_subject, record};
use crate::timeline::Timeline;
use crate::{addons, daemon};

/// Address of the Service `kubernetes`, and of the cluster's DNS: the 1st and 10th of the Service range.
pub(crate) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
pub(crate) const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// A running cluster.
pub(crate) struct Cluster {
    parts: Parts,
    store: Arc<Embedded>,
    _running: daemon::Running,
}

impl Cluster {
    /// Waits until the shutdown or until a part fails. Pods keep running afterwards; `skiff down` stops them.
    pub(crate) async fn wait(self) -> anyhow::Result<()> {
        let ended = self.parts.wait().await;
        self.store.close();
        ended
    }
}

/// Starts a cluster; returns when pods can run.
pub(crate) async fn start(
    settings: Settings,
    progress: &Progress,
    shutdown: CancellationToken,
) -> anyhow::Result<Cluster> {
    let timeline = Timeline::start(settings.layout.run());
    let plugins = settings.args.admission.plugins()?;
    let scheduling = settings.args.scheduler.configuration()?;
    let audit = settings.args.audit.read()?;
    let (authentication, authorization) = settings.args.access.read()?;
    let bootstrap_tokens = authentication.has_bootstrap_tokens();
    settings.args.encryption.read()?;
    let node_ip = settings.node_ip().await?;
    // Tools on this machine use loopback: it stays when the machine moves to another network.
    let url = format!("https://127.0.0.1:{}", settings.args.api_port);
    settings.layout.create()?;
    let starting = daemon::claim(&settings.layout.starting(), &daemon::Process::this())?;
    let fresh = !settings.layout.server_record().exists();
    let running = daemon::claim(&settings.layout.server_record(), &record(&settings, &url))?;
    settings.remember_node()?;
    let mut parts = Parts::new(shutdown.clone());

    progress.step("opening the store");
    let catalogue = Arc::new(skiff_kinds::builtin());
    let checks = Checks::default();
    let encryption = settings.args.encryption.open()?;
    let store = open_store(&settings, skiff_apiserver::terms(&catalogue), encryption.as_ref())?;
    watch_store(&mut parts, &store, &checks);
    if let Some(encryption) = encryption {
        encryption.check(&checks);
        parts.run("encryption", encryption.keep(store.clone(), shutdown.clone()));
    }
    let pki = Arc::new(Pki::open_or_create(&settings.layout.pki(), &pki_subject(&settings, node_ip))?);
    let keys = certificates::keep_token_keys(pki.clone(), settings.layout.clone(), shutdown.clone());
    parts.run("token keys", keys);

    progress.step("starting the API server");
    let cluster = ClusterConfig { port: settings.args.api_port, ..ClusterConfig::new(node_ip.into()) };
    let metrics = Arc::new(MetricsApi::default());
    let config = skiff_apiserver::Config {
        store: store.clone(),
        catalogue,
        pki: pki.clone(),
        cluster: cluster.clone(),
        checks: checks.clone(),
        limits: skiff_apiserver::Limits::default(),
        plugins,
        event_ttl: settings.args.event_ttl,
        authentication,
        authorization,
        audit,
        build: build_info(),
        more_metrics: || {
            [skiff_informer::metrics(), skiff_scheduler::metrics(), crate::encryption::metrics()].concat()
        },
        extensions: vec![metrics.clone() as Arc<dyn Extension>],
    };
    // Before the API server answers: it is not ready before the proxy is.
    let (proxy, proxy_health) = watch::channel(Health::default());
    let (is_up, agent) = watch::channel(false);
    if !settings.args.without_agent {
        check_proxy(&checks, proxy_health.clone());
    }
    let api = start_api(&mut parts, config).await?;
    let account = UserInfo::service_account(addons::NAMESPACE, addons::METRICS);
    metrics.connect(api.client(account, "metrics-server"));
    parts.run("memory", keep_small(api.clone(), shutdown.clone()));
    // From here on users can look at what goes on, also when it goes wrong.
    write_kubeconfigs(&settings, &pki, &url)?;
    let copies = {
        let (settings, pki) = (settings.clone(), pki.clone());
        move || renew_kubeconfigs(&settings, &pki, &url)
    };
    parts.run("certificates", certificates::keep(pki.clone(), copies, shutdown.clone()));
    let vitals = watched(&checks, "controllers", "controllers-informer-sync");
    let config = controllers(&cluster, &pki, &api, bootstrap_tokens);
    parts.run(
        "controllers",
        skiff_controllers::run(controller_client(&api), config, api.kinds(), vitals, shutdown.clone()),
    );
    let vitals = watched(&checks, "scheduler", "scheduler-informer-sync");
    let client = api.client(UserInfo::scheduler(), "kube-scheduler");
    parts.run("scheduler", scheduler(client, scheduling, vitals, shutdown.clone()));

    let admin = api.client(UserInfo::api_server(), "kube-apiserver");
    // Before it asks, in this process or in another.
    addons::apply_provisioner(&admin).await.context("create the provisioner's objects")?;
    if !settings.args.without_agent {
        progress.step("starting the node");
        let provisioner = UserInfo::service_account(addons::NAMESPACE, addons::PROVISIONER_ACCOUNT);
        let clients = Clients {
            node: api.client(UserInfo::node(&settings.node_name), "kubelet"),
            provisioner: api.client(provisioner, "local-path-provisioner"),
        };
        let vitals = watched(&checks, "node", "node-sync");
        let node = Reports { vitals, is_up };
        start_node(&mut parts, &settings, &cluster, &pki, clients, Told { proxy, node }).await?;
    }
    addons::apply(&admin, &DNS_SERVICE.to_string()).await.context("create the DNS pod's objects")?;
    if !settings.args.without_agent {
        let waiting = Starting {
            client: &admin,
            layout: &settings.layout,
            node_name: &settings.node_name,
            api: API_SERVICE,
            dns: DNS_SERVICE,
            agent,
            proxy: proxy_health,
            progress,
            timeline: &timeline,
        };
        parts.unless_one_ends(ready_or_serving(waiting.ready(), fresh, progress)).await?;
    }
    drop(starting);
    progress.report(&Report::Ready);
    Ok(Cluster { parts, store, _running: running })
}

/// A cluster on which no pod can run at its first start is given up. One that ran before serves on: what keeps its pods
/// from running (a full disk, say) can only be put right through its API.
async fn ready_or_serving(
    ready: impl Future<Output = anyhow::Result<()>>,
    fresh: bool,
    progress: &Progress,
) -> anyhow::Result<()> {
    match ready.await {
        Err(error) if !fresh => {
            let error = error_text(error.as_ref());
            tracing::error!("the server serves, but pods may not run: {error}");
            progress.remark(&format!("the server serves, but pods may not run: {error}"));
            Ok(())
        }
        ended => ended,
    }
}

fn open_store(
    settings: &Settings,
    terms: impl Into<Terms>,
    encryption: Option<&Encryption>,
) -> anyhow::Result<Arc<Embedded>> {
    let path = settings.layout.store();
    let opened = match encryption {
        Some(encryption) => Embedded::open_sealed(path, terms, encryption.keyring()),
        None => Embedded::open(path, terms),
    };
    Ok(Arc::new(opened?))
}

/// Gives memory back after bursts of work, until the shutdown.
async fn keep_small(api: ApiServer, shutdown: CancellationToken) -> anyhow::Result<()> {
    shutdown.run_until_cancelled(skiff_heap::keep_small(|| api.forget())).await;
    Ok(())
}

async fn start_api(parts: &mut Parts, config: skiff_apiserver::Config) -> anyhow::Result<ApiServer> {
    let port = config.cluster.port;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        .await
        .with_context(|| format!("listen on port {port}; --api-port chooses another"))?;
    let api = ApiServer::start(config).await?;
    parts.run("API server", api.clone().serve(listener, parts.shutdown()));
    Ok(api)
}

async fn scheduler(
    client: Client,
    configuration: skiff_scheduler::Configuration,
    vitals: Vitals,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    skiff_scheduler::run(client, configuration, vitals, shutdown).await;
    Ok(())
}
