//! What a CronJob does now, and what it says of the Jobs that it started.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use skiff_machinery::go;

use super::clock::{self, Clock, NoClock};
use crate::job::conditions::{COMPLETE, FAILED, finished};
use crate::meta;
use crate::notes::Note;

/// On each Job: the time for which it was started.
const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing, until something changes.
    Idle,
    /// Nothing before the next time.
    Wait(Option<Duration>),
    /// A Job for that time.
    Start(Timestamp),
}

/// Looks at the clock. `cron` has the status as it is by now; one that names no zone goes by `local` time.
pub(super) fn decide(cron: &CronJob, local: &TimeZone, now: Timestamp) -> (Decision, Vec<Note>) {
    let mut notes = Vec::new();
    let decision = look(cron, local, now, &mut notes);
    (decision, notes)
}

fn look(cron: &CronJob, local: &TimeZone, now: Timestamp, notes: &mut Vec<Note>) -> Decision {
    let spec = &cron.spec;
    if cron.metadata.deletion_timestamp.is_some() {
        return Decision::Idle;
    }
    let clock = Clock::of(cron, local);
    if let Err(NoClock::Zone(why)) = clock {
        notes.push(Note::warning("UnknownTimeZone", why));
        return Decision::Idle;
    }
    if spec.suspend == Some(true) {
        return Decision::Idle;
    }
    let schedule = &spec.schedule;
    if schedule.contains("TZ") {
        let quoted = go::quoted(schedule);
        let message = format!(
            "CRON_TZ or TZ used in schedule {quoted} is not officially supported, see \
             https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        );
        notes.push(Note::warning("UnsupportedSchedule", message));
    }
    let clock = match clock {
        Ok(clock) => clock,
        Err(NoClock::Schedule(why)) => {
            let message = format!("unparseable schedule: {} : {why}", go::quoted(schedule));
            notes.push(Note::warning("UnparseableSchedule", message));
            return Decision::Idle;
        }
        Err(NoClock::Zone(_)) => return Decision::Idle,
    };
    let latest = match clock.latest(cron, now, true) {
        Ok(latest) => latest,
        Err(why) => {
            notes.push(Note::warning("InvalidSchedule", format!("invalid schedule: {schedule} : {why}")));
            return Decision::Idle;
        }
    };
    let waits = || Decision::Wait(clock.wait(cron, now));
    let Some(at) = latest.at else { return waits() };
    if latest.missed_many() {
        let message =
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        notes.push(Note::warning("TooManyMissedTimes", message));
    }
    if may_start(cron, at, now, notes) { Decision::Start(at) } else { waits() }
}

fn may_start(cron: &CronJob, at: Timestamp, now: Timestamp, notes: &mut Vec<Note>) -> bool {
    let spec = &cron.spec;
    let late_by = now.duration_since(at).as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a deadline of so many seconds never comes")]
    let too_late = spec.starting_deadline_seconds.is_some_and(|deadline| late_by > deadline as f64);
    if too_late {
        let at = at.strftime("%a, %d %b %Y %H:%M:%S +0000");
        let message = format!("Missed scheduled time to start a job: {at}");
        notes.push(Note::warning("MissSchedule", message));
        return false;
    }
    let active = || active(cron);
    let name = job_name(cron, at);
    let last = cron.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    let is_started =
        active().any(|job| job.name.as_deref() == Some(&name)) || last.is_some_and(|last| last.0 == at);
    if is_started {
        return false;
    }
    if spec.concurrency_policy.as_deref() == Some("Forbid") && active().next().is_some() {
        let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
        notes.push(Note::normal("JobAlreadyActive", message));
        return false;
    }
    true
}

/// The Jobs that the status calls active.
pub(super) fn active(cron: &CronJob) -> impl Iterator<Item = &ObjectReference> {
    cron.status.iter().flat_map(|status| status.active.iter().flatten())
}

/// After how long a CronJob whose schedule has changed is looked at: what the new one would have started before is not made up
/// for. `Err` if it cannot be read.
pub(super) fn wait_for_changed(
    cron: &CronJob,
    local: &TimeZone,
    now: Timestamp,
) -> Result<Option<Duration>, Note> {
    match Clock::of(cron, local) {
        Ok(clock) => Ok(clock.wait(cron, now)),
        Err(NoClock::Zone(_)) => Ok(Some(Duration::ZERO)),
        Err(NoClock::Schedule(_)) => {
            let message = format!("unparseable schedule for cronjob: {}", cron.spec.schedule);
            Err(Note::warning("UnParseableCronJobSchedule", message))
        }
    }
}

/// What the Jobs of a CronJob tell.
#[derive(Debug, Default)]
pub(super) struct Reckoning {
    pub(super) notes: Vec<Note>,
    /// Jobs that are at work, and that the status does not know of.
    pub(super) unexpected: Vec<String>,
    /// Jobs that the status calls active, and that are not there.
    pub(super) missing: Vec<ObjectReference>,
}

/// Brings `status` up to date with the Jobs that there are.
pub(super) fn reckon(status: &mut CronJobStatus, jobs: &[Arc<Job>]) -> Reckoning {
    let mut reckoning = Reckoning::default();
    for job in jobs {
        let is_active = |job: &Job| {
            let mut active = status.active.iter().flatten();
            active.any(|one| one.uid.as_deref() == Some(meta::uid(&job.metadata)))
        };
        let Some(condition) = finished(job) else {
            if !is_active(job) {
                reckoning.unexpected.push(job.name_any());
            }
            continue;
        };
        if is_active(job) {
            let (name, condition) = (job.name_any(), &condition.type_);
            let message = format!("Saw completed job: {name}, condition: {condition}");
            reckoning.notes.push(Note::normal("SawCompletedJob", message));
            no_longer_active(status, meta::uid(&job.metadata));
        }
        let completed = job.status.as_ref().and_then(|status| status.completion_time.clone());
        if condition.type_ == COMPLETE && completed > status.last_successful_time {
            status.last_successful_time = completed;
        }
    }
    let there: HashSet<&str> = jobs.iter().map(|job| meta::uid(&job.metadata)).collect();
    let missing = status.active.iter().flatten();
    let missing = missing.filter(|one| one.uid.as_deref().is_none_or(|uid| !there.contains(uid)));
    reckoning.missing = missing.cloned().collect();
    reckoning
}

pub(super) fn no_longer_active(status: &mut CronJobStatus, uid: &str) {
    if let Some(active) = &mut status.active {
        active.retain(|one| one.uid.as_deref() != Some(uid));
    }
    status.active = status.active.take().filter(|active| !active.is_empty());
}

/// Jobs that have ended and are more than shall be kept, the oldest first.
pub(super) fn surplus(cron: &CronJob, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let spec = &cron.spec;
    let oldest = |type_: &str, limit: Option<i32>| {
        let Some(limit) = limit else { return Vec::new() };
        let ended = |job: &&Arc<Job>| finished(job).is_some_and(|condition| condition.type_ == type_);
        let mut ended: Vec<Arc<Job>> = jobs.iter().filter(ended).cloned().collect();
        ended.sort_by_cached_key(|job| {
            let started = job.status.as_ref().and_then(|status| status.start_time.as_ref());
            // Those that were never started come last.
            (started.is_none(), started.map(|time| time.0), job.name_any())
        });
        let kept = usize::try_from(limit).unwrap_or(0);
        ended.truncate(ended.len().saturating_sub(kept));
        ended
    };
    let mut surplus = oldest(COMPLETE, spec.successful_jobs_history_limit);
    surplus.extend(oldest(FAILED, spec.failed_jobs_history_limit));
    surplus
}

/// The name of the Job for a time: the same time never starts two.
fn job_name(cron: &CronJob, at: Timestamp) -> String {
    format!("{}-{}", cron.name_any(), at.as_second().div_euclid(60))
}

/// The Job for a time.
pub(super) fn job(cron: &CronJob, at: Timestamp) -> Job {
    let template = cron.spec.job_template.clone();
    let of_template = template.metadata.unwrap_or_default();
    let zone = cron.spec.time_zone.as_deref().unwrap_or("");
    let zoned = at.to_zoned(clock::zone(zone).unwrap_or(TimeZone::UTC));
    let scheduled = zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z");
    let mut annotations = of_template.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED_AT.into(), scheduled);
    let metadata = ObjectMeta {
        name: Some(job_name(cron, at)),
        namespace: cron.namespace(),
        labels: of_template.labels,
        annotations: Some(annotations),
        owner_references: Some(vec![meta::controller_reference(cron)]),
        ..ObjectMeta::default()
    };
    Job { metadata, spec: template.spec, status: None }
}

/// How a status refers to an active Job.
pub(super) fn reference(job: &Job) -> ObjectReference {
    ObjectReference { resource_version: job.resource_version(), ..job.object_ref(&()) }
}
