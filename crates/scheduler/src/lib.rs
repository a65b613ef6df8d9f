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
mod taints;
#[cfg(test)]
mod tests;
mod waiting;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use skiff_informer::{Cache, Next, ObjectKey, Queue, Recorder, Vitals};
use tokio_util::sync::CancellationToken;

pub use affinity::required as node_affinity_matches;
pub use taints::tolerated;

use act::{Error, Hand};
use cluster::{Cluster, Decided};
use model::{Budget, Labels, NodeInfo, Pending, PodInfo};

/// Decisions written at once.
const WORKERS: usize = 32;

/// What is followed in the API.
#[derive(Default)]
struct Caches {
    pods: Cache<PodInfo>,
    nodes: Cache<NodeInfo>,
    namespaces: Cache<Labels>,
    budgets: Cache<Budget>,
}

struct Scheduler {
    pods: Cache<PodInfo>,
    cluster: Arc<Mutex<Cluster>>,
    /// Each key asks for one decision, about whoever is next.
    queue: Queue<ObjectKey>,
    hand: Hand,
}

/// Schedules pods of `default-scheduler` until `shutdown`. `client` acts as `system:kube-scheduler`; `vitals` tells how the
/// scheduler is.
pub async fn run(client: Client, vitals: Vitals, shutdown: CancellationToken) {
    let caches = Caches::default();
    vitals.cache("pods", &caches.pods);
    vitals.cache("nodes", &caches.nodes);
    vitals.cache("namespaces", &caches.namespaces);
    vitals.cache("poddisruptionbudgets", &caches.budgets);
    let (cluster, queue) = (Arc::new(Mutex::new(Cluster::default())), vitals.queue::<ObjectKey>("binding"));
    caches.subscribe(&cluster, &queue);
    caches.watch(&client, &shutdown);
    let hand = Hand::new(client.clone(), Recorder::start(client, model::SCHEDULER_NAME, ""));
    let scheduler = Scheduler { pods: caches.pods.clone(), cluster, queue: queue.clone(), hand };
    let scheduling = async {
        tokio::join!(
            caches.nodes.synced(),
            caches.pods.synced(),
            caches.namespaces.synced(),
            caches.budgets.synced()
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
                if let schedule::Room::Made(preemption) = &why.room {
                    let outranked = self.cluster.lock().outranked(&pod, preemption);
                    self.hand.make_room(&pod, preemption, &outranked).await?;
                }
                self.hand.refuse(&key, &pod, &why).await?;
            }
        }
        Ok(Next::Done)
    }
}
