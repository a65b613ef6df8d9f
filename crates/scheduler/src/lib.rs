//! The scheduler: `(Pod, Nodes) → Decision` as a pure function, and the loop that writes Bindings.
//!
//! Four facts shape this crate:
//!
//! * A decision counts at once, before it is written, so pods are decided one after the other, the most important first, without
//!   waiting for the API.
//! * The rules (`rules/`) are the filters of Kubernetes' scheduling framework in its order and words, the scores (`scores.rs`)
//!   those of its default plugins with their weights. What a rule needs to know of all nodes is gathered once for each pod, and only
//!   for pods that have such a rule.
//! * A pod that fits nowhere waits for a change that could help it by the rules that refused it, never for a timer.
//! * A pod for which others make room (`preempt.rs`) is counted on its node, for pods less important than it, until it is there.

mod act;
mod affinity;
mod cluster;
mod model;
mod nodes;
mod picture;
mod preempt;
mod rules;
mod schedule;
mod scores;
mod storage;
mod taints;
#[cfg(test)]
mod tests;
mod volumes;
mod waiting;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use skiff_informer::{Cache, Next, ObjectKey, Queue, Recorder, Vitals};
use skiff_volumes::{Claim, Volume};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use affinity::required as node_affinity_matches;
pub use taints::tolerated;

use act::{Error, Hand};
use cluster::{Cluster, Decided};
use model::{Budget, Labels, NodeInfo, Pending, PodInfo};
use storage::{Attachment, Capacity, Class, Driver, Limits, Reserved};
use volumes::{Outcome, VolumeHand};

/// Decisions written at once.
const WORKERS: usize = 32;

/// What is followed in the API.
#[derive(Default)]
struct Caches {
    pods: Cache<PodInfo>,
    nodes: Cache<NodeInfo>,
    namespaces: Cache<Labels>,
    budgets: Cache<Budget>,
    storage: StorageCaches,
}

/// What is followed of claims, volumes, and who makes them.
#[derive(Default)]
struct StorageCaches {
    claims: Cache<Claim>,
    volumes: Cache<Volume>,
    classes: Cache<Class>,
    drivers: Cache<Driver>,
    capacities: Cache<Capacity>,
    limits: Cache<Limits>,
    attachments: Cache<Attachment>,
}

struct Scheduler {
    pods: Cache<PodInfo>,
    cluster: Arc<Mutex<Cluster>>,
    /// Each key asks for one decision, about whoever is next.
    queue: Queue<ObjectKey>,
    hand: Hand,
    volumes: VolumeHand,
    shutdown: CancellationToken,
}

/// Schedules pods of `default-scheduler` until `shutdown`. `client` acts as `system:kube-scheduler`; `vitals` tells how the
/// scheduler is.
pub async fn run(client: Client, vitals: Vitals, shutdown: CancellationToken) {
    let caches = Caches::default();
    vitals.cache("pods", &caches.pods);
    vitals.cache("nodes", &caches.nodes);
    vitals.cache("namespaces", &caches.namespaces);
    vitals.cache("poddisruptionbudgets", &caches.budgets);
    caches.storage.watch_over(&vitals);
    let (cluster, queue) = (Arc::new(Mutex::new(Cluster::default())), vitals.queue::<ObjectKey>("binding"));
    let changed = Arc::new(Notify::new());
    caches.subscribe(&cluster, &queue);
    caches.storage.subscribe(&cluster, &queue, &changed);
    caches.pods.subscribe({
        let changed = changed.clone();
        move |change| {
            if change.new.is_none() {
                changed.notify_waiters();
            }
        }
    });
    caches.watch(&client, &shutdown);
    caches.storage.watch(&client, &shutdown);
    let hand = Hand::new(client.clone(), Recorder::start(client.clone(), model::SCHEDULER_NAME, ""));
    let volumes = VolumeHand::new(client, cluster.clone(), caches.pods.clone(), changed);
    let scheduler = Arc::new(Scheduler {
        pods: caches.pods.clone(),
        cluster,
        queue: queue.clone(),
        hand,
        volumes,
        shutdown: shutdown.clone(),
    });
    let scheduling = async {
        tokio::join!(
            caches.nodes.synced(),
            caches.pods.synced(),
            caches.namespaces.synced(),
            caches.budgets.synced(),
            caches.storage.synced()
        );
        queue.run(WORKERS, &shutdown, |token| scheduler.work(token)).await;
    };
    shutdown.run_until_cancelled(scheduling).await;
}

