//! What a Deployment says of itself: counts, and whether it gets on.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSetCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::model::{Member, Wants, sum};
use crate::workload::conditions;

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Why a Deployment counts as getting on, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    NewReplicaSetCreated,
    FoundNewReplicaSet,
    ReplicaSetUpdated,
    NewReplicaSetAvailable,
    ProgressDeadlineExceeded,
    ReplicaSetCreateError,
    DeploymentPaused,
    DeploymentResumed,
}

impl Progress {
    fn reason(self) -> &'static str {
        match self {
            Self::NewReplicaSetCreated => "NewReplicaSetCreated",
            Self::FoundNewReplicaSet => "FoundNewReplicaSet",
            Self::ReplicaSetUpdated => "ReplicaSetUpdated",
            Self::NewReplicaSetAvailable => "NewReplicaSetAvailable",
            Self::ProgressDeadlineExceeded => "ProgressDeadlineExceeded",
            Self::ReplicaSetCreateError => "ReplicaSetCreateError",
            Self::DeploymentPaused => "DeploymentPaused",
            Self::DeploymentResumed => "DeploymentResumed",
        }
    }

    fn status(self) -> &'static str {
        match self {
            Self::ProgressDeadlineExceeded | Self::ReplicaSetCreateError => "False",
            Self::DeploymentPaused | Self::DeploymentResumed => "Unknown",
            _ => "True",
        }
    }
}

fn condition(kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_transition_time: Some(Time(now)),
        last_update_time: Some(Time(now)),
    }
}

fn all(status: &DeploymentStatus) -> &[DeploymentCondition] {
    status.conditions.as_deref().unwrap_or(&[])
}

/// The condition that tells how the rollout gets on.
pub(super) fn progressing(status: &DeploymentStatus) -> Option<&DeploymentCondition> {
    conditions::find(all(status), PROGRESSING)
}

fn is_so(status: &DeploymentStatus, progress: Progress) -> bool {
    progressing(status).is_some_and(|condition| condition.reason.as_deref() == Some(progress.reason()))
}

/// Says how the rollout gets on.
pub(super) fn say(status: &mut DeploymentStatus, progress: Progress, message: &str, now: Timestamp) {
    let new = condition(PROGRESSING, progress.status(), progress.reason(), message, now);
    conditions::set(status.conditions.get_or_insert_default(), new);
}

/// Says that the Deployment is paused, or no longer, so that the time in between counts as no lack of progress.
pub(super) fn say_paused(status: &mut DeploymentStatus, wants: &Wants<'_>, now: Timestamp) {
    if wants.deadline().is_none() || is_so(status, Progress::ProgressDeadlineExceeded) {
        return;
    }
    match (wants.spec.paused.unwrap_or(false), is_so(status, Progress::DeploymentPaused)) {
        (true, false) => say(status, Progress::DeploymentPaused, "Deployment is paused", now),
        (false, true) => say(status, Progress::DeploymentResumed, "Deployment is resumed", now),
        _ => {}
    }
}

/// Counts what the ReplicaSets say, and judges by it whether enough is available.
pub(super) fn counted(
    deployment: &Deployment,
    wants: &Wants<'_>,
    before: &DeploymentStatus,
    members: &[&Member],
    new: Option<&Member>,
    now: Timestamp,
) -> DeploymentStatus {
    let every = || members.iter().copied();
    let available = sum(every(), Member::available);
    let ready =
        |member: &Member| member.set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(sum(every(), Member::actual)),
        updated_replicas: Some(new.map_or(0, Member::actual)),
        ready_replicas: Some(sum(every(), ready)),
        available_replicas: Some(available),
        unavailable_replicas: Some((sum(every(), Member::replicas) - available).max(0)),
        terminating_replicas: terminating(members),
        collision_count: before.collision_count,
        conditions: before.conditions.clone(),
    };
    let (value, reason, message) = if available >= wants.least() {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    let new = condition(AVAILABLE, value, reason, message, now);
    conditions::set(status.conditions.get_or_insert_default(), new);
    status
}

/// The pods that are going, unless a ReplicaSet that was looked after says nothing of them.
fn terminating(members: &[&Member]) -> Option<i32> {
    let of = |member: &&Member| {
        let status = member.set.status.as_ref();
        let terminating = status.and_then(|status| status.terminating_replicas);
        let looked_after = status.and_then(|status| status.observed_generation).unwrap_or(0) != 0;
        if looked_after { terminating } else { Some(terminating.unwrap_or(0)) }
    };
    members.iter().map(of).sum()
}

