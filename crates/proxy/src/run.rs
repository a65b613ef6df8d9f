//! Keeps the kernel's table in step with the API.

use std::{collections::BTreeSet, io, time::Duration};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use skiff_errors::error_text;
use skiff_informer::{EventType, Recorder};
use tokio::{sync::watch, task::spawn_blocking, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    ProxyConfig,
    checks::HealthChecks,
    guard::{Guard, Loss, until},
    kernel::{self, Kernel, KernelError, Ranges, TableWatch},
    ledger::{Batch, Ledger},
    model::{Owner, ServiceName},
    view::{Changes, View},
};

/// Pauses between attempts after the kernel refused a batch.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a shared chain may be left without use; it may be needed again at once.
const LINGER: Duration = Duration::from_secs(1);

/// How the proxy is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The table holds everything the API said when it was listed first, and later changes up to `updated`.
    pub synced: bool,
    /// When the kernel last accepted a batch.
    pub updated: Option<Instant>,
    /// Why the table is not as it should be: the last batch was not accepted and is tried again, or another program changed
    /// the table and it is being restored.
    pub failing: Option<String>,
}

/// The proxy cannot work. Refused batches are no such error: they are tried again and reported as [`Health`].
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The kernel does not give us a table. Its nftables and connection tracking are needed.
    #[error("cannot use the kernel's packet filter (nf_tables with NAT); load or build in its modules")]
    Kernel(#[from] KernelError),
    /// Changes that other programs make to the table cannot be heard of.
    #[error("cannot listen to the kernel's notifications of packet filter changes")]
    Notifications(#[source] io::Error),
    /// The thread that talks to the kernel ended.
    #[error("the kernel's executor stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

/// Serves Services, and the ports of the node that its pods have, until `shutdown`; the table stays then, so that connections go on. Must be called in the
/// node's network namespace. Nothing is changed before the node has its pod CIDR and Services, EndpointSlices and
/// pods were listed.
pub async fn run(client: Client, config: ProxyConfig, shutdown: CancellationToken) -> Result<(), ProxyError> {
    let (health, _nobody_looks) = watch::channel(Health::default());
    run_reporting(client, config, health, shutdown).await
}

/// As [`run`], and tells how it is doing.
pub fn run_reporting(
    client: Client,
    config: ProxyConfig,
    health: watch::Sender<Health>,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), ProxyError>> {
    Box::pin(keep_serving(client, config, health, shutdown))
}

async fn keep_serving(
    client: Client,
    config: ProxyConfig,
    health: watch::Sender<Health>,
    shutdown: CancellationToken,
) -> Result<(), ProxyError> {
    let view = View::watch(&client, &config, &shutdown);
    let events = Recorder::start(client, "kube-proxy", &config.node_name);
    let report = |text: String| {
        tracing::warn!("{text}");
        events.event(node_reference(&config), EventType::Warning, "ServiceTableRestored", text);
    };
    let unheard = |name: &ServiceName, text: String| {
        tracing::warn!(of = %name, "{text}");
        events.event(service_reference(name), EventType::Warning, "FailedToStartServiceHealthcheck", text);
    };
    let reports = Reports { restored: &report, unheard: &unheard };
    let serve = serve(&view, &config, &health, &reports);
    shutdown.run_until_cancelled(serve).await.unwrap_or(Ok(()))
}

/// The node as events refer to it: by name, as the kubelet does.
fn node_reference(config: &ProxyConfig) -> ObjectReference {
    ObjectReference {
        kind: Some("Node".into()),
        name: Some(config.node_name.clone()),
        uid: Some(config.node_name.clone()),
        ..ObjectReference::default()
    }
}

/// A Service as kube-proxy's events refer to it.
fn service_reference(name: &ServiceName) -> ObjectReference {
    ObjectReference {
        kind: Some("Service".into()),
        namespace: Some(name.namespace.to_string()),
        name: Some(name.name.to_string()),
        uid: Some(name.to_string()),
        ..ObjectReference::default()
    }
}

/// Who is told of what is not as it should be.
struct Reports<'a> {
    /// The table had to be restored.
    restored: &'a (dyn Fn(String) + Sync),
    /// Load balancers are told nothing of this Service.
    unheard: &'a (dyn Fn(&ServiceName, String) + Sync),
}

/// Removes our table from the current network namespace; its absence is no error.
pub async fn teardown() -> Result<(), ProxyError> {
    Ok(spawn_blocking(kernel::teardown).await??)
}

/// What the kernel has of the table in the current network namespace, elements apart, and how many frontends it serves: a
/// few requests to the kernel, and a list of the frontends. Whether each element is as the API says, the running proxy
/// knows and tells as [`Health`].
pub fn examine() -> Result<(kernel::State, usize), ProxyError> {
    Ok(kernel::examine()?)
}

/// Keeps the table in step with `view`, and load balancers informed.
async fn serve(
    view: &View,
    config: &ProxyConfig,
    health: &watch::Sender<Health>,
    reports: &Reports<'_>,
) -> Result<(), ProxyError> {
    let ranges =
        |pod_cidr| Ranges { pod_cidr, cluster_cidr: config.cluster_cidr, service_cidr: config.service_cidr };
    let mut pod_cidr = view.pod_cidr().await;
    let mut executor = Executor::open(ranges(pod_cidr)).await?;
    let mut watch = executor.watch().await?;
    view.synced().await;
    let mut checks = HealthChecks::new(config.node_ips.clone(), health.subscribe());
    let (mut changes, mut whole) = (Changes::default(), true);
    let (mut pause, mut guard, mut tidy_at) = (FIRST_PAUSE, Guard::default(), None);
    loop {
        changes.add(view.take_changes());
        let mut our_doing = false;
        if changes.all {
            let now = view.pod_cidr().await;
            if now != pod_cidr {
                pod_cidr = now;
                executor.set_ranges(ranges(pod_cidr));
                (whole, our_doing) = (true, true);
            }
        }
        whole |= guard.is_due(Instant::now());
        if whole || !changes.is_empty() {
            let found = |loss| {
                if !our_doing {
                    guard.found(loss)
                }
            };
            if let Err(error) = executor.bring_in_step(&changes, whole, view, found).await? {
                let error = error_text(&error);
                tracing::warn!(error, ?pause, "Services not up to date, trying again");
                health.send_modify(|health| health.failing = Some(error));
                tokio::time::sleep(pause).await; // the kernel tells nobody when it would accept more
                (pause, whole) = ((pause * 2).min(LONGEST_PAUSE), true);
                continue;
            }
            inform(&mut checks, &changes, view, config, reports);
            (pause, whole, changes) = (FIRST_PAUSE, false, Changes::default());
            let failing = guard.threat();
            health.send_replace(Health { synced: true, updated: Some(Instant::now()), failing });
            guard.restored().into_iter().for_each(reports.restored);
            tidy_at = tidy_at.or(executor.is_untidy().then(|| Instant::now() + LINGER));
        }
        tokio::select! {
            () = view.changed() => {}
            () = guard.due() => {}
            () = until(tidy_at) => {
                tidy_at = None;
                executor.tidy().await?;
            }
            touched = watch.touched() => {
                guard.touched(touched.map_err(ProxyError::Notifications)?, Instant::now());
                health.send_modify(|health| health.failing = guard.threat());
            }
        }
    }
}

/// Has load balancers told what is true after `changes`. A port that is taken is tried again when its Service changes.
fn inform(
    checks: &mut HealthChecks,
    changes: &Changes,
    view: &View,
    config: &ProxyConfig,
    reports: &Reports<'_>,
) {
    let mut names: BTreeSet<ServiceName> = BTreeSet::new();
    names.extend(changes.owners.iter().filter_map(|owner| match owner {
        Owner::Service(name) => Some(name.clone()),
        Owner::Pod(_) => None,
    }));
    if changes.all {
        names.extend(checks.names().cloned());
    }
    for name in names {
        let wanted = view.check(&name);
        if let (Err(error), Some(check)) = (checks.set(&name, wanted), wanted) {
            let (node, port) = (&config.node_name, check.port);
            let text = format!(
                "node {node} failed to start healthcheck {:?} on port {port}: {error}",
                name.to_string()
            );
            (reports.unheard)(&name, text);
        }
    }
}

/// The ledger and the kernel it is about. Calls into the kernel block, so they run on a thread for that.
struct Executor {
    kernel: Option<Kernel>,
    ledger: Ledger,
}

impl Executor {
    async fn open(ranges: Ranges) -> Result<Self, ProxyError> {
        let (kernel, elements) = spawn_blocking(move || Kernel::open(ranges)).await??;
        let mut ledger = Ledger::default();
        ledger.adopt(elements);
        Ok(Self { kernel: Some(kernel), ledger })
    }

    /// Hears of changes that are not ours from now on.
    async fn watch(&mut self) -> Result<TableWatch, ProxyError> {
        let port = self.blocking(|kernel| kernel.port()).await??;
        TableWatch::open(port).map_err(ProxyError::Notifications)
    }

    /// Goes on with other ranges; the table is replaced with the next whole batch.
    fn set_ranges(&mut self, ranges: Ranges) {
        if let Some(kernel) = &mut self.kernel {
            kernel.set_ranges(ranges);
        }
    }

    /// Brings the kernel in step with `changes`; with `whole`, reads back what it holds, tells `found` what it has lost, and
    /// leaves nothing else there. The inner error can be tried again, as a whole.
    async fn bring_in_step(
        &mut self,
        changes: &Changes,
        whole: bool,
        view: &View,
        found: impl FnOnce(Loss),
    ) -> Result<Result<(), KernelError>, ProxyError> {
        let (node, mut names) = (view.node(), changes.owners.clone());
        if whole {
            match self.reread().await? {
                Ok(loss) => found(loss),
                Err(error) => return Ok(Err(error)),
            }
        }
        if whole || changes.all {
            names.extend(self.ledger.owners().cloned());
        }
        let batch = self.ledger.prepare(names, whole, |name| view.table(name, &node));
        if batch.ops.is_empty() && !whole {
            self.ledger.commit(batch);
            return Ok(Ok(()));
        }
        let result = self
            .blocking(move |kernel| {
                let result = kernel.apply(&batch.ops);
                (batch, result)
            })
            .await?;
        let (batch, result): (Batch, _) = result;
        if result.is_ok() {
            self.ledger.commit(batch);
        }
        Ok(result)
    }

    /// Reads what the kernel holds, and tells what it has lost.
    async fn reread(&mut self) -> Result<Result<Loss, KernelError>, ProxyError> {
        let read = |kernel: &mut Kernel| kernel.read().map(|elements| (kernel.state().clone(), elements));
        let read = self.blocking(read).await?;
        Ok(read.map(|(state, elements)| Loss { state, elements: self.ledger.adopt(elements) }))
    }

    fn is_untidy(&self) -> bool {
        self.kernel.as_ref().is_some_and(Kernel::is_untidy)
    }

    /// Removes chains without use. A failure leaves them until some more have gone out of use.
    async fn tidy(&mut self) -> Result<(), ProxyError> {
        if let Err(error) = self.blocking(Kernel::tidy).await? {
            tracing::warn!(
                error = error_text(&error),
                "chains without use are left in the table of Services"
            );
        }
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Kernel) -> T + Send + 'static,
    ) -> Result<T, ProxyError> {
        let mut kernel = match self.kernel.take() {
            Some(kernel) => kernel,
            None => unreachable!("the kernel is put back after every call, and a failed call ends the proxy"),
        };
        let (kernel, result) = spawn_blocking(move || {
            let result = work(&mut kernel);
            (kernel, result)
        })
        .await?;
        self.kernel = Some(kernel);
        Ok(result)
    }
}
