//! Brings the parts of the agent up in order, and down together.

use crate::config::AgentConfig;
use crate::container::services::ServiceFacts;
use crate::directory;
use crate::error::AgentError;
use crate::node::machine::Machine;
use crate::node::object::Readiness;
use crate::node::register::Registration;
use crate::node::view::NodeView;
use crate::paths::pods_dir;
use crate::pod::ledger::Ledger;
use crate::pod::manager::Manager;
use crate::pod::views::Views;
use crate::probes::counts::ProbeCounts;
use crate::provision::Provisioner;
use crate::server;
use crate::shared::Shared;
use crate::sources::SourceWatches;
use crate::users::UserRanges;
use crate::volumes::claims::NodeVolumes;
use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Node, Service};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use skiff_errors::error_text;
use skiff_informer::{Cache, EventType, ObjectKey, Queue, Recorder, Vitals, overdue, watch_objects};
use skiff_listener::{Checks, Concern};
use skiff_podnet::{NodeNetwork, PodNetwork, Restored, primary_address};
use skiff_runtime::Runtime;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Where an agent says how it is.
#[derive(Default)]
pub struct Reports {
    /// Its loops and caches.
    pub vitals: Vitals,
    /// Told once the network of pods is there and the Node says that it is ready, and so no longer tells of an earlier run.
    pub is_up: watch::Sender<bool>,
}

/// As whom an agent speaks to the API.
#[derive(Clone)]
pub struct Clients {
    /// As its node.
    pub node: Client,
    /// As the provisioner of local paths.
    pub provisioner: Client,
}

/// Why pods cannot have user namespaces on this machine, if they cannot.
async fn without_users(runtime: &Arc<Runtime>) -> Option<String> {
    let runtime = runtime.clone();
    let trial = move || runtime.check_users().map_err(|error| error_text(&error));
    let tried = tokio::task::spawn_blocking(trial).await;
    let reason = tried.unwrap_or_else(|error| Err(error.to_string())).err()?;
    tracing::warn!(reason, "pods with hostUsers: false cannot run here");
    Some(reason)
}

/// Runs the node agent until `shutdown`. Pods that run go on running; the next agent takes them over.
pub fn run(
    config: AgentConfig,
    clients: Clients,
    runtime: Arc<Runtime>,
    reports: Reports,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), AgentError>> {
    Box::pin(serve(config, clients, runtime, reports, shutdown))
}

async fn serve(
    config: AgentConfig,
    Clients { node: client, provisioner }: Clients,
    runtime: Arc<Runtime>,
    Reports { vitals, is_up }: Reports,
    shutdown: CancellationToken,
) -> Result<(), AgentError> {
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| AgentError::Listen { address: config.listen, source })?;
    let pods = pods_dir(&config.data_dir);
    directory::prepare(&config.data_dir)
        .map_err(|source| AgentError::Directory { path: pods.display().to_string(), source })?;
    let no_users = without_users(&runtime).await;
    let versions = (&*config.version, &*config.kubernetes_version);
    let machine = Machine::inspect(&config.data_dir, versions, no_users.is_none());
    let events = Recorder::start(client.clone(), "kubelet", &config.node_name);
    let services = follow_services(&client);
    let left = runtime.existing().await.map_err(|error| AgentError::Adopt(Box::new(error)))?;

    let ranges = left.iter().filter_map(|uid| Some((uid.clone(), runtime.users(uid)?)));
    let users = UserRanges::remembered(&config.data_dir, ranges)
        .map_err(|source| AgentError::Directory { path: pods.display().to_string(), source })?
        .unless(no_users);
    let node_ip = match config.node_ip {
        Some(ip) => Some(ip),
        None => primary_address().await?,
    };
    let registering =
        Registration::register(config.clone(), machine.clone(), client.clone(), runtime.clone(), node_ip);
    let (mut registration, node) = registering.await?;
    events.event(registration.reference(), EventType::Normal, "Starting", "Starting kubelet.".into());
    let view = NodeView::new(client.clone(), &node);
    let Some(pod_cidr) = pod_cidr(&client, node, &shutdown).await? else { return Ok(()) };
    let (network, node_ip) = set_up_network(&config, pod_cidr, node_ip).await?;
    registration.node_ip = Some(IpAddr::V4(node_ip));
    report_ready(&mut registration, &shutdown).await;
    is_up.send_replace(true);
    events.event(
        registration.reference(),
        EventType::Normal,
        "NodeReady",
        format!("Node {} status is now: NodeReady", config.node_name),
    );

    let released: Queue<ObjectKey> = vitals.queue("volumes of the node's provisioner");
    let volumes = Arc::new(NodeVolumes::new(&config.data_dir, released.clone()));
    let shared = Arc::new(Shared {
        volumes,
        claims: Arc::default(),
        allocatable: machine.capacity(config.max_pods),
        machine,
        node: view,
        ledger: Ledger::default(),
        probes: ProbeCounts::default(),
        users,
        host_ips: vec![IpAddr::V4(node_ip)],
        sources: SourceWatches::new(client.clone()),
        config,
        client,
        runtime,
        network,
        events,
        services,
    });
    let views = Arc::new(Views::default());
    let work = (vitals.queue("claims of the node's provisioner"), released);
    let provisioner = Provisioner::new(provisioner, shared.clone(), views.clone(), work);
    let manager = Manager::new(shared.clone(), views.clone(), left, &vitals);
    let network = shared.clone();
    vitals.watch("pod network", move |now| overdue(network.network.restoring_since(), now));
    let checks = Checks::default();
    checks.add("syncloop", Concern::Life, move || vitals.alive().and_then(|()| vitals.synced()));
    let (events, reference) = (shared.events.clone(), registration.reference());
    let report = |restored: Restored| {
        tracing::warn!("{restored}");
        events.event(reference.clone(), EventType::Warning, "NetworkRestored", restored.to_string());
    };
    let parts = async {
        tokio::join!(
            shared.node.follow(shutdown.clone()),
            manager.run(shutdown.clone()),
            registration.keep(shutdown.clone()),
            provisioner.run(&shutdown),
            server::serve(shared.clone(), views, checks, listener, shutdown.clone()),
        );
        Ok(())
    };
    tokio::try_join!(parts, shared.network.keep(shutdown.clone(), report))?;
    Ok(())
}

