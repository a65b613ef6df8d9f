//! Runs the pods of Jobs until enough of them have succeeded, or too many failed, and counts each exactly once.
//!
//! Pods carry a finalizer until they are counted, so none is lost however it goes; [`accounts`] says how they are counted. The plan
//! of a pass is a [`View`], made of the Job, its pods, and what was asked for that the caches do not show yet.
//!
//! Sources: the API reference of Job, Kubernetes' pages on Jobs and their policies, KEP-2307 (tracking), KEP-3850 (limits for
//! each index), KEP-3939 (replacement), KEP-3998 (success).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use kube::Client;
use parking_lot::Mutex;
use serde_json::json;
use skiff_informer::{EventType, Next, ObjectKey, Recorder};

use crate::environment::{Controller, Environment};
use crate::informers::Informers;
use crate::meta;
use crate::pods::KnownPod;
use crate::pods::work::TRACKING_FINALIZER;
use crate::workload::{
    ClaimError, InFlight, Owner, PodControl, PodFailure, STALE_CACHE_BOUND, Selector, claim, follow, status,
};

mod accounts;
mod backoff;
pub(crate) mod conditions;
mod indexes;
mod orphans;
mod plan;
mod policy;
mod template;
#[cfg(test)]
mod tests;
mod wish;

use accounts::{Accounts, Done, Turn};
use backoff::Backoff;
use conditions::{Ending, Outcome};
use plan::{Act, Asked, View};
use wish::Wish;

const NAME: &str = "job-controller";
/// Jobs worked on at once.
const WORKERS: usize = 8;

/// A pass that failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{job}: {source}")]
    Claim { job: ObjectKey, source: ClaimError },
    #[error("{job}: {failure}")]
    Pods { job: ObjectKey, failure: PodFailure },
    #[error("cannot {action} of {job}")]
    Api { action: &'static str, job: ObjectKey, source: kube::Error },
}

/// What is remembered of a Job between passes.
#[derive(Default)]
struct Memory {
    uid: String,
    backoff: Option<Backoff>,
    /// Pods whose finalizer was asked to be removed, and still shows.
    released: HashSet<String>,
}

struct Jobs {
    client: Client,
    informers: Informers,
    pods: PodControl,
    statuses: InFlight<Job>,
    memory: Mutex<HashMap<ObjectKey, Memory>>,
}

impl Owner for Job {
    fn selector(&self) -> Selector {
        let selector = self.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.map(Selector::of).unwrap_or_default()
    }
}

/// Subscribes to Jobs and pods and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = environment.informers.clone();
    let queue = environment.vitals.queue("job");
    follow(&informers.jobs, &informers.pods, &queue);
    let orphans = orphans::controller(environment);
    let client = environment.client(NAME);
    let pods = PodControl::new(client.clone(), Recorder::start(client.clone(), NAME, ""), &informers.pods);
    let statuses = InFlight::new(&informers.jobs);
    let jobs = Jobs { client, informers, pods, statuses, memory: Mutex::default() };
    let informers = &environment.informers;
    let jobs =
        environment.reconciler(queue, &[&informers.pods, &informers.jobs], WORKERS, jobs, |jobs, key| {
            jobs.reconcile(key).boxed()
        });
    Box::pin(async move {
        futures::join!(jobs, orphans);
    })
}

