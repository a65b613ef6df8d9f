//! Decisions of the replication controller: which pods are its own, what to create or delete, what to report.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Pod, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;

use crate::meta::{self, Strings};
use crate::pods::{self, DELETION_COST};

/// Most pods that one pass creates or deletes.
const BURST: usize = 500;

/// The pods of a namespace as they relate to one controller.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Controlled and selected.
    pub(super) owned: Vec<Arc<Pod>>,
    /// Selected, controlled by nobody: to be adopted.
    pub(super) adopt: Vec<Arc<Pod>>,
    /// Controlled but no longer selected: to be released.
    pub(super) release: Vec<Arc<Pod>>,
    /// Controlled, and ended for good.
    pub(super) ended: Vec<Arc<Pod>>,
}

/// Sorts `pods` by their relation to `rc`.
pub(super) fn claim(rc: &ReplicationController, all: &[Arc<Pod>]) -> Claims {
    let selector = selector(rc);
    let deleting = rc.metadata.deletion_timestamp.is_some();
    let mut claims = Claims::default();
    for pod in all {
        let selected = meta::selects(&selector, pod.labels());
        let controller = meta::controller_of(&pod.metadata);
        if !pods::is_active(pod) {
            if pods::is_terminal(pod) && controller.is_some_and(|owner| owner.uid == meta::uid(&rc.metadata))
            {
                claims.ended.push(pod.clone());
            }
            continue;
        }
        match controller {
            Some(owner) if owner.uid != meta::uid(&rc.metadata) => {}
            Some(_) if selected => claims.owned.push(pod.clone()),
            Some(_) if !deleting => claims.release.push(pod.clone()),
            None if selected && !deleting => claims.adopt.push(pod.clone()),
            _ => {}
        }
    }
    claims
}

/// The selector, by default the labels of the template.
pub(super) fn selector(rc: &ReplicationController) -> Strings {
    let Some(spec) = &rc.spec else { return Strings::new() };
    let given = spec.selector.clone().filter(|selector| !selector.is_empty());
    given.unwrap_or_else(|| template_meta(rc).labels.unwrap_or_default())
}

fn template_meta(rc: &ReplicationController) -> ObjectMeta {
    let template = rc.spec.as_ref().and_then(|spec| spec.template.as_ref());
    template.and_then(|template| template.metadata.clone()).unwrap_or_default()
}

/// What brings the number of replicas to the desired one.
#[derive(Debug)]
pub(super) enum Scale {
    Nothing,
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

/// Compares the replicas at hand with the desired number. `deleting` are pods whose deletion was asked for already.
pub(super) fn scale(rc: &ReplicationController, owned: &[Arc<Pod>], deleting: &HashSet<String>) -> Scale {
    if rc.metadata.deletion_timestamp.is_some() {
        return Scale::Nothing;
    }
    let wanted = usize::try_from(rc.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)).unwrap_or(0);
    let mut present: Vec<_> =
        owned.iter().filter(|pod| !deleting.contains(meta::uid(&pod.metadata))).cloned().collect();
    if present.len() < wanted {
        return Scale::Create((wanted - present.len()).min(BURST));
    }
    let excess = (present.len() - wanted).min(BURST);
    if excess == 0 {
        return Scale::Nothing;
    }
    rank_for_deletion(&mut present);
    present.truncate(excess);
    Scale::Delete(present)
}

/// Orders pods so that those whose loss matters least come first: unassigned, not running, not ready, cheaper by
/// annotation, sharing a node with more replicas, ready for less long, restarted more, younger.
fn rank_for_deletion(replicas: &mut [Arc<Pod>]) {
    let mut per_node = HashMap::<String, usize>::new();
    for pod in replicas.iter() {
        *per_node.entry(pods::node_name(pod).unwrap_or("").to_owned()).or_default() += 1;
    }
    replicas.sort_by_cached_key(|pod| {
        let phase = match pods::phase(pod) {
            "Running" => 2,
            "Unknown" => 1,
            _ => 0,
        };
        let cost =
            pod.annotations().get(DELETION_COST).and_then(|cost| cost.parse::<i32>().ok()).unwrap_or(0);
        let neighbours = per_node.get(pods::node_name(pod).unwrap_or("")).copied().unwrap_or(0);
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (
            pods::node_name(pod).is_some(),
            phase,
            pods::is_ready(pod),
            cost,
            Reverse(neighbours),
            Reverse(pods::ready_since(pod)),
            Reverse(restarts(pod)),
            Reverse(created),
        )
    });
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|status| status.restart_count).max().unwrap_or(0)
}

