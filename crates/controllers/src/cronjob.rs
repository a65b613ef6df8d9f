//! Starts a Job whenever the schedule of a CronJob says so, and keeps some of those that have ended.
//!
//! A pass looks at the clock and at the Jobs; it is woken by a timer for the next time, and by changes. The name of each Job tells
//! its time, so that none is started twice, whatever happens between the start and the note of it in the status.
//!
//! Sources: the API reference of CronJob, Kubernetes' page on CronJobs.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Client, Resource, ResourceExt};
use skiff_informer::{
    Change, Next, ObjectKey, Queue, Recorder, describe, is_already_exists, is_conflict, is_not_found,
};

use crate::environment::{Controller, Environment};
use crate::informers::{Informers, api};
use crate::meta;
use crate::notes::Note;
use crate::workload::{InFlight, Owner, STALE_CACHE_BOUND, Selector, status};

mod clock;
mod plan;
#[cfg(test)]
mod tests;

use plan::Decision;

const NAME: &str = "cronjob-controller";
/// CronJobs worked on at once.
const WORKERS: usize = 5;

/// A pass that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} of {cron}")]
struct Error {
    action: &'static str,
    cron: ObjectKey,
    source: kube::Error,
}

struct CronJobs {
    client: Client,
    informers: Informers,
    recorder: Recorder,
    jobs: InFlight<Job>,
    statuses: InFlight<CronJob>,
    /// What CronJobs without a zone go by.
    local: TimeZone,
}

impl Owner for CronJob {
    /// It adopts nothing.
    fn selector(&self) -> Selector {
        Selector::default()
    }
}

/// Subscribes to CronJobs and Jobs and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = environment.informers.clone();
    let queue = environment.vitals.queue("cronjob");
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), NAME, "");
    let local = TimeZone::system();
    let (wake, tell, zone) = (queue.clone(), recorder.clone(), local.clone());
    informers.cron_jobs.subscribe(move |change| changed(change, &wake, &tell, &zone));
    let wake = queue.clone();
    informers.jobs.subscribe(move |change| {
        let owners = change.both().filter_map(|job| meta::controller_of(&job.metadata));
        let of_kind =
            owners.filter(|owner| owner.kind == "CronJob" && meta::group_of(&owner.api_version) == "batch");
        of_kind.for_each(|owner| wake.add(ObjectKey::new(change.key.namespace(), &owner.name)));
    });
    let (jobs, statuses) = (InFlight::new(&informers.jobs), InFlight::new(&informers.cron_jobs));
    let cron_jobs = CronJobs { client, informers, recorder, jobs, statuses, local };
    let informers = &environment.informers;
    environment.reconciler(
        queue,
        &[&informers.cron_jobs, &informers.jobs],
        WORKERS,
        cron_jobs,
        |cron_jobs, key| cron_jobs.reconcile(key).boxed(),
    )
}

/// A schedule that has changed counts from the next time on.
fn changed(change: &Change<'_, CronJob>, queue: &Queue<ObjectKey>, recorder: &Recorder, local: &TimeZone) {
    let clock = |cron: &CronJob| (cron.spec.schedule.clone(), cron.spec.time_zone.clone());
    let (Some(old), Some(new)) = (change.old, change.new) else { return queue.add(change.key.clone()) };
    if clock(old) == clock(new) {
        return queue.add(change.key.clone());
    }
    match plan::wait_for_changed(new, local, Timestamp::now()) {
        Ok(Some(wait)) => queue.add_after(change.key.clone(), wait),
        Ok(None) => queue.add(change.key.clone()),
        Err(note) => note.tell(recorder, new.object_ref(&())),
    }
}