impl Caches {
    fn watch(&self, client: &Client, shutdown: &CancellationToken) {
        let all = watcher::Config::default;
        self.nodes.watch::<Node>(Api::all(client.clone()), all(), shutdown, |node| Some(NodeInfo::of(&node)));
        self.namespaces.watch::<Namespace>(Api::all(client.clone()), all(), shutdown, |namespace| {
            Some(namespace.labels().clone())
        });
        self.budgets.watch::<PodDisruptionBudget>(Api::all(client.clone()), all(), shutdown, |budget| {
            Some(Budget::of(&budget))
        });
        self.pods.watch::<Pod>(Api::all(client.clone()), all(), shutdown, |pod| PodInfo::of(&pod));
    }

    /// Takes what changes into `cluster`, and asks for decisions about pods that it could help.
    fn subscribe(&self, cluster: &Arc<Mutex<Cluster>>, queue: &Queue<ObjectKey>) {
        let ask = {
            let queue = queue.clone();
            move |pods: Vec<ObjectKey>| pods.into_iter().for_each(|pod| queue.add(pod))
        };
        self.nodes.subscribe({
            let (cluster, ask) = (cluster.clone(), ask.clone());
            move |change| {
                ask(match change.new {
                    Some(node) => cluster.lock().set_node(node),
                    None => cluster.lock().remove_node(change.key.name()),
                });
            }
        });
        self.namespaces.subscribe({
            let (cluster, ask) = (cluster.clone(), ask.clone());
            move |change| {
                let labels = change.new.map(|labels| &**labels);
                ask(cluster.lock().set_namespace(change.key.name(), labels));
            }
        });
        self.budgets.subscribe({
            let (cluster, budgets) = (cluster.clone(), self.budgets.clone());
            move |_| cluster.lock().set_budgets(budgets.all())
        });
        self.pods.subscribe({
            let (cluster, queue) = (cluster.clone(), queue.clone());
            move |change| {
                let mut cluster = cluster.lock();
                ask(cluster.set_pod(change.key, change.new));
                if let Some(pod) = change.new.filter(|pod| asks_anew(change.old, pod)) {
                    cluster.ask(change.key, pod.priority);
                    queue.add(change.key.clone());
                }
            }
        });
    }
}

impl StorageCaches {
    fn watch_over(&self, vitals: &Vitals) {
        vitals.cache("persistentvolumeclaims", &self.claims);
        vitals.cache("persistentvolumes", &self.volumes);
        vitals.cache("storageclasses", &self.classes);
        vitals.cache("csidrivers", &self.drivers);
        vitals.cache("csistoragecapacities", &self.capacities);
        vitals.cache("csinodes", &self.limits);
        vitals.cache("volumeattachments", &self.attachments);
    }

    async fn synced(&self) {
        tokio::join!(
            self.claims.synced(),
            self.volumes.synced(),
            self.classes.synced(),
            self.drivers.synced(),
            self.capacities.synced(),
            self.limits.synced(),
            self.attachments.synced()
        );
    }

    fn watch(&self, client: &Client, shutdown: &CancellationToken) {
        let all = watcher::Config::default;
        let client = || client.clone();
        self.claims.watch::<PersistentVolumeClaim>(Api::all(client()), all(), shutdown, |claim| {
            Some(Claim::of(&claim))
        });
        self.volumes.watch::<PersistentVolume>(Api::all(client()), all(), shutdown, |volume| {
            Some(Volume::of(&volume))
        });
        self.classes
            .watch::<StorageClass>(Api::all(client()), all(), shutdown, |class| Some(Class::of(&class)));
        self.drivers
            .watch::<CSIDriver>(Api::all(client()), all(), shutdown, |driver| Some(Driver::of(&driver)));
        self.capacities.watch::<CSIStorageCapacity>(Api::all(client()), all(), shutdown, |capacity| {
            Some(Capacity::of(&capacity))
        });
        self.limits
            .watch::<CSINode>(Api::all(client()), all(), shutdown, |node| Some(storage::limits(&node)));
        self.attachments.watch::<VolumeAttachment>(Api::all(client()), all(), shutdown, |attachment| {
            Attachment::of(&attachment)
        });
    }