/// The pod that the template describes; its name is generated by the server.
pub(super) fn pod_from_template(rc: &ReplicationController) -> Pod {
    let template = template_meta(rc);
    let spec =
        rc.spec.as_ref().and_then(|spec| spec.template.as_ref()).and_then(|template| template.spec.clone());
    let metadata = ObjectMeta {
        generate_name: Some(format!("{}-", rc.name_any())),
        namespace: rc.namespace(),
        labels: template.labels,
        annotations: template.annotations,
        finalizers: template.finalizers,
        owner_references: Some(vec![meta::controller_reference(rc)]),
        ..ObjectMeta::default()
    };
    Pod { metadata, spec, status: None }
}

/// Why the number of replicas could not be brought to the desired one.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// `FailedCreate` or `FailedDelete`.
    pub(super) reason: &'static str,
    /// In the words of the API server.
    pub(super) message: String,
}

/// The status to report for `owned` replicas, and after how long a ready replica will turn available.
pub(super) fn status(
    rc: &ReplicationController,
    owned: &[Arc<Pod>],
    failure: Option<&Failure>,
    now: Timestamp,
) -> (ReplicationControllerStatus, Option<Duration>) {
    let min_ready = rc.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let min_ready = Duration::from_secs(u64::try_from(min_ready).unwrap_or(0));
    let template_labels = template_meta(rc).labels.unwrap_or_default();
    let fully_labeled =
        |pod: &&Arc<Pod>| template_labels.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
    let waits: Vec<Duration> = owned
        .iter()
        .filter(|pod| pods::is_ready(pod))
        .map(|pod| {
            let ready_for = pods::ready_since(pod).map(|since| now.duration_since(since).unsigned_abs());
            min_ready.saturating_sub(ready_for.unwrap_or_default())
        })
        .collect();
    let old = rc.status.clone().unwrap_or_default();
    let status = ReplicationControllerStatus {
        replicas: count(owned.len()),
        fully_labeled_replicas: Some(count(owned.iter().filter(fully_labeled).count())),
        ready_replicas: Some(count(waits.len())),
        available_replicas: Some(count(waits.iter().filter(|wait| wait.is_zero()).count())),
        observed_generation: rc.metadata.generation,
        conditions: conditions(old.conditions, failure, now),
    };
    (status, waits.into_iter().filter(|wait| !wait.is_zero()).min())
}

/// Sets or removes `ReplicaFailure`; the time of an unchanged condition stays.
fn conditions(
    old: Option<Vec<ReplicationControllerCondition>>,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<Vec<ReplicationControllerCondition>> {
    let mut conditions = old.unwrap_or_default();
    match failure {
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
        Some(_) if conditions.iter().any(|condition| condition.type_ == "ReplicaFailure") => {}
        Some(failure) => conditions.push(ReplicationControllerCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some(failure.reason.into()),
            message: Some(failure.message.clone()),
            last_transition_time: Some(Time(now)),
        }),
    }
    Some(conditions).filter(|conditions| !conditions.is_empty())
}

/// Whether `new` says what the stored status says already; an absent count is zero.
pub(super) fn same_status(
    old: Option<&ReplicationControllerStatus>,
    new: &ReplicationControllerStatus,
) -> bool {
    let Some(old) = old else { return false };
    let counts = |status: &ReplicationControllerStatus| {
        let optional = [status.fully_labeled_replicas, status.ready_replicas, status.available_replicas];
        (status.replicas, optional.map(|count| count.unwrap_or(0)), status.observed_generation.unwrap_or(0))
    };
    let conditions = |status: &ReplicationControllerStatus| status.conditions.clone().unwrap_or_default();
    counts(old) == counts(new) && conditions(old) == conditions(new)
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
