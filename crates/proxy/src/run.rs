//! Keeps the kernel's table in step with the API.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{
    core::v1::{Node, Service as ApiService},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, runtime::watcher};
use parking_lot::Mutex;
use skiff_informer::{Cache, ObjectKey};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    ProxyConfig,
    kernel::{Kernel, KernelError},
    ledger::{Batch, Ledger},
    model::ServiceName,
    objects::{Service, Slice},
    select::Location,
    table::{NodeView, ServiceTable, service_table},
};

/// Pauses between attempts after the kernel refused a batch.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

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

/// The proxy cannot start. Later failures are retried and reported as [`Health`].
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The kernel does not give us a table.
    #[error("cannot read the table of Services")]
    Kernel(#[from] KernelError),
    /// The thread that talks to the kernel ended.
    #[error("the kernel's executor stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

/// Serves Services on this node until `shutdown`; the table stays then, so that connections go on. Must be called in the
/// node's network namespace. Nothing is changed before Services and EndpointSlices were listed.
pub async fn run(
    client: Client,
    config: ProxyConfig,
    health: watch::Sender<Health>,
    shutdown: CancellationToken,
) -> Result<(), ProxyError> {
    let view = View::watch(&client, &config, &shutdown);
    let mut executor = Executor::open(config).await?;
    tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        () = async { tokio::join!(view.services.synced(), view.slices.synced()); } => {}
    }
    let mut pause = FIRST_PAUSE;
    let mut sweep = true;
    loop {
        let changes = view.dirty.take();
        if sweep || !changes.is_empty() {
            match executor.apply(changes, sweep, &view).await? {
                Ok(()) => {
                    (pause, sweep) = (FIRST_PAUSE, false);
                    let updated = Some(Instant::now());
                    health.send_replace(Health { synced: true, updated, failing: None });
                }
                Err(error) => {
                    tracing::warn!(error = describe(&error), ?pause, "Services not up to date, trying again");
                    health.send_modify(|health| health.failing = Some(describe(&error)));
                    sweep = true;
                    if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        return Ok(());
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    executor.reread().await?;
                    continue;
                }
            }
        }
        if shutdown.run_until_cancelled(view.dirty.changed.notified()).await.is_none() {
            return Ok(());
        }
    }
}

fn describe(error: &KernelError) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// What the API says, kept current.
struct View {
    services: Cache<Service>,
    slices: Cache<Slice>,
    slices_of: Arc<SlicesOf>,
    zone: Arc<Mutex<Option<Box<str>>>>,
    dirty: Arc<Dirty>,
    config: ProxyConfig,
}

type SlicesOf = Mutex<HashMap<ServiceName, Vec<(ObjectKey, Arc<Slice>)>>>;

/// Services to look at again.
#[derive(Debug, Default)]
struct Changes {
    services: BTreeSet<ServiceName>,
    /// The node itself changed, which may concern all of them.
    all: bool,
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.services.is_empty() && !self.all
    }
}

/// Collects changes until they are taken.
#[derive(Default)]
struct Dirty {
    pending: Mutex<Changes>,
    changed: Notify,
}

impl Dirty {
    fn add(&self, name: ServiceName) {
        self.pending.lock().services.insert(name);
        self.changed.notify_one();
    }

    fn add_all(&self) {
        self.pending.lock().all = true;
        self.changed.notify_one();
    }

    fn take(&self) -> Changes {
        std::mem::take(&mut self.pending.lock())
    }
}

