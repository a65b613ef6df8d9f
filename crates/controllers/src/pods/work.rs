//! What the Job controller reads of a pod, kept only of those that Jobs made.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodSpec, PodStatus};
use kube::ResourceExt;

use crate::meta;

/// On pods that their Job has yet to count.
pub(crate) const TRACKING_FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Which part of an indexed Job the pod does: an annotation, and a label.
pub(crate) const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// How many pods of the index failed before this one: annotations.
pub(crate) const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub(crate) const INDEX_IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// A pod as part of a Job's work.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Work {
    /// Whether the Job has yet to count it.
    pub(crate) tracked: bool,
    /// Its part of an indexed Job.
    pub(crate) index: Option<u32>,
    /// How many pods failed before it at that part: those that count, and those that a policy ignores.
    pub(crate) failures: i32,
    pub(crate) ignored_failures: i32,
    /// When it ended, as well as can be told.
    pub(crate) finished: Option<Timestamp>,
    /// How often its containers were started again.
    pub(crate) restarts: i32,
    /// Containers that ended with another code than 0, init containers last.
    pub(crate) exits: Box<[Exit]>,
    /// Type and status of its conditions.
    pub(crate) conditions: Box<[(Box<str>, Box<str>)]>,
}

/// The end of a container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exit {
    pub(crate) container: Box<str>,
    pub(crate) code: i32,
}

impl Work {
    /// `None` for a pod that no Job has to do with.
    pub(super) fn of(pod: &Pod, spec: &PodSpec, status: &PodStatus) -> Option<Box<Self>> {
        let tracked = pod.finalizers().iter().any(|finalizer| finalizer == TRACKING_FINALIZER);
        let of_job = meta::controller_of(&pod.metadata).is_some_and(|owner| owner.kind == "Job");
        if !tracked && !of_job {
            return None;
        }
        let count = |name| annotation(pod, name).unwrap_or(0);
        let containers = || status.container_statuses.iter().flatten();
        let all = || containers().chain(status.init_container_statuses.iter().flatten());
        let conditions = status.conditions.iter().flatten();
        Some(Box::new(Self {
            tracked,
            index: annotation(pod, COMPLETION_INDEX).and_then(|index| u32::try_from(index).ok()),
            failures: count(INDEX_FAILURES),
            ignored_failures: count(INDEX_IGNORED_FAILURES),
            finished: finished(pod, spec, status),
            restarts: all().map(|container| container.restart_count).sum(),
            exits: all().filter_map(exit).collect(),
            conditions: conditions
                .map(|one| (one.type_.as_str().into(), one.status.as_str().into()))
                .collect(),
        }))
    }
}

/// A number that is not negative.
fn annotation(pod: &Pod, name: &str) -> Option<i32> {
    pod.annotations().get(name)?.parse().ok().filter(|number| *number >= 0)
}

fn exit(status: &ContainerStatus) -> Option<Exit> {
    let code = status.state.as_ref()?.terminated.as_ref()?.exit_code;
    (code != 0).then(|| Exit { container: status.name.as_str().into(), code })
}

/// When the last of its containers ended, sidecars included; else when it stopped being ready; else when its deletion was
/// asked for; else when it was created.
fn finished(pod: &Pod, spec: &PodSpec, status: &PodStatus) -> Option<Timestamp> {
    let sidecar = |name: &str| {
        let mut init = spec.init_containers.iter().flatten();
        init.any(|init| init.name == name && init.restart_policy.as_deref() == Some("Always"))
    };
    let sidecars = status.init_container_statuses.iter().flatten().filter(|status| sidecar(&status.name));
    let ends: Option<Vec<Timestamp>> =
        status.container_statuses.iter().flatten().chain(sidecars).map(ended).collect();
    let unready = || {
        let mut conditions = status.conditions.iter().flatten();
        let ready = conditions.find(|condition| condition.type_ == "Ready" && condition.status == "False")?;
        ready.last_transition_time.as_ref().map(|time| time.0)
    };
    let deleted = || {
        let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
        pod.metadata.deletion_timestamp.as_ref().and_then(|time| time.0.checked_sub(grace).ok())
    };
    let created = || pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    ends.and_then(|ends| ends.into_iter().max()).or_else(unready).or_else(deleted).or_else(created)
}

fn ended(status: &ContainerStatus) -> Option<Timestamp> {
    Some(status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::known;
    use super::*;

    /// The work of a pod with the finalizer, at that time of day.
    fn finished_at(change: Value) -> String {
        let mut pod = json!({"metadata": {
            "finalizers": [TRACKING_FINALIZER], "creationTimestamp": "2026-01-01T00:00:00Z"}});
        pod["status"] = change["status"].clone();
        pod["spec"] = json!({"containers": [], "initContainers": [
            {"name": "side", "restartPolicy": "Always"}, {"name": "setup"}]});
        if let Some(deleted) = change.get("deletionTimestamp") {
            pod["metadata"]["deletionTimestamp"] = deleted.clone();
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        }
        known(pod).work().unwrap().finished.unwrap().strftime("%H:%M:%S").to_string()
    }

    fn container(name: &str, finished: &str) -> Value {
        json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {
            "terminated": {"exitCode": 1, "finishedAt": format!("2026-01-01T{finished}Z")}}})
    }

    #[test]
    fn pods_end_when_their_last_container_does() {
        let running = json!({"name": "b", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                             "state": {"running": {}}});
        let ready =
            json!([{"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:07:00Z"}]);
        let check = |change: Value, expected: &str| assert_eq!(finished_at(change), expected);
        check(json!({}), "00:00:00");
        check(json!({"deletionTimestamp": "2026-01-01T00:01:00Z"}), "00:00:30");
        check(json!({"status": {"conditions": ready}}), "00:07:00");
        check(
            json!({"status": {"conditions": ready, "containerStatuses": [container("a", "00:03:00"), running]}}),
            "00:07:00",
        );
        check(
            json!({"status": {"conditions": ready, "containerStatuses": [
                container("a", "00:03:00"), container("b", "00:02:00")]}}),
            "00:03:00",
        );
        check(
            json!({"status": {"containerStatuses": [container("a", "00:03:00")],
                              "initContainerStatuses": [container("side", "00:04:00"), container("setup", "00:09:00")]}}),
            "00:04:00",
        );
    }

    #[test]
    fn only_pods_of_jobs_have_any() {
        assert!(known(json!({"metadata": {"name": "p"}})).work().is_none());
        let owner =
            json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u", "controller": true}]);
        let pod = known(json!({"metadata": {"ownerReferences": owner, "annotations": {
            COMPLETION_INDEX: "3", INDEX_FAILURES: "2", INDEX_IGNORED_FAILURES: "-1"}}}));
        let work = pod.work().unwrap();
        assert_eq!((work.tracked, work.index, work.failures, work.ignored_failures), (false, Some(3), 2, 0));
    }
}
