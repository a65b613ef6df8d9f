//! The conditions of Jobs.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The types that a Job's conditions have.
pub(crate) const COMPLETE: &str = "Complete";
pub(crate) const FAILED: &str = "Failed";
pub(super) const SUSPENDED: &str = "Suspended";
/// What has been decided while pods are still to end: then it is Complete or Failed.
const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
const FAILURE_TARGET: &str = "FailureTarget";

/// How a Job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) reason: String,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
}

impl Ending {
    pub(super) fn success(reason: &str, message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Success, reason: reason.into(), message: message.into() }
    }

    pub(super) fn failure(reason: &str, message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failure, reason: reason.into(), message: message.into() }
    }

    /// What was decided before.
    pub(super) fn decided(status: &JobStatus) -> Option<Self> {
        let decided = |type_, outcome| {
            let condition = find(status, type_).filter(|condition| condition.status == "True")?;
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            Some(Self { outcome, reason: text(&condition.reason), message: text(&condition.message) })
        };
        decided(SUCCESS_CRITERIA_MET, Outcome::Success).or_else(|| decided(FAILURE_TARGET, Outcome::Failure))
    }

    /// Writes down that it is decided. Returns whether that is news.
    pub(super) fn decide(&self, status: &mut JobStatus, now: Timestamp) -> bool {
        let type_ = match self.outcome {
            Outcome::Success => SUCCESS_CRITERIA_MET,
            Outcome::Failure => FAILURE_TARGET,
        };
        let news = Self::decided(status).is_none();
        if news {
            set(status, type_, true, &self.reason, &self.message, now);
        }
        news
    }

    /// Writes down that the Job has ended so.
    pub(super) fn conclude(&self, status: &mut JobStatus, now: Timestamp) {
        let type_ = match self.outcome {
            Outcome::Success => COMPLETE,
            Outcome::Failure => FAILED,
        };
        set(status, type_, true, &self.reason, &self.message, now);
        if self.outcome == Outcome::Success {
            status.completion_time = Some(written(now));
        }
    }
}

/// Sets a condition, or makes it. One that was never True is not made False. Returns whether anything changed.
pub(super) fn set(
    status: &mut JobStatus,
    type_: &str,
    is_true: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> bool {
    let conditions = status.conditions.get_or_insert_default();
    let condition = JobCondition {
        type_: type_.into(),
        status: if is_true { "True" } else { "False" }.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(written(now)),
        last_transition_time: Some(written(now)),
    };
    let says = |one: &JobCondition| (one.status.clone(), one.reason.clone(), one.message.clone());
    match conditions.iter_mut().find(|one| one.type_ == type_) {
        Some(old) if says(old) == says(&condition) => return false,
        Some(old) => *old = condition,
        None if is_true => conditions.push(condition),
        None => return false,
    }
    true
}

fn find<'a>(status: &'a JobStatus, type_: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

/// The condition by which a Job has ended, if it has.
pub(crate) fn finished(job: &Job) -> Option<&JobCondition> {
    let status = job.status.as_ref()?;
    let ended = |condition: &&JobCondition| {
        matches!(condition.type_.as_str(), COMPLETE | FAILED) && condition.status == "True"
    };
    status.conditions.iter().flatten().find(ended)
}

/// A time as objects hold it, in whole seconds.
pub(super) fn written(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}
