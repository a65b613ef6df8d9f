//! What a Job asks for.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, PodFailurePolicy, SuccessPolicy};

use crate::pods::work::Work;
use crate::pods::{KnownPod, Phase};

/// The controller that a Job names which this one works on.
const THIS_CONTROLLER: &str = "kubernetes.io/job-controller";

/// A Job's `spec`, with what it leaves out filled in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    /// `None`: done when one pod succeeds, and the others have ended.
    pub(super) completions: Option<u32>,
    pub(super) parallelism: usize,
    /// Whether each completion has an index of its own.
    pub(super) indexed: bool,
    pub(super) backoff_limit: u32,
    /// How many pods of an index may fail; only of indexed ones.
    pub(super) limit_per_index: Option<i32>,
    pub(super) max_failed_indexes: Option<u32>,
    pub(super) failure_policy: Option<&'a PodFailurePolicy>,
    pub(super) success_policy: Option<&'a SuccessPolicy>,
    pub(super) suspended: bool,
    /// How long it may be at work.
    pub(super) deadline: Option<Duration>,
    /// Whether pods that are about to end are replaced only when they have.
    pub(super) replaces_only_failed: bool,
    /// Whether containers that fail are started again.
    pub(super) restarts_containers: bool,
    /// Whether its deletion has begun.
    pub(super) deleting: bool,
}

impl<'a> Wish<'a> {
    /// `None` for a Job without `spec`, or with a completion mode that nobody knows.
    pub(super) fn of(job: &'a Job) -> Option<Self> {
        let spec = job.spec.as_ref()?;
        let number = |value: Option<i32>| value.map(|value| u32::try_from(value).unwrap_or(0));
        let indexed = match spec.completion_mode.as_deref() {
            None | Some("" | "NonIndexed") => false,
            Some("Indexed") => true,
            Some(_) => return None,
        };
        let template = spec.template.spec.as_ref();
        let limits_indexes = spec.backoff_limit_per_index.is_some();
        let seconds = |seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Some(Self {
            completions: if indexed {
                Some(number(spec.completions).unwrap_or(0))
            } else {
                number(spec.completions)
            },
            parallelism: usize::try_from(spec.parallelism.unwrap_or(1)).unwrap_or(0),
            indexed,
            backoff_limit: number(spec.backoff_limit).unwrap_or(if limits_indexes { u32::MAX } else { 6 }),
            limit_per_index: spec.backoff_limit_per_index.filter(|_| indexed),
            max_failed_indexes: number(spec.max_failed_indexes),
            failure_policy: spec.pod_failure_policy.as_ref(),
            success_policy: spec.success_policy.as_ref(),
            suspended: spec.suspend == Some(true),
            deadline: spec.active_deadline_seconds.map(seconds),
            replaces_only_failed: spec.pod_failure_policy.is_some()
                || spec.pod_replacement_policy.as_deref() == Some("Failed"),
            restarts_containers: template
                .is_some_and(|pod| pod.restart_policy.as_deref() == Some("OnFailure")),
            deleting: job.metadata.deletion_timestamp.is_some(),
        })
    }

    /// Whether the pod counts as failed. One that is deleted may never come to fail.
    pub(super) fn has_failed(&self, pod: &KnownPod) -> bool {
        match pod.phase() {
            Phase::Failed => true,
            Phase::Succeeded => false,
            _ => pod.is_deleting() && !self.replaces_only_failed,
        }
    }

    /// The index that the pod works at, if there is such one.
    pub(super) fn index_of(&self, work: &Work) -> Option<u32> {
        work.index.filter(|index| self.completions.is_some_and(|completions| *index < completions))
    }

    /// Whether the pod counts at all: of an indexed Job those with an index do.
    pub(super) fn counts(&self, work: &Work) -> bool {
        !self.indexed || self.index_of(work).is_some()
    }

    /// How long it may be at work still; `None` without end.
    pub(super) fn time_left(&self, job: &Job, now: Timestamp) -> Option<Duration> {
        let started = job.status.as_ref().and_then(|status| status.start_time.as_ref());
        let deadline = self.deadline.filter(|_| !self.suspended)?;
        let elapsed = now.duration_since(started.map_or(now, |time| time.0));
        Some(deadline.saturating_sub(Duration::try_from(elapsed).unwrap_or_default()))
    }
}

/// Whether another controller works on the Job.
pub(super) fn is_foreign(job: &Job) -> bool {
    let manager = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
    manager.is_some_and(|manager| manager != THIS_CONTROLLER)
}
