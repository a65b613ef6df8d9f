//! Many pods for many nodes that nobody runs, all in this process and on one core: decisions alone, and bindings that are written
//! through the API into a store on disk.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use http::Request;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use skiff_apiserver::{ApiServer, Checks, ClusterConfig, Config, UserInfo};
use skiff_informer::Vitals;
use skiff_pki::{Pki, PkiSubject};
use skiff_scheduler::Configuration;
use skiff_scheduler::simulation::Simulation;
use skiff_store::Embedded;
use tokio_util::sync::CancellationToken;

use super::crowd::{Crowd, SETS, node, replica_set};

const PARALLEL: usize = 64;

/// Keeps this process on its first core.
fn one_core() -> anyhow::Result<()> {
    let mut first = CpuSet::new();
    first.set(0);
    sched_setaffinity(None, &first).context("stay on one core")
}

/// Decides about all pods, one after the other.
pub(crate) fn decide(nodes: u32, pods: u32, crowd: Crowd) -> anyhow::Result<()> {
    one_core()?;
    let mut simulation = Simulation::new(Configuration::default());
    for number in 0..nodes {
        simulation.node(&serde_json::from_value::<Node>(node(number))?);
    }
    for number in 0..SETS {
        simulation.replica_set(&serde_json::from_value::<ReplicaSet>(replica_set(number))?);
    }
    for number in crowd.with_volumes(pods) {
        simulation.claim(&serde_json::from_value::<PersistentVolumeClaim>(crowd.claim(number))?);
        simulation.volume(&serde_json::from_value::<PersistentVolume>(crowd.volume(number))?);
    }
    for number in 0..pods {
        simulation.pod(&serde_json::from_value::<Pod>(crowd.pod(number))?);
    }
    let before = memory()?;
    let started = Instant::now();
    let mut bound = 0_u32;
    while let Some(fits) = simulation.decide() {
        bound += u32::from(fits);
    }
    let seconds = started.elapsed().as_secs_f64();
    anyhow::ensure!(bound == pods, "{bound} of {pods} pods got a node");
    super::print(&json!({"perSecond": f64::from(bound) / seconds, "before": before, "after": memory()?}));
    Ok(())
}

/// Lets the scheduler bind all pods through an API server in this process.
pub(crate) fn bind(nodes: u32, pods: u32, crowd: Crowd) -> anyhow::Result<()> {
    one_core()?;
    rustls::crypto::ring::default_provider().install_default().ok().context("install ring")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(bind_all(nodes, pods, crowd))
}

async fn bind_all(nodes: u32, pods: u32, crowd: Crowd) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let server = serve(directory.path()).await?;
    let client = server.client(UserInfo::api_server(), "bench");
    create(&Api::<Node>::all(client.clone()), 0..nodes, node).await?;
    untaint(&Api::all(client.clone()), nodes).await?;
    create(&Api::<ReplicaSet>::default_namespaced(client.clone()), 0..SETS, replica_set).await?;
    let (volume, claim) = (|number| crowd.volume(number), |number| crowd.claim(number));
    create(&Api::<PersistentVolume>::all(client.clone()), crowd.with_volumes(pods), volume).await?;
    let claims = Api::<PersistentVolumeClaim>::default_namespaced(client.clone());
    create(&claims, crowd.with_volumes(pods), claim).await?;
    make_account(&client).await?;
    let loaded = Instant::now();
    let pod = |number| crowd.pod(number);
    create(&Api::<Pod>::default_namespaced(client.clone()), 0..pods, pod).await?;
    let loading = loaded.elapsed().as_secs_f64();
    let before = memory()?;
    let shutdown = CancellationToken::new();
    let (started, used) = (Instant::now(), super::processor_time());
    let scheduler = skiff_scheduler::run(
        server.client(UserInfo::scheduler(), "kube-scheduler"),
        Configuration::default(),
        Vitals::default(),
        shutdown.clone(),
    );
    let scheduler = tokio::spawn(scheduler);
    while bindings(&client).await? < u64::from(pods) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (seconds, used) = (started.elapsed().as_secs_f64(), super::processor_time() - used);
    let after = memory()?;
    shutdown.cancel();
    scheduler.await?;
    super::print(&json!({
        "perSecond": f64::from(pods) / seconds, "perProcessorSecond": f64::from(pods) / used,
        "loading": f64::from(pods) / loading, "before": before, "after": after,
    }));
    Ok(())
}

async fn serve(directory: &std::path::Path) -> anyhow::Result<ApiServer> {
    let address = IpAddr::from(Ipv4Addr::LOCALHOST);
    let subject = PkiSubject {
        advertise_address: address,
        service_address: address,
        host_name: "bench".to_owned(),
        domain: "cluster.local".to_owned(),
    };
    let catalogue = Arc::new(skiff_kinds::builtin());
    let store = Embedded::open(directory.join("store"), skiff_apiserver::terms(&catalogue))?;
    let config = Config {
        store: Arc::new(store),
        catalogue,
        pki: Arc::new(Pki::open_or_create(&directory.join("pki"), &subject)?),
        cluster: ClusterConfig::new(address),
        checks: Checks::default(),
        limits: skiff_apiserver::Limits::default(),
        plugins: skiff_apiserver::Plugins::default(),
        authentication: skiff_apiserver::Authentication::default(),
        authorization: skiff_apiserver::Authorization::default(),
        event_ttl: skiff_apiserver::EventTtl::default(),
        audit: None,
        build: skiff_apiserver::BuildInfo::default(),
        more_metrics: String::new,
        extensions: Vec::new(),
    };
    Ok(ApiServer::start(config).await?)
}

/// Makes the account that pods have.
async fn make_account(client: &Client) -> anyhow::Result<()> {
    let account = json!({"metadata": {"name": "default"}});
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    accounts.create(&PostParams::default(), &serde_json::from_value(account)?).await?;
    Ok(())
}

/// Makes objects, many at a time.
async fn create<K>(
    api: &Api<K>,
    numbers: impl Iterator<Item = u32>,
    object: impl Fn(u32) -> Value,
) -> anyhow::Result<()>
where
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let make = |number| {
        let object = serde_json::from_value(object(number));
        async move {
            api.create(&PostParams::default(), &object?).await?;
            anyhow::Ok(())
        }
    };
    stream::iter(numbers).map(make).buffer_unordered(PARALLEL).try_collect::<()>().await
}

/// Takes away the taint that nodes get when they are made, as a controller does when they are ready.
async fn untaint(api: &Api<Node>, nodes: u32) -> anyhow::Result<()> {
    let untainted = Patch::Merge(json!({"spec": {"taints": null}}));
    let change = |number| {
        let (name, untainted) = (format!("node-{number:05}"), &untainted);
        async move {
            api.patch(&name, &PatchParams::default(), untainted).await?;
            anyhow::Ok(())
        }
    };
    stream::iter(0..nodes).map(change).buffer_unordered(PARALLEL).try_collect::<()>().await
}

/// Bindings that the API server has answered.
async fn bindings(client: &Client) -> anyhow::Result<u64> {
    let request = Request::get("/metrics").body(Vec::new())?;
    let text = client.request_text(request).await?;
    let counters = text.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && line.contains("subresource=\"binding\"")
            && line.contains("code=\"201\"")
    });
    Ok(counters.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

/// MiB of this process.
fn memory() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kilobytes / 1024.0)
}