/// Whether all replicas are of the present template and available, and no others are left.
pub(super) fn is_complete(deployment: &Deployment, wants: &Wants<'_>, status: &DeploymentStatus) -> bool {
    let all = [status.updated_replicas, status.replicas, status.available_replicas];
    all.iter().all(|number| number.unwrap_or(0) == wants.replicas)
        && status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0)
}

/// Whether anything got better from `before` to `after`.
fn has_moved(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let number =
        |field: fn(&DeploymentStatus) -> Option<i32>| (field(before).unwrap_or(0), field(after).unwrap_or(0));
    let grew = |(before, after): (i32, i32)| after > before;
    let old = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    grew(number(|status| status.updated_replicas))
        || old(after) < old(before)
        || grew(number(|status| status.ready_replicas))
        || grew(number(|status| status.available_replicas))
}

/// Until when a rollout that does not move has time, if it has a deadline.
fn due(wants: &Wants<'_>, condition: &DeploymentCondition) -> Option<Timestamp> {
    let updated = condition.last_update_time.as_ref()?.0;
    updated.checked_add(SignedDuration::from_secs(i64::from(wants.deadline()?))).ok()
}

fn has_timed_out(wants: &Wants<'_>, status: &DeploymentStatus, now: Timestamp) -> bool {
    let Some(condition) = progressing(status) else { return false };
    if is_so(status, Progress::NewReplicaSetAvailable) {
        return false;
    }
    is_so(status, Progress::ProgressDeadlineExceeded) || due(wants, condition).is_some_and(|due| due < now)
}

/// Judges a rollout: whether it is done, moves, or has stood for too long, and whether pods cannot be made.
pub(super) fn judge(
    deployment: &Deployment,
    wants: &Wants<'_>,
    before: &DeploymentStatus,
    status: &mut DeploymentStatus,
    (members, new): (&[&Member], Option<&Member>),
    now: Timestamp,
) {
    if wants.deadline().is_none() {
        conditions::remove(status.conditions.get_or_insert_default(), PROGRESSING);
    }
    let done_before =
        status.replicas == status.updated_replicas && is_so(before, Progress::NewReplicaSetAvailable);
    if wants.deadline().is_some() && !done_before {
        let what = match new {
            Some(new) => format!("ReplicaSet {:?}", new.name()),
            None => format!("Deployment {:?}", deployment.name_any()),
        };
        if is_complete(deployment, wants, status) {
            let message = format!("{what} has successfully progressed.");
            say(status, Progress::NewReplicaSetAvailable, &message, now);
        } else if has_moved(before, status) {
            say_moved(status, &format!("{what} is progressing."), now);
        } else if has_timed_out(wants, status, now) {
            let message = format!("{what} has timed out progressing.");
            say(status, Progress::ProgressDeadlineExceeded, &message, now);
        }
    }
    let conditions = status.conditions.get_or_insert_default();
    match failure(members, new) {
        Some(failure) => conditions::set(conditions, failure),
        None => conditions::remove(conditions, REPLICA_FAILURE),
    }
}

/// Says that it moves; when it last moved changes each time, since when it has been moving does not.
fn say_moved(status: &mut DeploymentStatus, message: &str, now: Timestamp) {
    let progress = Progress::ReplicaSetUpdated;
    let mut new = condition(PROGRESSING, progress.status(), progress.reason(), message, now);
    if let Some(old) = progressing(status).filter(|old| old.status == "True") {
        new.last_transition_time = old.last_transition_time.clone();
    }
    let conditions = status.conditions.get_or_insert_default();
    conditions::remove(conditions, PROGRESSING);
    conditions::set(conditions, new);
}

/// The failure of the new ReplicaSet, else of any, as the Deployment's.
fn failure(members: &[&Member], new: Option<&Member>) -> Option<DeploymentCondition> {
    let of = |member: &Member| -> Option<ReplicaSetCondition> {
        let conditions = member.set.status.as_ref()?.conditions.as_deref()?;
        conditions::find(conditions, REPLICA_FAILURE).cloned()
    };
    let failed = new.and_then(of).or_else(|| members.iter().find_map(|member| of(member)))?;
    Some(DeploymentCondition {
        type_: failed.type_,
        status: failed.status,
        last_update_time: failed.last_transition_time.clone(),
        last_transition_time: failed.last_transition_time,
        reason: failed.reason,
        message: failed.message,
    })
}

/// In how many seconds a rollout may have stood for too long.
pub(super) fn look_in(
    deployment: &Deployment,
    wants: &Wants<'_>,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<i64> {
    let condition = progressing(status)?;
    if is_complete(deployment, wants, status) || is_so(status, Progress::ProgressDeadlineExceeded) {
        return None;
    }
    let left = due(wants, condition)?.duration_since(now).as_secs();
    Some(left.max(0) + 1)
}
