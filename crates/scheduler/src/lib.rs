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
mod caches;
mod cluster;
mod configuration;
mod counts;
mod model;
mod nodes;
mod numbers;
mod picture;
mod preempt;
mod rules;
mod schedule;
mod scores;
#[doc(hidden)]
pub mod simulation;
mod storage;
mod taints;
mod tallies;
mod terms;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_counts;
#[cfg(test)]
mod tests_profiles;
mod volumes;
mod waiting;

use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use kube::Client;
use parking_lot::Mutex;
use skiff_informer::{Cache, Next, ObjectKey, Queue, Vitals};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use affinity::required as node_affinity_matches;
pub use configuration::{Configuration, ConfigurationError, schema};
pub use numbers::metrics;
pub use taints::tolerated;

use act::{Error, Hand};
use caches::{Caches, StorageCaches};
use cluster::{Cluster, Decided};
use model::PodInfo;
use numbers::Attempt;
use storage::Reserved;
use volumes::{Outcome, VolumeHand};

/// Decisions written at once.
const WORKERS: usize = 32;

struct Scheduler {
    pods: Cache<PodInfo>,
    cluster: Arc<Mutex<Cluster>>,
    /// Each key asks for one decision, about whoever is next.
    queue: Queue<ObjectKey>,
    hand: Hand,
    volumes: VolumeHand,
    shutdown: CancellationToken,
}

/// Schedules the pods of the configuration's profiles until `shutdown`. `client` acts as `system:kube-scheduler`; `vitals` tells how
/// the scheduler is.
pub fn run(
    client: Client,
    configuration: Configuration,
    vitals: Vitals,
    shutdown: CancellationToken,
) -> BoxFuture<'static, ()> {
    Box::pin(schedule(client, configuration, vitals, shutdown))
}

async fn schedule(client: Client, configuration: Configuration, vitals: Vitals, shutdown: CancellationToken) {
    let (caches, storage) = (Caches::default(), StorageCaches::default());
    let spreads = configuration.profiles().any(|profile| profile.spreads());
    caches.tell(&vitals, spreads);
    storage.tell(&vitals);
    let cluster = Arc::new(Mutex::new(Cluster::new(configuration.backoff())));
    let queue = vitals.queue::<ObjectKey>("binding");
    numbers::look_at(&cluster);
    let changed = Arc::new(Notify::new());
    caches.subscribe(&cluster, &queue, &changed);
    storage.subscribe(&cluster, &queue, &changed);
    let scheduler = Arc::new(Scheduler {
        pods: caches.pods.clone(),
        cluster: cluster.clone(),
        queue: queue.clone(),
        hand: Hand::new(client.clone(), &configuration),
        volumes: VolumeHand::new(client.clone(), cluster, caches.pods.clone(), changed),
        shutdown: shutdown.clone(),
    });
    caches.watch(&client, Arc::new(configuration), &shutdown);
    if spreads {
        caches.watch_owners(&client, &shutdown);
    }
    storage.watch(&client, &shutdown);
    let scheduling = async {
        tokio::join!(caches.synced(spreads), storage.synced());
        queue.run(WORKERS, &shutdown, |token| scheduler.work(token)).await;
    };
    shutdown.run_until_cancelled(scheduling).await;
}

impl Scheduler {
    /// Decides about the pod that is next, and writes the decision.
    async fn work(self: &Arc<Self>, token: ObjectKey) -> Result<Next, Error> {
        let began = Instant::now();
        let decided = {
            let mut cluster = self.cluster.lock();
            if let Some(pod) = self.pods.get(&token) {
                cluster.rested(&token, pod.priority);
            }
            let decided = cluster.decide(|key| self.pods.get(key), began);
            if decided.is_some() {
                numbers::decided(began.elapsed());
            }
            if !cluster.is_idle() {
                self.queue.add(token);
            }
            decided
        };
        match decided {
            Some(decided) => self.write(decided, began).await,
            None => Ok(Next::Done),
        }
    }

    async fn write(self: &Arc<Self>, decided: Decided, began: Instant) -> Result<Next, Error> {
        let Decided { key, pod, decision, reserved } = decided;
        match (decision, reserved) {
            (schedule::Decision::Bind(node), None) => self.bind(&key, &pod, &node, began).await,
            // That may take minutes, and nobody else waits for it.
            (schedule::Decision::Bind(node), Some(reserved)) => {
                let (scheduler, shutdown) = (self.clone(), self.shutdown.clone());
                let binding = async move {
                    if scheduler.bind_volumes(&key, &pod, &reserved).await {
                        scheduler.bind(&key, &pod, &node, began).await;
                    }
                };
                tokio::spawn(async move { shutdown.run_until_cancelled(binding).await });
            }
            (schedule::Decision::Unschedulable(why), _) => {
                let refused = self.refuse(&key, &pod, &why).await;
                let attempt = if refused.is_ok() { Attempt::Unschedulable } else { Attempt::Error };
                numbers::attempt(attempt, pod.profile_name(), began);
                if let Err(error) = refused {
                    tracing::warn!(pod = %key, error = skiff_errors::error_text(&error), "will try again");
                    self.rest(&key);
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
            numbers::preempts(preemption.victims.len());
            let outranked = self.cluster.lock().outranked(pod, preemption);
            self.hand.make_room((key, pod), preemption, &outranked).await?;
        }
        self.hand.refuse(key, pod, why).await
    }

    async fn bind(&self, key: &ObjectKey, pod: &PodInfo, node: &str, began: Instant) {
        let bound = self.hand.bind(key, pod, node).await;
        let attempt = if matches!(bound, Ok(true)) { Attempt::Scheduled } else { Attempt::Error };
        numbers::attempt(attempt, pod.profile_name(), began);
        match bound {
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