    /// Takes what changes into `cluster`, asks for decisions about pods that it could help, and tells those whose volumes are being
    /// bound.
    fn subscribe(&self, cluster: &Arc<Mutex<Cluster>>, queue: &Queue<ObjectKey>, changed: &Arc<Notify>) {
        /// Follows one cache by a method of the cluster.
        fn follow<T: Send + Sync + 'static>(
            cache: &Cache<T>,
            (cluster, queue): (&Arc<Mutex<Cluster>>, &Queue<ObjectKey>),
            take: impl Fn(&mut Cluster, &ObjectKey, Option<&Arc<T>>) -> Vec<ObjectKey> + Send + Sync + 'static,
        ) {
            let (cluster, queue) = (cluster.clone(), queue.clone());
            cache.subscribe(move |change| {
                let helped = take(&mut cluster.lock(), change.key, change.new);
                helped.into_iter().for_each(|pod| queue.add(pod));
            });
        }
        let (of, tell) = ((cluster, queue), (changed.clone(), changed.clone()));
        follow(&self.claims, of, move |cluster, key, claim| {
            let helped = cluster.set_claim(key, claim);
            tell.0.notify_waiters();
            helped
        });
        follow(&self.volumes, of, move |cluster, key, volume| {
            let helped = cluster.set_volume(key.name(), volume);
            tell.1.notify_waiters();
            helped
        });
        follow(&self.classes, of, |cluster, key, class| cluster.set_class(key.name(), class));
        follow(&self.drivers, of, |cluster, key, driver| cluster.set_driver(key.name(), driver));
        follow(&self.capacities, of, |cluster, key, capacity| cluster.set_capacity(key, capacity));
        follow(&self.limits, of, |cluster, key, limits| cluster.set_limits(key.name(), limits));
        follow(&self.attachments, of, |cluster, key, one| cluster.set_attachment(key.name(), one));
    }
}

/// Whether a pod asks for a decision, and asks for something else than before. What the scheduler writes down at it is no reason
/// to try it again.
fn asks_anew(before: Option<&Arc<PodInfo>>, now: &Arc<PodInfo>) -> bool {
    let asked = |pod: &PodInfo| {
        let pending = pod.pending.as_deref()?;
        let pending = Pending { reported: None, nominated: None, ..pending.clone() };
        Some(PodInfo { pending: Some(Box::new(pending)), ..pod.clone() })
    };
    let now = asked(now);
    now.is_some() && before.and_then(|pod| asked(pod)) != now
}

impl Scheduler {
    /// Decides about the pod that is next, and writes the decision.
    async fn work(self: &Arc<Self>, token: ObjectKey) -> Result<Next, Error> {
        let decided = {
            let mut cluster = self.cluster.lock();
            if let Some(pod) = self.pods.get(&token) {
                cluster.rested(&token, pod.priority);
            }
            let decided = cluster.decide(|key| self.pods.get(key));
            if !cluster.is_idle() {
                self.queue.add(token);
            }
            decided
        };
        match decided {
            Some(decided) => self.write(decided).await,
            None => Ok(Next::Done),
        }
    }

    async fn write(self: &Arc<Self>, decided: Decided) -> Result<Next, Error> {
        let Decided { key, pod, decision, reserved } = decided;
        match (decision, reserved) {
            (schedule::Decision::Bind(node), None) => self.bind(&key, &pod, &node).await,
            // That may take minutes, and nobody else waits for it.
            (schedule::Decision::Bind(node), Some(reserved)) => {
                let (scheduler, shutdown) = (self.clone(), self.shutdown.clone());
                let binding = async move {
                    if scheduler.bind_volumes(&key, &pod, &reserved).await {
                        scheduler.bind(&key, &pod, &node).await;
                    }
                };
                tokio::spawn(async move { shutdown.run_until_cancelled(binding).await });
            }
            (schedule::Decision::Unschedulable(why), _) => {
                if let schedule::Room::Made(preemption) = &why.room {
                    let outranked = self.cluster.lock().outranked(&pod, preemption);
                    self.hand.make_room(&pod, preemption, &outranked).await?;
                }
                self.hand.refuse(&key, &pod, &why).await?;
            }
        }
        Ok(Next::Done)
    }

    async fn bind(&self, key: &ObjectKey, pod: &PodInfo, node: &str) {
        match self.hand.bind(key, pod, node).await {
            Ok(true) => {}
            Ok(false) => self.cluster.lock().forget(key),
            Err(_) => self.rest(key),
        }
    }

    /// Binds the volumes of a pod that was decided about; says whether the pod can be bound now.
    async fn bind_volumes(&self, key: &ObjectKey, pod: &PodInfo, reserved: &Reserved) -> bool {
        let outcome = self.volumes.bind(key, pod, reserved).await;
        if outcome == Outcome::Bound {
            return true;
        }
        self.cluster.lock().release(reserved);
        match outcome {
            Outcome::Failed(why) => {
                self.hand.refuse_volumes(key, pod, &why);
                self.rest(key);
            }
            _ => self.cluster.lock().forget(key),
        }
        false
    }

    /// Takes back a decision that could not be written; it is made anew after a while.
    fn rest(&self, key: &ObjectKey) {
        let rest = self.cluster.lock().failed(key);
        self.queue.add_after(key.clone(), rest);
    }
}
