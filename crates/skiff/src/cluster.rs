//! The one function that assembles a cluster from its parts, in the order in which they start.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use jiff::SignedDuration;
use kube::Client;
use skiff_apiserver::{ApiServer, Checks, ClusterConfig, Concern, Extension};
use skiff_controllers::ControllersConfig;
use skiff_errors::error_text;
use skiff_identity::{CertificateRequest, UserInfo};
use skiff_informer::Vitals;
use skiff_node::{AgentConfig, Clients, Reports};
use skiff_pki::{Credentials, NodeSubject, Pki, PkiSubject, kubeconfig::ContextEntry};
use skiff_proxy::{Health, ProxyConfig};
use skiff_runtime::Runtime;
use skiff_store::{Condition, Embedded};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::args::ServerArgs;
use crate::layout::Layout;
use crate::metrics::MetricsApi;
use crate::parts::Parts;
use crate::progress::{Progress, Report};
use crate::ready::{self, Starting};
use crate::timeline::Timeline;
use crate::{addons, daemon, preflight, server};

/// Prefix length of each node's share of the pod range.
const NODE_PREFIX: u8 = 24;
/// Address of the Service `kubernetes`, and of the cluster's DNS: the 1st and 10th of the Service range.
pub(crate) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
pub(crate) const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// The node's address on a machine that has none but loopback: the first of the first node's pod range, which
/// the pod network puts on its own interface.
const ISOLATED_NODE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

/// What a cluster is started with.
pub(crate) struct Settings {
    args: ServerArgs,
    layout: Layout,
    host_name: String,
    node_name: String,
}

impl Settings {
    pub(crate) fn new(args: &ServerArgs) -> anyhow::Result<Self> {
        let host_name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        let layout = args.layout.layout();
        let node_name = match (&args.node_name, remembered(&layout.node_name())?) {
            (Some(name), Some(before)) if *name != before => bail!(
                "this cluster's node is named {before:?}, and its pods belong to that; \
                 start it as --node-name {before}, or `skiff down --purge` it first to name it {name:?}"
            ),
            (Some(name), _) => name.clone(),
            (None, before) => before.unwrap_or_else(|| host_name.clone()),
        };
        if let Some(error) = skiff_machinery::names::subdomain(&node_name) {
            bail!("{node_name:?} cannot be a node's name, choose one with --node-name: {}", error.body());
        }
        Ok(Self { args: args.clone(), layout, host_name, node_name })
    }

    /// Keeps the node's name for later starts: the host's may change (each container has another), while the pods
    /// belong to the node.
    fn remember_node(&self) -> anyhow::Result<()> {
        let path = self.layout.node_name();
        server::write_private(&path, &self.node_name).with_context(|| format!("write {}", path.display()))
    }

    async fn node_ip(&self) -> anyhow::Result<Ipv4Addr> {
        match self.args.node_ip {
            Some(IpAddr::V4(address)) => Ok(address),
            Some(IpAddr::V6(address)) => bail!("--node-ip {address}: only IPv4 addresses are supported yet"),
            None => Ok(skiff_podnet::primary_address().await?.unwrap_or(ISOLATED_NODE)),
        }
    }
}

