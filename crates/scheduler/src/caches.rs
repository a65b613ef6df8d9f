//! What is followed in the API, and how it gets into the [`Cluster`].

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController, Service,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use skiff_informer::{Cache, ObjectKey, Queue, Vitals};
use skiff_machinery::selector::LabelSelector;
use skiff_volumes::{Claim, Volume};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::configuration::Configuration;
use crate::model::{Budget, Labels, NodeInfo, OwnerKind, Pending, PodInfo};
use crate::storage::{self, Attachment, Capacity, Class, Driver, Limits};

/// Pods, and what decisions look at but for volumes.
#[derive(Default)]
pub(crate) struct Caches {
    pub pods: Cache<PodInfo>,
    nodes: Cache<NodeInfo>,
    namespaces: Cache<Labels>,
    budgets: Cache<Budget>,
    /// What tells which pods belong together; only followed if a profile spreads such pods.
    services: Cache<Labels>,
    controllers: Cache<LabelSelector>,
    replica_sets: Cache<LabelSelector>,
    stateful_sets: Cache<LabelSelector>,
}

/// Claims, volumes, and who makes them.
#[derive(Default)]
pub(crate) struct StorageCaches {
    claims: Cache<Claim>,
    volumes: Cache<Volume>,
    classes: Cache<Class>,
    drivers: Cache<Driver>,
    capacities: Cache<Capacity>,
    limits: Cache<Limits>,
    attachments: Cache<Attachment>,
}

/// Follows what an owner of pods selects.
macro_rules! watch_selectors {
    ($cache:expr, $kind:ty, $client:expr, $shutdown:expr) => {
        $cache.watch::<$kind>(Api::all($client.clone()), watcher::Config::default(), $shutdown, |owner| {
            LabelSelector::try_from(&owner.spec?.selector).ok()
        })
    };
}

impl Caches {
    /// Lets `vitals` tell of the caches; of owners if a profile `spreads` their pods.
    pub(crate) fn tell(&self, vitals: &Vitals, spreads: bool) {
        vitals.cache("pods", &self.pods);
        vitals.cache("nodes", &self.nodes);
        vitals.cache("namespaces", &self.namespaces);
        vitals.cache("poddisruptionbudgets", &self.budgets);
        if spreads {
            vitals.cache("services", &self.services);
            vitals.cache("replicationcontrollers", &self.controllers);
            vitals.cache("replicasets", &self.replica_sets);
            vitals.cache("statefulsets", &self.stateful_sets);
        }
    }

    pub(crate) async fn synced(&self, spreads: bool) {
        tokio::join!(
            self.nodes.synced(),
            self.pods.synced(),
            self.namespaces.synced(),
            self.budgets.synced()
        );
        if spreads {
            tokio::join!(
                self.services.synced(),
                self.controllers.synced(),
                self.replica_sets.synced(),
                self.stateful_sets.synced()
            );
        }
    }

    pub(crate) fn watch(
        &self,
        client: &Client,
        configuration: Arc<Configuration>,
        shutdown: &CancellationToken,
    ) {
        let all = watcher::Config::default;
        self.nodes.watch::<Node>(Api::all(client.clone()), all(), shutdown, |node| Some(NodeInfo::of(&node)));
        self.namespaces.watch::<Namespace>(Api::all(client.clone()), all(), shutdown, |namespace| {
            Some(namespace.labels().clone())
        });
        self.budgets.watch::<PodDisruptionBudget>(Api::all(client.clone()), all(), shutdown, |budget| {
            Some(Budget::of(&budget))
        });
        self.pods.watch::<Pod>(Api::all(client.clone()), all(), shutdown, move |pod| {
            PodInfo::of(&pod, &configuration)
        });
    }

    pub(crate) fn watch_owners(&self, client: &Client, shutdown: &CancellationToken) {
        let all = watcher::Config::default();
        self.services.watch::<Service>(Api::all(client.clone()), all, shutdown, |service| {
            service.spec?.selector.filter(|selector| !selector.is_empty())
        });
        self.controllers.watch::<ReplicationController>(
            Api::all(client.clone()),
            watcher::Config::default(),
            shutdown,
            |owner| Some(LabelSelector::all_of(owner.spec?.selector?)),
        );
        watch_selectors!(self.replica_sets, ReplicaSet, client, shutdown);
        watch_selectors!(self.stateful_sets, StatefulSet, client, shutdown);
    }

    /// Takes what pods belong together into `cluster`.
    fn subscribe_owners(&self, cluster: &Arc<Mutex<Cluster>>) {
        self.services.subscribe({
            let cluster = cluster.clone();
            move |change| cluster.lock().set_service(change.key, change.new.map(|selector| &**selector))
        });
        let owners = [
            (OwnerKind::ReplicationController, &self.controllers),
            (OwnerKind::ReplicaSet, &self.replica_sets),
            (OwnerKind::StatefulSet, &self.stateful_sets),
        ];
        for (kind, cache) in owners {
            let cluster = cluster.clone();
            cache.subscribe(move |change| {
                cluster.lock().set_owner(kind, change.key, change.new.map(|selector| &**selector));
            });
        }
    }

    /// Takes what changes into `cluster`, and asks for decisions about pods that it could help; `changed` is told of each end of a
    /// pod.
    pub(crate) fn subscribe(
        &self,
        cluster: &Arc<Mutex<Cluster>>,
        queue: &Queue<ObjectKey>,
        changed: &Arc<Notify>,
    ) {
        self.subscribe_owners(cluster);
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
            let (cluster, queue, changed) = (cluster.clone(), queue.clone(), changed.clone());
            move |change| {
                let mut cluster = cluster.lock();
                ask(cluster.set_pod(change.key, change.new));
                if change.new.is_none() {
                    changed.notify_waiters();
                }
                if let Some(pod) = change.new.filter(|pod| asks_anew(change.old, pod)) {
                    cluster.ask(change.key, pod.priority);
                    queue.add(change.key.clone());
                }
            }
        });
    }
}

impl StorageCaches {
    pub(crate) fn tell(&self, vitals: &Vitals) {
        vitals.cache("persistentvolumeclaims", &self.claims);
        vitals.cache("persistentvolumes", &self.volumes);
        vitals.cache("storageclasses", &self.classes);
        vitals.cache("csidrivers", &self.drivers);
        vitals.cache("csistoragecapacities", &self.capacities);
        vitals.cache("csinodes", &self.limits);
        vitals.cache("volumeattachments", &self.attachments);
    }

    pub(crate) async fn synced(&self) {
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

    pub(crate) fn watch(&self, client: &Client, shutdown: &CancellationToken) {
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
    pub(crate) fn subscribe(
        &self,
        cluster: &Arc<Mutex<Cluster>>,
        queue: &Queue<ObjectKey>,
        changed: &Arc<Notify>,
    ) {
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