/// A copy of all Services, for the environment of containers; kept current as long as the program runs.
fn follow_services(client: &Client) -> Cache<ServiceFacts> {
    let cache: Cache<ServiceFacts> = Cache::new();
    let (follower, api) = (cache.clone(), Api::all(client.clone()));
    tokio::spawn(async move {
        let events = watch_objects::<Service>(api, watcher::Config::default());
        follower.follow(events, ServiceFacts::of).await;
    });
    cache
}

/// Waits until the API has given the node its range of pod addresses; `None` on shutdown.
async fn pod_cidr(
    client: &Client,
    node: Node,
    shutdown: &CancellationToken,
) -> Result<Option<ipnet::Ipv4Net>, AgentError> {
    let name = node.metadata.name.clone().unwrap_or_default();
    let cidr_of = |node: Node| node.spec.and_then(|spec| spec.pod_cidr).filter(|cidr| !cidr.is_empty());
    let parse = |cidr: String| {
        let parsed = cidr.parse::<ipnet::Ipv4Net>();
        parsed.map(Some).map_err(|_| AgentError::PodCidr { node: name.clone(), cidr })
    };
    if let Some(cidr) = cidr_of(node) {
        return parse(cidr);
    }
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut objects =
        std::pin::pin!(watch_objects::<Node>(Api::all(client.clone()), config).applied_objects());
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            node = objects.next() => match node {
                Some(Ok(node)) => if let Some(cidr) = node.readable().and_then(cidr_of) {
                    return parse(cidr);
                },
                Some(Err(error)) => tracing::warn!(%error, "waiting for the node's pod CIDR"),
                None => return Ok(None),
            },
        }
    }
}

/// Sets the pod network up. A machine without an address of its own uses the first of its pod range.
async fn set_up_network(
    config: &AgentConfig,
    pod_cidr: ipnet::Ipv4Net,
    node_ip: Option<Ipv4Addr>,
) -> Result<(PodNetwork, Ipv4Addr), AgentError> {
    let first = Ipv4Addr::from(u32::from(pod_cidr.network()).wrapping_add(1));
    let node_ip = node_ip.unwrap_or(first);
    let network = NodeNetwork {
        pod_cidr,
        cluster_cidr: config.cluster_cidr,
        service_cidr: config.service_cidr,
        node_ip,
    };
    Ok((PodNetwork::setup(network, &config.run_dir).await?, node_ip))
}

/// Reports the node as ready; tries again until the API takes it.
async fn report_ready(registration: &mut Registration, shutdown: &CancellationToken) {
    let mut pause = Duration::from_millis(50);
    while let Err(error) = registration.report(&Readiness::Ready).await {
        tracing::warn!(%error, "reporting the node as ready, will try again");
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}
