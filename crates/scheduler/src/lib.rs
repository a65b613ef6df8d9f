//! The scheduler: `(Pod, Nodes) → Decision` as a pure function, and the loop that writes Bindings.
//!
//! Four facts shape this crate:
//!
//! * A decision counts at once, before it is written, so pods are decided one after the other, the most important first, without
//!   waiting for the API.
//! * The rules (`rules/`) are the filters of Kubernetes' scheduling framework in its words, the scores (`scores/`) those of its
//!   plugins; which of them decide about a pod, in which order and with which weights, says its profile (`configuration/`). What a
//!   rule needs to know of all nodes is gathered once for each pod, and only for pods that have such a rule.
//! * A pod that fits nowhere waits for a change that could help it by the rules that refused it, never for a timer.
//! * A pod for which others make room (`preempt.rs`) is counted on its node, for pods less important than it, until it is there.

mod act;
mod affinity;
mod cluster;
mod configuration;
mod model;
mod nodes;
mod picture;
mod preempt;
mod rules;
mod schedule;
mod scores;
#[doc(hidden)]
pub mod simulation;
mod taints;
mod tallies;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_profiles;
mod waiting;

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ReplicationController, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use skiff_informer::{Cache, Next, ObjectKey, Queue, Vitals};
use skiff_machinery::selector::LabelSelector;
use tokio_util::sync::CancellationToken;

pub use affinity::required as node_affinity_matches;
pub use configuration::{Configuration, ConfigurationError};
pub use taints::tolerated;

use act::{Error, Hand};
use cluster::{Cluster, Decided};
use model::{Budget, Labels, NodeInfo, OwnerKind, Pending, PodInfo};

/// Decisions written at once.
const WORKERS: usize = 32;

/// What is followed in the API.
#[derive(Default)]
struct Caches {
    pods: Cache<PodInfo>,
    nodes: Cache<NodeInfo>,
    namespaces: Cache<Labels>,
    budgets: Cache<Budget>,
    /// What tells which pods belong together; only followed if a profile spreads such pods.
    services: Cache<Labels>,
    controllers: Cache<LabelSelector>,
    replica_sets: Cache<LabelSelector>,
    stateful_sets: Cache<LabelSelector>,
}

struct Scheduler {
    pods: Cache<PodInfo>,
    cluster: Arc<Mutex<Cluster>>,
    /// Each key asks for one decision, about whoever is next.
    queue: Queue<ObjectKey>,
    hand: Hand,
}

/// Schedules the pods of the configuration's profiles until `shutdown`. `client` acts as `system:kube-scheduler`; `vitals` tells how
/// the scheduler is.
pub async fn run(client: Client, configuration: Configuration, vitals: Vitals, shutdown: CancellationToken) {
    let caches = Caches::default();
    let spreads = configuration.profiles().any(|profile| profile.spreads());
    caches.tell(&vitals, spreads);
    let cluster = Arc::new(Mutex::new(Cluster::new(configuration.backoff())));
    let queue = vitals.queue::<ObjectKey>("binding");
    let hand = Hand::new(client.clone(), &configuration);
    caches.subscribe(&cluster, &queue);
    caches.watch(&client, Arc::new(configuration), &shutdown);
    if spreads {
        caches.watch_owners(&client, &shutdown);
    }
    let scheduler = Scheduler { pods: caches.pods.clone(), cluster, queue: queue.clone(), hand };
    let scheduling = async {
        caches.synced(spreads).await;
        queue.run(WORKERS, &shutdown, |token| scheduler.work(token)).await;
    };
    shutdown.run_until_cancelled(scheduling).await;
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
    fn tell(&self, vitals: &Vitals, spreads: bool) {
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

    async fn synced(&self, spreads: bool) {
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

    fn watch(&self, client: &Client, configuration: Arc<Configuration>, shutdown: &CancellationToken) {
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

    fn watch_owners(&self, client: &Client, shutdown: &CancellationToken) {
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

    /// Takes what changes into `cluster`, and asks for decisions about pods that it could help.
    fn subscribe(&self, cluster: &Arc<Mutex<Cluster>>, queue: &Queue<ObjectKey>) {
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
    async fn work(&self, token: ObjectKey) -> Result<Next, Error> {
        let decided = {
            let mut cluster = self.cluster.lock();
            if let Some(pod) = self.pods.get(&token) {
                cluster.rested(&token, pod.priority);
            }
            let decided = cluster.decide(|key| self.pods.get(key), Instant::now());
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

    async fn write(&self, decided: Decided) -> Result<Next, Error> {
        let Decided { key, pod, decision } = decided;
        match decision {
            schedule::Decision::Bind(node) => match self.hand.bind(&key, &pod, &node).await {
                Ok(true) => {}
                Ok(false) => self.cluster.lock().forget(&key),
                Err(_) => {
                    let rest = self.cluster.lock().failed(&key);
                    self.queue.add_after(key, rest);
                }
            },
            schedule::Decision::Unschedulable(why) => {
                if let Err(error) = self.refuse(&key, &pod, &why).await {
                    tracing::warn!(pod = %key, error = skiff_errors::error_text(&error), "will try again");
                    let rest = self.cluster.lock().failed(&key);
                    self.queue.add_after(key, rest);
                }
            }
        }
        Ok(Next::Done)
    }

    /// Makes room for a pod if some can be made, and tells why it got no node.
    async fn refuse(
        &self,
        key: &ObjectKey,
        pod: &PodInfo,
        why: &schedule::Unschedulable,
    ) -> Result<(), Error> {
        if let schedule::Room::Made(preemption) = &why.room {
            let outranked = self.cluster.lock().outranked(pod, preemption);
            self.hand.make_room(pod, preemption, &outranked).await?;
        }
        self.hand.refuse(key, pod, why).await
    }
}