impl Jobs {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let job = self.informers.jobs.get(&key);
        let going_on = job.filter(|job| !wish::is_foreign(job) && conditions::finished(job).is_none());
        let Some(job) = going_on else {
            self.forget(&key);
            return Ok(Next::Done);
        };
        let Some(wish) = Wish::of(&job) else {
            let message = "Skipped Job sync because completion mode is unknown";
            self.pods.event(&*job, EventType::Warning, "UnknownCompletionMode", message.into());
            return Ok(Next::Done);
        };
        if !self.statuses.is_settled(&key) {
            return Ok(Next::After(STALE_CACHE_BOUND));
        }
        // Asked before the pods are read: what shows all of them may not be older.
        let settled = self.pods.in_flight().is_settled(&key);
        let pods = self.claim(&job).await?;
        let now = Timestamp::now();
        let (asked, backoff) = self.remembered(&job, &pods);
        let view = View::of(&job, wish, pods, asked, backoff, now);
        let (done, acted) = self.act(&job, &view, settled, now).await;
        let accounts = Accounts::of(&view, done, now);
        let ended = self.record(&job, &view, accounts, now).await?;
        let more_in = acted.map_err(|failure| Error::Pods { job: key, failure })?;
        let late_in = view.wish.time_left(&job, now).filter(|_| !ended && view.ending.is_none());
        let stale = Some(STALE_CACHE_BOUND).filter(|_| !settled);
        let look_in = [more_in, late_in, stale].into_iter().flatten().min();
        Ok(look_in.map_or(Next::Done, Next::After))
    }

    fn forget(&self, key: &ObjectKey) {
        self.pods.in_flight().forget(key);
        self.statuses.forget(key);
        self.memory.lock().remove(key);
    }

    async fn claim(&self, job: &Job) -> Result<Vec<Arc<KnownPod>>, Error> {
        let candidates = self.informers.pods_by_owner.of_or_orphaned(job);
        let claims = claim(job, candidates, |selector, pod: &KnownPod| selector.selects(pod));
        let settled = claims.settle(&self.client, job, &[TRACKING_FINALIZER]).await;
        settled.map_err(|source| Error::Claim { job: job.key(), source })
    }

    /// What was asked for and does not show in `pods` yet, and the failures so far.
    fn remembered(&self, job: &Job, pods: &[Arc<KnownPod>]) -> (Asked, Option<Backoff>) {
        let key = job.key();
        let deleted = self.pods.in_flight().deleted(&key, pods);
        let mut memory = self.memory.lock();
        let memory = memory.entry(key).or_default();
        if memory.uid != meta::uid(&job.metadata) {
            *memory = Memory { uid: meta::uid(&job.metadata).into(), ..Memory::default() };
        }
        let tracked = pods.iter().filter(|pod| pod.work().is_some_and(|work| work.tracked));
        let tracked: HashSet<&str> = tracked.map(|pod| pod.uid()).collect();
        memory.released.retain(|uid| tracked.contains(uid.as_str()));
        (Asked { released: memory.released.clone(), deleted }, memory.backoff)
    }

    /// Makes pods, or takes some away. Returns what was done, and when more may be.
    async fn act(
        &self,
        job: &Job,
        view: &View<'_>,
        settled: bool,
        now: Timestamp,
    ) -> (Done, Result<Option<Duration>, PodFailure>) {
        if view.ending.is_some() {
            // They keep their finalizers: they are counted.
            let deleted = self.pods.delete(job, &view.active).await;
            return (Done { managed: settled, ..gone(&view.active, &deleted) }, deleted.map(|()| None));
        }
        if !settled || view.wish.deleting {
            return (Done::default(), Ok(None));
        }
        let done = Done { managed: true, ..Done::default() };
        match view.act(now) {
            Act::Nothing => (done, Ok(None)),
            Act::Wait(pause) => (done, Ok(Some(pause))),
            Act::Create(number) => {
                let pod = template::pod(job);
                let created = self.pods.create(job, number, |_| pod.clone()).await;
                let number = if created.is_ok() { number } else { 0 };
                (Done { created: number, ..done }, created.map(|()| None))
            }
            Act::CreateIndexes(indexes, more_in) => {
                let pod = |i: usize| template::pod_of_index(job, view, indexes[i]);
                let created = self.pods.create(job, indexes.len(), pod).await;
                let number = if created.is_ok() { indexes.len() } else { 0 };
                (Done { created: number, ..done }, created.map(|()| more_in))
            }
            Act::Delete(pods) => {
                let deleted = match self.release(job, &pods).await.1 {
                    None => self.pods.delete(job, &pods).await,
                    Some(error) => {
                        let message = format!("removing completion finalizer: {error}");
                        Err(PodFailure { reason: "FailedDelete", message })
                    }
                };
                (Done { managed: true, ..gone(&pods, &deleted) }, deleted.map(|()| None))
            }
        }
    }

    /// Removes the finalizers of pods. Returns the UIDs of those that have none any more, and the first error.
    async fn release(&self, job: &Job, pods: &[Arc<KnownPod>]) -> (Vec<String>, Option<kube::Error>) {
        let (mut released, mut first) = (Vec::new(), None);
        for outcome in join_all(pods.iter().map(|pod| self.release_one(job, pod))).await {
            match outcome {
                Ok(uid) => released.push(uid),
                Err(error) if first.is_none() => first = Some(error),
                Err(_) => {}
            }
        }
        (released, first)
    }

    async fn release_one(&self, job: &Job, pod: &KnownPod) -> kube::Result<String> {
        let uid = pod.uid().to_owned();
        self.memory.lock().entry(job.key()).or_default().released.insert(uid.clone());
        let patch = json!({"metadata": {
            "uid": uid, "$deleteFromPrimitiveList/finalizers": [TRACKING_FINALIZER],
        }});
        if let Err(error) = self.pods.patch(job, pod, patch).await {
            self.memory.lock().entry(job.key()).or_default().released.remove(&uid);
            return Err(error);
        }
        Ok(uid)
    }

    /// Writes the status, removes the finalizers of what is written down, and counts it. Returns whether the Job has ended.
    async fn record(
        &self,
        job: &Job,
        view: &View<'_>,
        mut accounts: Accounts,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let mut current = job.clone();
        if accounts.news && !self.write(&mut current, &accounts.status).await? {
            return Ok(true);
        }
        self.memory.lock().entry(job.key()).or_default().backoff = Some(view.backoff);
        match accounts.turned {
            Some(Turn::Suspended) => self.tell(job, EventType::Normal, "Suspended", "Job suspended"),
            Some(Turn::Resumed) => self.tell(job, EventType::Normal, "Resumed", "Job resumed"),
            None => {}
        }
        let (released, error) = self.release(job, &accounts.release).await;
        let counted = accounts.released(&released);
        let ending = if error.is_none() { accounts.conclude(now) } else { None };
        if (counted || ending.is_some()) && !self.write(&mut current, &accounts.status).await? {
            return Ok(true);
        }
        if let Some(source) = error {
            return Err(Error::Api { action: "remove the finalizer of a pod", job: job.key(), source });
        }
        if let Some(ending) = &ending {
            self.tell_of(job, view, ending);
        }
        Ok(ending.is_some())
    }

    /// Writes a status over that of `current`; `false` if the Job is gone.
    async fn write(&self, current: &mut Job, status: &JobStatus) -> Result<bool, Error> {
        current.status = Some(status.clone());
        let written = status::write(&self.client, current).await;
        let failed = |source| Error::Api { action: "write the status", job: current.key(), source };
        let Some(written) = written.map_err(failed)? else { return Ok(false) };
        self.statuses.wrote(&written.key(), &written.metadata);
        *current = written;
        Ok(true)
    }

    fn tell_of(&self, job: &Job, view: &View<'_>, ending: &Ending) {
        if ending.outcome == Outcome::Failure {
            return self.tell(job, EventType::Warning, reason(&ending.reason), &ending.message);
        }
        if view.wish.completions.is_some_and(|all| view.succeeded > all) {
            let message = "Too many succeeded pods running after completion count reached";
            self.tell(job, EventType::Warning, "TooManySucceededPods", message);
        }
        self.tell(job, EventType::Normal, "Completed", "Job completed");
    }

    fn tell(&self, job: &Job, kind: EventType, reason: &'static str, message: &str) {
        self.pods.event(job, kind, reason, message.to_owned());
    }
}

/// What it means that pods are gone, if they are.
fn gone(pods: &[Arc<KnownPod>], deleted: &Result<(), PodFailure>) -> Done {
    match deleted {
        Err(_) => Done::default(),
        Ok(()) => Done {
            deleted: pods.len(),
            deleted_ready: pods.iter().filter(|pod| pod.is_ready()).count(),
            ..Done::default()
        },
    }
}

/// The reasons for which Jobs fail; one that was written by somebody else is told as such.
fn reason(reason: &str) -> &'static str {
    const REASONS: &[&str] = &[
        "BackoffLimitExceeded",
        "DeadlineExceeded",
        "FailedIndexes",
        "MaxFailedIndexesExceeded",
        "PodFailurePolicy",
    ];
    REASONS.iter().find(|known| **known == reason).unwrap_or(&conditions::FAILED)
}