impl CronJobs {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(cron) = self.informers.cron_jobs.get(&key) else {
            self.jobs.forget(&key);
            self.statuses.forget(&key);
            return Ok(Next::Done);
        };
        if !self.statuses.is_settled(&key) || !self.jobs.is_settled(&key) {
            return Ok(Next::After(STALE_CACHE_BOUND));
        }
        let mut jobs = self.informers.jobs_by_owner.of(meta::uid(&cron.metadata));
        let deleted = self.jobs.deleted(&key, &jobs);
        jobs.retain(|job| !deleted.contains(meta::uid(&job.metadata)));
        let mut current = (*cron).clone();
        let mut news = current.status.take().unwrap_or_default();
        for job in plan::surplus(&cron, &jobs) {
            // One that stays is tried again with the next change.
            drop(self.delete(&cron, &job, &mut news).await);
        }
        let outcome = self.go_on(&mut current, &jobs, news).await;
        let old = cron.status.clone().unwrap_or_default();
        if current.status.as_ref().is_some_and(|new| !status::says_the_same(Some(&old), new)) {
            let written = status::write(&self.client, &current).await;
            if let Some(written) = written.map_err(self.failed("write the status", &key))? {
                self.statuses.wrote(&key, &written.metadata);
            }
        }
        Ok(outcome?.map_or(Next::Done, Next::After))
    }

    /// Looks at Jobs and clock, and starts a Job if it is time. Returns when the next time is. The status to write is that of `cron`
    /// afterwards, however it ends.
    async fn go_on(
        &self,
        cron: &mut CronJob,
        jobs: &[Arc<Job>],
        mut news: CronJobStatus,
    ) -> Result<Option<Duration>, Error> {
        let reckoned = self.reckon(cron, jobs, &mut news).await;
        cron.status = Some(news);
        reckoned?;
        let now = Timestamp::now();
        let (decision, notes) = plan::decide(cron, &self.local, now);
        self.tell(cron, notes);
        match decision {
            Decision::Idle => Ok(None),
            Decision::Wait(wait) => Ok(wait),
            Decision::Start(at) => {
                if self.start(cron, jobs, at).await? {
                    // The time after this one.
                    let (decision, _) = plan::decide(cron, &self.local, now);
                    return Ok(if let Decision::Wait(wait) = decision { wait } else { None });
                }
                Ok(None)
            }
        }
    }

    /// Brings the status up to date with the Jobs that there are.
    async fn reckon(&self, cron: &CronJob, jobs: &[Arc<Job>], news: &mut CronJobStatus) -> Result<(), Error> {
        let key = cron.key();
        let reckoning = plan::reckon(news, jobs);
        self.tell(cron, reckoning.notes);
        for name in reckoning.unexpected {
            let message = format!("Saw a job that the controller did not create or forgot: {name}");
            self.tell(cron, [Note::warning("UnexpectedJob", message)]);
        }
        for missing in reckoning.missing {
            let name = missing.name.clone().unwrap_or_default();
            let found = api::<Job>(&self.client, &key).get_metadata_opt(&name).await;
            let found = found.map_err(self.failed("look for a job", &key))?;
            if found.is_none_or(|job| job.metadata.uid != missing.uid) {
                self.tell(cron, [Note::normal("MissingJob", format!("Active job went missing: {name}"))]);
                plan::no_longer_active(news, missing.uid.as_deref().unwrap_or(""));
            }
        }
        Ok(())
    }

    /// Starts the Job for a time, in place of those at work if the policy says so. Returns whether the status tells of it now.
    async fn start(&self, cron: &mut CronJob, jobs: &[Arc<Job>], at: Timestamp) -> Result<bool, Error> {
        let key = cron.key();
        let policy = cron.spec.concurrency_policy.as_deref();
        if policy == Some("Replace") {
            let mut news = cron.status.clone().unwrap_or_default();
            let active: Vec<_> = plan::active(cron).cloned().collect();
            let is_active = |job: &&Arc<Job>| {
                active.iter().any(|one| one.uid.as_deref() == Some(meta::uid(&job.metadata)))
            };
            for job in jobs.iter().filter(is_active) {
                let deleted = self.delete(cron, job, &mut news).await;
                cron.status = Some(news.clone());
                deleted.map_err(self.failed("replace a job", &key))?;
            }
        }
        let wanted = plan::job(cron, at);
        let created = match api::<Job>(&self.client, &key).create(&PostParams::default(), &wanted).await {
            Ok(created) => created,
            Err(error) if is_already_exists(&error) => return self.take_over(cron, &wanted, at).await,
            Err(error) => {
                if !skiff_informer::is_namespace_terminating(&error) {
                    let message = format!("Error creating job: {}", describe(&error));
                    self.tell(cron, [Note::warning("FailedCreate", message)]);
                }
                return Err(self.failed("create a job", &key)(error));
            }
        };
        self.jobs.wrote(&key, &created.metadata);
        let message = format!("Created job {}", created.name_any());
        self.tell(cron, [Note::normal("SuccessfulCreate", message)]);
        note_started(cron, &created, at);
        Ok(true)
    }

    /// The Job was started before, and nobody took note of it; or it is somebody else's, who does.
    async fn take_over(&self, cron: &mut CronJob, wanted: &Job, at: Timestamp) -> Result<bool, Error> {
        let key = cron.key();
        let found = api::<Job>(&self.client, &key).get_opt(&wanted.name_any()).await;
        let Some(job) = found.map_err(self.failed("read a job", &key))? else { return Ok(false) };
        let is_ours = meta::controller_of(&job.metadata).is_some_and(|owner| cron.is(owner));
        let is_active = plan::active(cron).any(|one| one.uid.as_deref() == Some(meta::uid(&job.metadata)));
        if is_ours && !is_active {
            note_started(cron, &job, at);
            return Ok(true);
        }
        Ok(false)
    }

    /// Deletes a Job with its pods.
    async fn delete(&self, cron: &CronJob, job: &Job, news: &mut CronJobStatus) -> kube::Result<()> {
        let (key, uid, name) = (cron.key(), meta::uid(&job.metadata), job.name_any());
        self.jobs.deleting(&key, uid);
        let exactly_this = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(exactly_this),
            ..DeleteParams::default()
        };
        match api::<Job>(&self.client, &key).delete(&name, &params).await {
            Err(error) if !is_not_found(&error) && !is_conflict(&error) => {
                self.jobs.not_deleted(&key, uid);
                let message = format!("Deleted job: {}", describe(&error));
                self.tell(cron, [Note::warning("FailedDelete", message)]);
                Err(error)
            }
            _ => {
                plan::no_longer_active(news, uid);
                self.tell(cron, [Note::normal("SuccessfulDelete", format!("Deleted job {name}"))]);
                Ok(())
            }
        }
    }

    fn tell(&self, cron: &CronJob, notes: impl IntoIterator<Item = Note>) {
        for note in notes {
            note.tell(&self.recorder, cron.object_ref(&()));
        }
    }

    fn failed(&self, action: &'static str, key: &ObjectKey) -> impl FnOnce(kube::Error) -> Error + use<> {
        let cron = key.clone();
        move |source| Error { action, cron, source }
    }
}

fn note_started(cron: &mut CronJob, job: &Job, at: Timestamp) {
    let status = cron.status.get_or_insert_default();
    status.active.get_or_insert_default().push(plan::reference(job));
    status.last_schedule_time = Some(Time(at));
}