impl View {
    fn watch(client: &Client, config: &ProxyConfig, shutdown: &CancellationToken) -> Self {
        let dirty = Arc::new(Dirty::default());
        let view = Self {
            services: Cache::new(),
            slices: Cache::new(),
            slices_of: Arc::default(),
            zone: Arc::default(),
            dirty: dirty.clone(),
            config: config.clone(),
        };
        let changed = dirty.clone();
        view.services.subscribe(move |change| changed.add(name_of(change.key)));
        let (slices_of, changed) = (view.slices_of.clone(), dirty.clone());
        view.slices.subscribe(move |change| {
            if let Some(old) = change.old {
                forget_slice(&slices_of, change.key, old);
                changed.add(old.service.clone());
            }
            if let Some(new) = change.new {
                slices_of
                    .lock()
                    .entry(new.service.clone())
                    .or_default()
                    .push((change.key.clone(), new.clone()));
                changed.add(new.service.clone());
            }
        });
        let all = watcher::Config::default();
        let node: Arc<str> = config.node_name.as_str().into();
        let services = Api::<ApiService>::all(client.clone());
        view.services.watch(services, all.clone(), shutdown, |service| Service::from_api(&service));
        let slices = Api::<EndpointSlice>::all(client.clone());
        view.slices.watch(slices, all.clone(), shutdown, move |slice| Slice::from_api(&slice, &node));
        view.watch_zone(client, all, shutdown);
        view
    }

    /// Follows the zone label of our own node; when it changes, every Service may choose other endpoints.
    fn watch_zone(&self, client: &Client, all: watcher::Config, shutdown: &CancellationToken) {
        let nodes = Cache::<Option<Box<str>>>::new();
        let (zone, dirty) = (self.zone.clone(), self.dirty.clone());
        nodes.subscribe(move |change| {
            let new = change.new.and_then(|new| Option::clone(new));
            if std::mem::replace(&mut *zone.lock(), new.clone()) != new {
                dirty.add_all();
            }
        });
        let own = all.fields(&format!("metadata.name={}", self.config.node_name));
        nodes.watch(Api::<Node>::all(client.clone()), own, shutdown, |mut node| {
            let label = node.metadata.labels.as_mut().and_then(|labels| labels.remove(ZONE_LABEL));
            Some(label.map(String::into_boxed_str))
        });
    }

    fn table(&self, name: &ServiceName, node: &NodeView) -> Option<ServiceTable> {
        let service = self.services.get(&ObjectKey::new(&name.namespace, &name.name))?;
        let slices_of = self.slices_of.lock();
        let slices: Vec<&Slice> =
            slices_of.get(name).into_iter().flatten().map(|(_, slice)| &**slice).collect();
        Some(service_table(name, &service, &slices, node))
    }

    fn node(&self) -> NodeView {
        let location =
            Location { node: self.config.node_name.as_str().into(), zone: self.zone.lock().clone() };
        NodeView { location, node_ips: self.config.node_ips.clone() }
    }
}

fn forget_slice(slices_of: &SlicesOf, key: &ObjectKey, slice: &Slice) {
    let mut slices_of = slices_of.lock();
    if let Some(slices) = slices_of.get_mut(&slice.service) {
        slices.retain(|(known, _)| known != key);
        if slices.is_empty() {
            slices_of.remove(&slice.service);
        }
    }
}

fn name_of(key: &ObjectKey) -> ServiceName {
    ServiceName { namespace: key.namespace().into(), name: key.name().into() }
}

/// The ledger and the kernel it is about. Calls into the kernel block, so they run on a thread for that.
struct Executor {
    kernel: Option<Kernel>,
    ledger: Ledger,
}

impl Executor {
    async fn open(config: ProxyConfig) -> Result<Self, ProxyError> {
        let (kernel, elements) = tokio::task::spawn_blocking(move || Kernel::open(config)).await??;
        let mut ledger = Ledger::default();
        ledger.adopt(elements);
        Ok(Self { kernel: Some(kernel), ledger })
    }

    /// Brings the kernel in step with `changes`; with `sweep`, as a whole. The inner error can be retried, as a whole, after
    /// [`Executor::reread`].
    async fn apply(
        &mut self,
        changes: Changes,
        sweep: bool,
        view: &View,
    ) -> Result<Result<(), KernelError>, ProxyError> {
        let node = view.node();
        let mut names = changes.services;
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
        let (kernel, result) = tokio::task::spawn_blocking(move || {
            let result = work(&mut kernel);
            (kernel, result)
        })
        .await?;
        self.kernel = Some(kernel);
        Ok(result)
    }
}