/// The node's name at an earlier start, if there was one.
fn remembered(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(name) => Ok(Some(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

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
    let store = Arc::new(Embedded::open(settings.layout.store(), skiff_apiserver::terms(&catalogue))?);
    let checks = Checks::default();
    watch_store(&mut parts, &store, &checks);
    let pki = Arc::new(Pki::open_or_create(&settings.layout.pki(), &pki_subject(&settings, node_ip))?);
    parts.run("certificates", keep_certificates(pki.clone(), shutdown.clone()));

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
        authentication,
        authorization,
        audit,
        build: build_info(),
        more_metrics: skiff_informer::metrics,
        extensions: vec![metrics.clone() as Arc<dyn Extension>],
    };
    // Before the API server answers: it is not ready before the proxy is.
    let (proxy, proxy_health) = watch::channel(Health::default());
    let (is_up, agent) = watch::channel(false);
    if !settings.args.without_agent {
        check_proxy(&checks, proxy_health.clone());
    }
    let api = start_api(&mut parts, config).await?;
    metrics.connect(api.client(UserInfo::service_account(addons::NAMESPACE, addons::METRICS)));
    parts.run("memory", keep_small(api.clone(), shutdown.clone()));
    // From here on users can look at what goes on, also when it goes wrong.
    write_kubeconfigs(&settings, &pki, &url)?;
    let vitals = watched(&checks, "controllers", "controllers-informer-sync");
    let config = controllers(&cluster, &pki, &api, bootstrap_tokens);
    parts.run(
        "controllers",
        skiff_controllers::run(controller_client(&api), config, api.kinds(), vitals, shutdown.clone()),
    );
    let vitals = watched(&checks, "scheduler", "scheduler-informer-sync");
    let client = api.client(UserInfo::scheduler());
    parts.run("scheduler", scheduler(client, scheduling, vitals, shutdown.clone()));

    let admin = api.client(UserInfo::api_server());
    if !settings.args.without_agent {
        progress.step("starting the node");
        let provisioner = UserInfo::service_account(addons::NAMESPACE, addons::PROVISIONER_ACCOUNT);
        let clients = Clients {
            node: api.client(UserInfo::node(&settings.node_name)),
            provisioner: api.client(provisioner),
        };
        // Before it asks.
        addons::apply_provisioner(&admin).await.context("create the provisioner's objects")?;
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

/// Runs only the node agent, with the keys of the server on this machine.
pub(crate) async fn run_agent(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    anyhow::ensure!(
        settings.args.admission.is_empty(),
        "admission plugins are the API server's: give what is said of them to `skiff server`"
    );
    anyhow::ensure!(
        settings.args.scheduler.scheduler_config.is_none(),
        "the scheduler is a part of the server: give --scheduler-config to `skiff server`"
    );
    anyhow::ensure!(
        settings.args.audit.is_empty(),
        "the API server writes requests down: give what is said of that to `skiff server`"
    );
    anyhow::ensure!(
        settings.args.access.is_empty(),
        "the API server decides who may come in and do what: give what is said of that to `skiff server`"
    );
    let node_ip = settings.node_ip().await?;
    let server = format!("https://127.0.0.1:{}", settings.args.api_port);
    settings.layout.create()?;
    let _running = daemon::claim(&settings.layout.agent_record(), &record(&settings, &server))?;
    let pki = Arc::new(Pki::open_or_create(&settings.layout.pki(), &pki_subject(&settings, node_ip))?);
    let cluster = ClusterConfig { port: settings.args.api_port, ..ClusterConfig::new(node_ip.into()) };
    let client = async |name: &str, credentials: Credentials| {
        let (name, server) = (name.to_owned(), server.clone());
        let entry = ContextEntry { name, server, ca_pem: pki.ca_pem().to_owned(), credentials };
        ready::client_of(&entry).await
    };
    let provisioner = pki.service_account_client(addons::NAMESPACE, addons::PROVISIONER_ACCOUNT)?;
    let clients = Clients {
        node: client("node", pki.node_client(&settings.node_name)?).await?,
        provisioner: client("provisioner", provisioner).await?,
    };
    let mut parts = Parts::new(shutdown.clone());
    parts.run("certificates", keep_certificates(pki.clone(), shutdown.clone()));
    start_node(&mut parts, &settings, &cluster, &pki, clients, Told::default()).await?;
    parts.wait().await
}

fn record(settings: &Settings, url: &str) -> daemon::Record {
    daemon::Record {
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        server: url.to_owned(),
        context: settings.args.context.clone(),
        kept: settings.args.detached,
    }
}

fn pki_subject(settings: &Settings, node_ip: Ipv4Addr) -> PkiSubject {
    PkiSubject {
        advertise_address: node_ip.into(),
        service_address: API_SERVICE.into(),
        host_name: settings.host_name.clone(),
        domain: ClusterConfig::new(node_ip.into()).domain,
    }
}

async fn keep_certificates(pki: Arc<Pki>, shutdown: CancellationToken) -> anyhow::Result<()> {
    pki.keep_current(shutdown).await;
    Ok(())
}

/// The store's condition as health checks, and the end of the server when it cannot be put right.
fn watch_store(parts: &mut Parts, store: &Embedded, checks: &Checks) {
    let (condition, space) = (store.condition(), store.condition());
    checks.add("etcd", Concern::Life, move || match &*condition.borrow() {
        Condition::Failing(reason) | Condition::Failed(reason) => {
            Err(format!("the store cannot write: {reason}"))
        }
        Condition::Good | Condition::Full => Ok(()),
    });
    checks.add("store-space", Concern::Readiness, move || match *space.borrow() {
        Condition::Full => {
            Err("the disk of the store is full: nothing new can be stored until there is room".into())
        }
        _ => Ok(()),
    });
    let (mut condition, shutdown) = (store.condition(), parts.shutdown());
    parts.run("store", async move {
        let failed = condition.wait_for(|condition| matches!(condition, Condition::Failed(_)));
        let ended = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            failed = failed => failed.map(|condition| condition.clone()),
        };
        match ended {
            Ok(Condition::Failed(reason)) => bail!("cannot write, and could not be put right: {reason}"),
            _ => bail!("closed"),
        }
    });
}

/// Gives memory back after bursts of work, until the shutdown.
async fn keep_small(api: ApiServer, shutdown: CancellationToken) -> anyhow::Result<()> {
    shutdown.run_until_cancelled(skiff_heap::keep_small(|| api.forget())).await;
    Ok(())
}

/// The Service proxy's own word on how it is doing.
fn check_proxy(checks: &Checks, health: watch::Receiver<Health>) {
    checks.add("proxy", Concern::Readiness, move || match &*health.borrow() {
        Health { failing: Some(reason), .. } => {
            Err(format!("the kernel does not take the Services: {reason}"))
        }
        Health { synced: false, .. } => Err("the Services have not been put into the kernel yet".to_owned()),
        _ => Ok(()),
    });
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

fn controller_client(api: &ApiServer) -> impl Fn(&str) -> Client + use<> {
    let api = api.clone();
    move |name| {
        let identity = skiff_controllers::identity(name);
        api.client(UserInfo { name: identity.user, groups: identity.groups, ..UserInfo::default() })
    }
}

/// Signs certificates with the cluster's authority.
#[derive(Clone)]
struct Authority(Arc<Pki>);

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

impl skiff_controllers::Signer for Authority {
    fn sign(
        &self,
        request: &CertificateRequest,
        usages: &[String],
        life: SignedDuration,
    ) -> Result<String, String> {
        self.0.sign_request(request, usages, life).map_err(|error| error.to_string())
    }
}

/// Signs the tokens that Secrets of ServiceAccounts hold.
#[derive(Clone)]
struct SecretTokens(ApiServer);

impl fmt::Debug for SecretTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretTokens")
    }
}

impl skiff_controllers::TokenSigner for SecretTokens {
    fn sign(&self, namespace: &str, account: &str, uid: &str, secret: &str) -> Result<String, String> {
        self.0.secret_token(namespace, account, uid, secret).map_err(|error| error.to_string())
    }
}

fn controllers(
    cluster: &ClusterConfig,
    pki: &Arc<Pki>,
    api: &ApiServer,
    bootstrap_tokens: bool,
) -> ControllersConfig {
    ControllersConfig {
        root_ca_pem: pki.ca_pem().to_owned(),
        pod_cidr: cluster.pod_cidr.into(),
        node_prefix: NODE_PREFIX,
        apiserver: SocketAddr::new(cluster.advertise_address, cluster.port),
        kubernetes_service_ip: API_SERVICE.into(),
        signer: Some(Arc::new(Authority(pki.clone()))),
        tokens: Some(Arc::new(SecretTokens(api.clone()))),
        bootstrap_tokens,
    }
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

/// A part's loops as health checks: `alive` fails when one is stuck, `synced` until it knows what it works on.
fn watched(checks: &Checks, alive: &'static str, synced: &'static str) -> Vitals {
    let vitals = Vitals::default();
    let (loops, fills) = (vitals.clone(), vitals.clone());
    checks.add(alive, Concern::Life, move || loops.alive());
    checks.add(synced, Concern::Readiness, move || fills.synced());
    vitals
}

/// Where the node's parts say how they are.
#[derive(Default)]
struct Told {
    proxy: watch::Sender<Health>,
    node: Reports,
}

/// Runtime, node agent and Service proxy.
async fn start_node(
    parts: &mut Parts,
    settings: &Settings,
    cluster: &ClusterConfig,
    pki: &Arc<Pki>,
    clients: Clients,
    told: Told,
) -> anyhow::Result<()> {
    let runtime = Arc::new(preflight::runtime(&settings.layout)?);
    add_own_image(&runtime).await?;
    let node_ip = settings.node_ip().await?;
    let agent = agent_config(settings, cluster, pki, node_ip)?;
    let proxy = ProxyConfig {
        node_name: settings.node_name.clone(),
        node_ips: vec![node_ip],
        cluster_cidr: agent.cluster_cidr,
        service_cidr: agent.service_cidr,
    };
    parts.run("proxy", skiff_proxy::run_reporting(clients.node.clone(), proxy, told.proxy, parts.shutdown()));
    parts.run("node", skiff_node::run(agent, clients, runtime, told.node, parts.shutdown()));
    Ok(())
}

/// The image of the DNS pod holds this program.
async fn add_own_image(runtime: &Runtime) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("find the skiff program")?;
    runtime.images().add_executable(addons::IMAGE, &program, &[]).await?;
    Ok(())
}

fn agent_config(
    settings: &Settings,
    cluster: &ClusterConfig,
    pki: &Pki,
    node_ip: Ipv4Addr,
) -> anyhow::Result<AgentConfig> {
    let subject = NodeSubject {
        name: settings.node_name.clone(),
        host_name: settings.host_name.clone(),
        addresses: vec![node_ip.into()],
    };
    Ok(AgentConfig {
        node_name: settings.node_name.clone(),
        node_ip: Some(node_ip),
        node_labels: BTreeMap::new(),
        data_dir: settings.layout.data().to_owned(),
        run_dir: settings.layout.run().to_owned(),
        cluster_dns: DNS_SERVICE.into(),
        cluster_domain: cluster.domain.clone(),
        resolv_conf: "/etc/resolv.conf".into(),
        cluster_cidr: cluster.pod_cidr,
        service_cidr: cluster.service_cidr,
        listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, settings.args.kubelet_port)),
        tls: Arc::new(pki.node_serving_tls(&subject)?),
        eviction_hard: settings.args.eviction_hard.unwrap_or_default(),
        max_pods: 110,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kubernetes_version: skiff_apiserver::kubernetes_version(),
    })
}

/// What the build script found out.
fn build_info() -> skiff_apiserver::BuildInfo {
    let seconds = env!("SKIFF_COMMIT_TIME").parse().unwrap_or(0);
    skiff_apiserver::BuildInfo {
        commit: env!("SKIFF_COMMIT").to_owned(),
        tree_state: env!("SKIFF_TREE_STATE").to_owned(),
        commit_time: jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH),
        compiler: env!("SKIFF_RUSTC").to_owned(),
        architecture: skiff_runtime::images::architecture(),
    }
}

/// The administrator's kubeconfig in the data directory, and a context in the user's own.
fn write_kubeconfigs(settings: &Settings, pki: &Pki, url: &str) -> anyhow::Result<()> {
    let path = settings.layout.admin_kubeconfig();
    server::write_private(&path, &pki.kubeconfig(url, &settings.args.context))
        .with_context(|| format!("write {}", path.display()))?;
    let entry = ContextEntry {
        name: settings.args.context.clone(),
        server: url.to_owned(),
        ca_pem: pki.ca_pem().to_owned(),
        credentials: pki.admin(),
    };
    server::write_context(server::user_kubeconfig().as_deref(), &entry)
}
