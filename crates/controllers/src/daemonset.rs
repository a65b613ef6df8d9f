//! Keeps a pod of each DaemonSet on every node that it fits.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::Node;
use kube::{Client, ResourceExt};
use parking_lot::Mutex;
use skiff_informer::{Change, EventType, Next, ObjectKey, Queue, Recorder, is_namespace_terminating};
use tokio::time::Instant;

use crate::environment::{Controller, Environment};
use crate::informers::Informers;
use crate::pods::KnownPod;
use crate::workload::history::{self, History, REVISION_HASH};
use crate::workload::{
    InFlight, Named, Owner, PassError, PodControl, PodFailure, STALE_CACHE_BOUND, Selector, claim, follow,
    status,
};

mod backoff;
mod placing;
mod plan;
#[cfg(test)]
mod tests;

use backoff::Failures;
use placing::{Fit, Placing};
use plan::{Ended, Layout, Observed, Plan};

const NAME: &str = "daemon-set-controller";
const COMPONENT: &str = "daemonset-controller";
/// Sets worked on at once.
const WORKERS: usize = 4;
/// Most pods that one pass creates, and most that it deletes.
const BURST: usize = 250;

fn named(key: &ObjectKey) -> Named {
    Named { noun: "daemon set", key: key.clone() }
}

struct DaemonSets {
    client: Client,
    informers: Informers,
    pods: PodControl,
    sets: InFlight<DaemonSet>,
    history: History,
    failures: Mutex<Failures>,
}

impl Owner for DaemonSet {
    fn selector(&self) -> Selector {
        self.spec.as_ref().map(|spec| Selector::of(&spec.selector)).unwrap_or_default()
    }
}

/// Subscribes to DaemonSets, their pods and nodes, and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("daemonset");
    follow(&informers.daemon_sets, &informers.pods, &queue);
    follow_nodes(informers, &queue);
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), COMPONENT, "");
    let revisions = (&informers.controller_revisions, informers.controller_revisions_by_owner.clone());
    let sets = DaemonSets {
        pods: PodControl::new(client.clone(), recorder, &informers.pods),
        sets: InFlight::new(&informers.daemon_sets),
        history: History::new(client.clone(), revisions.0, revisions.1, &queue),
        failures: Mutex::default(),
        client,
        informers: informers.clone(),
    };
    environment.reconciler(
        queue,
        &[&informers.daemon_sets, &informers.pods, &informers.nodes, &informers.controller_revisions],
        WORKERS,
        sets,
        |sets, key| sets.reconcile(key).boxed(),
    )
}

/// Adds the sets to `queue` for which a node comes or goes, or changes what it lets run.
fn follow_nodes(informers: &Informers, queue: &Queue<ObjectKey>) {
    let (wake, caches) = (queue.clone(), informers.clone());
    informers.nodes.subscribe(move |change| {
        let matters = |node: &Node| {
            (
                node.labels().clone(),
                node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default(),
            )
        };
        if change.old.map(|node| matters(node)) == change.new.map(|node| matters(node)) {
            return;
        }
        let pods = caches.pods_by_node.get(&change.key.name().to_owned());
        let sets = caches.daemon_sets.all();
        let concerned = sets.iter().filter(|set| is_concerned(set, &pods, change));
        concerned.for_each(|set| wake.add(ObjectKey::of(&set.metadata)));
    });
}

/// Whether a change of a node may alter what a set does or says, given the pods of the node.
fn is_concerned(set: &DaemonSet, pods: &[Arc<KnownPod>], change: &Change<'_, Node>) -> bool {
    let Some(spec) = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()) else { return false };
    let placing = Placing::of(spec);
    let fit = |node: Option<&Arc<Node>>| node.map_or(Fit::Never, |node| placing.fit(node));
    let has_pod = pods.iter().any(|pod| pod.controller().is_some_and(|owner| set.is(owner)));
    let misplaced = set.status.as_ref().is_some_and(|status| status.number_misscheduled > 0);
    fit(change.old) != fit(change.new) || (has_pod && (fit(change.new) == Fit::Never || misplaced))
}

