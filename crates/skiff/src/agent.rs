//! The node: runtime, agent and Service proxy, beside the API server or in a process of their own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use skiff_apiserver::ClusterConfig;
use skiff_node::{AgentConfig, Clients, Reports};
use skiff_pki::{NodeSubject, Pki};
use skiff_proxy::{Health, ProxyConfig};
use skiff_runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::args::said::Options as _;
use crate::cluster::DNS_SERVICE;
use crate::parts::Parts;
use crate::settings::{Settings, pki_subject, record};
use crate::{addons, certificates, daemon, preflight};

/// Runs only the node agent, with the keys of the server on this machine.
pub(crate) async fn run_agent(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    refuse_what_is_the_servers(&settings)?;
    let node_ip = settings.node_ip().await?;
    let server = format!("https://127.0.0.1:{}", settings.args.api_port);
    settings.layout.create()?;
    let _running = daemon::claim(&settings.layout.agent_record(), &record(&settings, &server))?;
    let pki = Arc::new(Pki::open_or_create(&settings.layout.pki(), &pki_subject(&settings, node_ip))?);
    let cluster = ClusterConfig { port: settings.args.api_port, ..ClusterConfig::new(node_ip.into()) };
    let client = |tls| certificates::client(&server, tls);
    let clients = Clients {
        node: client(pki.node_client_tls(&settings.node_name)?)?,
        provisioner: client(pki.service_account_client_tls(addons::NAMESPACE, addons::PROVISIONER_ACCOUNT)?)?,
    };
    let mut parts = Parts::new(shutdown.clone());
    parts.run("certificates", certificates::keep(pki.clone(), || Ok(()), shutdown.clone()));
    start_node(&mut parts, &settings, &cluster, &pki, clients, Told::default()).await?;
    parts.wait().await
}

/// Options that only the server heeds are an error of whoever gives them to the agent.
fn refuse_what_is_the_servers(settings: &Settings) -> anyhow::Result<()> {
    anyhow::ensure!(
        settings.args.admission.is_empty(),
        "admission plugins are the API server's: give what is said of them to `skiff server`"
    );
    anyhow::ensure!(
        settings.args.event_ttl == skiff_apiserver::EventTtl::default(),
        "Events are kept by the API server: give --event-ttl to `skiff server`"
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
    anyhow::ensure!(
        settings.args.encryption.is_empty(),
        "the server keeps what is stored: give what is said of its encryption to `skiff server`"
    );
    Ok(())
}

/// Where the node's parts say how they are.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) proxy: watch::Sender<Health>,
    pub(crate) node: Reports,
}

/// Runtime, node agent and Service proxy.
pub(crate) async fn start_node(
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
