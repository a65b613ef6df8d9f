//! Keeps the kernel's table in step with the API.

use std::time::Duration;

use kube::Client;
use tokio::{sync::watch, task::spawn_blocking, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    ProxyConfig,
    kernel::{self, Kernel, KernelError, Ranges},
    ledger::{Batch, Ledger},
    view::{Changes, View},
};

/// Pauses between attempts after the kernel refused a batch.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How the proxy is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The table holds everything the API said when it was listed first, and later changes up to `updated`.
    pub synced: bool,
    /// When the kernel last accepted a batch.
    pub updated: Option<Instant>,
    /// Why the last batch was not accepted; it is tried again.
    pub failing: Option<String>,
}

/// The proxy cannot work. Refused batches are no such error: they are tried again and reported as [`Health`].
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The kernel does not give us a table. Its nftables and connection tracking are needed.
    #[error("cannot use the kernel's packet filter (nf_tables with NAT); load or build in its modules")]
    Kernel(#[from] KernelError),
    /// The thread that talks to the kernel ended.
    #[error("the kernel's executor stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

/// Serves Services on this node until `shutdown`; the table stays then, so that connections go on. Must be called in the
/// node's network namespace. Nothing is changed before the node has its pod CIDR and Services and EndpointSlices were
/// listed.
pub async fn run(client: Client, config: ProxyConfig, shutdown: CancellationToken) -> Result<(), ProxyError> {
    let (health, _nobody_looks) = watch::channel(Health::default());
    run_reporting(client, config, health, shutdown).await
}

/// As [`run`], and tells how it is doing.
pub async fn run_reporting(
    client: Client,
    config: ProxyConfig,
    health: watch::Sender<Health>,
    shutdown: CancellationToken,
) -> Result<(), ProxyError> {
    warn_of_droppers().await?;
    let view = View::watch(&client, &config, &shutdown);
    let serve = serve(&view, &config, &health);
    shutdown.run_until_cancelled(serve).await.unwrap_or(Ok(()))
}

/// Removes our table from the current network namespace; its absence is no error.
pub async fn teardown() -> Result<(), ProxyError> {
    Ok(spawn_blocking(kernel::teardown).await??)
}

/// Other programs' firewalls may stop the traffic of pods; the reason would be hard to find.
async fn warn_of_droppers() -> Result<(), ProxyError> {
    for chain in spawn_blocking(kernel::forward_droppers).await?? {
        tracing::warn!(
            chain,
            "another packet filter drops forwarded packets by default, traffic of pods too unless it accepts \
             interfaces skiff-*; with Docker: iptables -I DOCKER-USER -i skiff-+ -j ACCEPT, and the same with -o"
        );
    }
    Ok(())
}

async fn serve(view: &View, config: &ProxyConfig, health: &watch::Sender<Health>) -> Result<(), ProxyError> {
    let ranges =
        |pod_cidr| Ranges { pod_cidr, cluster_cidr: config.cluster_cidr, service_cidr: config.service_cidr };
    let mut pod_cidr = view.pod_cidr().await;
    let mut executor = Executor::open(ranges(pod_cidr)).await?;
    view.synced().await;
    let (mut pause, mut sweep) = (FIRST_PAUSE, true);
    loop {
        let changes = view.take_changes();
        if changes.all {
            let now = view.pod_cidr().await;
            if now != pod_cidr {
                pod_cidr = now;
                executor.reopen(ranges(pod_cidr)).await?;
                sweep = true;
            }
        }
        if sweep || !changes.is_empty() {
            if let Err(error) = executor.apply(changes, sweep, view).await? {
                let error = describe(&error);
                tracing::warn!(error, ?pause, "Services not up to date, trying again");
                health.send_modify(|health| health.failing = Some(error));
                tokio::time::sleep(pause).await; // the kernel tells nobody when it would accept more
                (pause, sweep) = ((pause * 2).min(LONGEST_PAUSE), true);
                executor.reread().await?;
                continue;
            }
            (pause, sweep) = (FIRST_PAUSE, false);
            health.send_replace(Health { synced: true, updated: Some(Instant::now()), failing: None });
        }
        view.changed().await;
    }
}

fn describe(error: &KernelError) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// The ledger and the kernel it is about. Calls into the kernel block, so they run on a thread for that.
struct Executor {
    kernel: Option<Kernel>,
    ledger: Ledger,
}

impl Executor {
    async fn open(ranges: Ranges) -> Result<Self, ProxyError> {
        let mut executor = Self { kernel: None, ledger: Ledger::default() };
        executor.reopen(ranges).await?;
        Ok(executor)
    }

    /// Goes on with other ranges; the table is replaced with the next, whole, batch.
    async fn reopen(&mut self, ranges: Ranges) -> Result<(), ProxyError> {
        let (kernel, elements) = spawn_blocking(move || Kernel::open(ranges)).await??;
        self.kernel = Some(kernel);
        self.ledger.adopt(elements);
        Ok(())
    }

    /// Brings the kernel in step with `changes`; with `sweep`, as a whole. The inner error can be retried, as a whole, after
    /// [`Executor::reread`].
    async fn apply(
        &mut self,
        changes: Changes,
        sweep: bool,
        view: &View,
    ) -> Result<Result<(), KernelError>, ProxyError> {
        let (node, mut names) = (view.node(), changes.services);
        if sweep || changes.all {
            names.extend(self.ledger.services().cloned());
        }
        let batch = self.ledger.prepare(names, sweep, |name| view.table(name, &node));
        if batch.ops.is_empty() && !sweep {
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

    async fn reread(&mut self) -> Result<(), ProxyError> {
        let elements = self.blocking(Kernel::read).await??;
        self.ledger.adopt(elements);
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