impl DaemonSets {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, PassError> {
        let settled = self.pods.in_flight().is_settled(&key);
        let written = self.sets.is_settled(&key) && self.history.in_flight().is_settled(&key);
        let Some(set) = self.informers.daemon_sets.get(&key) else {
            self.pods.in_flight().forget(&key);
            self.sets.forget(&key);
            self.history.in_flight().forget(&key);
            self.failures.lock().forget(&key);
            return Ok(Next::Done);
        };
        let Some(spec) = &set.spec else { return Ok(Next::Done) };
        // The revisions of one that goes may have gone before its pods: nothing can be said of it.
        if set.is_going() {
            return Ok(Next::Done);
        }
        if !written {
            return Ok(Next::After(STALE_CACHE_BOUND));
        }
        let failed = |source| PassError::Claim { owner: named(&key), source };
        let revisions = self.history.of(&*set).await.map_err(failed)?;
        let (present, collisions) = match self.revise(&key, &set, spec, &revisions).await {
            Err(PassError::Api { source, .. }) if is_namespace_terminating(&source) => return Ok(Next::Done),
            revised => revised?,
        };
        let candidates = self.informers.pods_by_owner.of_or_orphaned(&*set);
        let claims = claim(&*set, candidates, |selector, pod| selector.selects(pod));
        let pods = claims.settle(&self.client, &*set, &[]).await.map_err(failed)?;
        let deleted = self.pods.in_flight().deleted(&key, &pods);
        let nodes = self.informers.nodes.all();
        let hash = hash_of(&present);
        let observed = Observed {
            set: &set,
            spec,
            hash: &hash,
            nodes: &nodes,
            pods: &pods,
            deleted: &deleted,
            now: Timestamp::now(),
        };
        let layout = Layout::of(&observed);
        let done = match settled {
            true => self.execute(&set, &hash, layout.plan()).await,
            false => Ok(Some(STALE_CACHE_BOUND)),
        };
        self.report(&key, &set, &layout, settled, collisions).await?;
        let look_in =
            done.map_err(|failure| PassError::Step { owner: named(&key), why: failure.to_string() })?;
        self.forget_history(&key, &set, spec, (&revisions, &present), &pods).await?;
        let next = [look_in, layout.next_available()].into_iter().flatten().min();
        Ok(next.map_or(Next::Done, Next::After))
    }

    /// Lets the present template be the latest revision. Returns also how many hashes have met.
    async fn revise(
        &self,
        key: &ObjectKey,
        set: &DaemonSet,
        spec: &DaemonSetSpec,
        revisions: &[Arc<ControllerRevision>],
    ) -> Result<(Arc<ControllerRevision>, Option<i32>), PassError> {
        let before = set.status.as_ref().and_then(|status| status.collision_count);
        let mut collisions = before.unwrap_or(0);
        let template = (&spec.template, REVISION_HASH);
        let present = self.history.keep(set, revisions, template, &mut collisions).await;
        let present = present.map_err(named(key).failed("keep the revisions"))?;
        Ok((present, before.or(Some(collisions).filter(|collisions| *collisions > 0)).map(|_| collisions)))
    }

    /// Deletes and creates pods. Returns after how long a pod that failed may be replaced, if that is yet to come.
    async fn execute(&self, set: &DaemonSet, hash: &str, plan: Plan) -> Result<Option<Duration>, PodFailure> {
        let Plan { create, mut delete, ended } = plan;
        let mut look_in: Option<Duration> = None;
        for ended in ended {
            match self.may_replace(set, &ended) {
                Ok(()) => {
                    self.tell_ended(set, &ended);
                    delete.push(ended.pod);
                }
                Err(pause) => look_in = Some(look_in.map_or(pause, |earlier| earlier.min(pause))),
            }
        }
        delete.truncate(BURST);
        let number = create.len().min(BURST);
        let created = self.pods.create(set, number, |index| placing::pod(set, hash, &create[index])).await;
        self.pods.delete(set, &delete).await?;
        created.map(|()| look_in)
    }

    fn may_replace(&self, set: &DaemonSet, ended: &Ended) -> Result<(), Duration> {
        if !ended.failed {
            return Ok(());
        }
        self.failures.lock().replace(&set.key(), &ended.node, Instant::now())
    }

    fn tell_ended(&self, set: &DaemonSet, Ended { pod, node, failed }: &Ended) {
        let (kind, reason, word, end) = match failed {
            true => (EventType::Warning, "FailedDaemonPod", "failed", "kill"),
            false => (EventType::Normal, "SucceededDaemonPod", "succeeded", "delete"),
        };
        let message = format!("Found {word} daemon pod {} on node {node}, will try to {end} it", pod.key());
        self.pods.event(set, kind, reason, message);
    }

    /// Writes the status if it changed.
    async fn report(
        &self,
        key: &ObjectKey,
        set: &DaemonSet,
        layout: &Layout<'_>,
        worked: bool,
        collisions: Option<i32>,
    ) -> Result<(), PassError> {
        let mut status = layout.status(worked);
        status.collision_count = collisions;
        let object = |status| DaemonSet { status: Some(status), ..set.clone() };
        let done = status::report(&self.client, &self.sets, (set.status.as_ref(), status), object).await;
        done.map_err(named(key).failed("update the status"))
    }

    async fn forget_history(
        &self,
        key: &ObjectKey,
        set: &DaemonSet,
        spec: &DaemonSetSpec,
        (revisions, present): (&[Arc<ControllerRevision>], &ControllerRevision),
        pods: &[Arc<KnownPod>],
    ) -> Result<(), PassError> {
        let live = |revision: &ControllerRevision| {
            let hash = hash_of(revision);
            revision.metadata.uid == present.metadata.uid
                || pods.iter().any(|pod| pod.labels().get(REVISION_HASH) == Some(hash.as_str()))
        };
        let expired = history::expired(revisions, live, spec.revision_history_limit);
        match self.history.delete(set, &expired).await {
            Err(source) if !is_namespace_terminating(&source) => {
                Err(named(key).failed("delete old revisions")(source))
            }
            _ => Ok(()),
        }
    }
}

/// The hash by which pods tell that they are of a revision.
fn hash_of(revision: &ControllerRevision) -> String {
    revision.labels().get(REVISION_HASH).cloned().unwrap_or_else(|| revision.name_any())
}
