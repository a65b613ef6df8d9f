use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ReplicationController, ReplicationControllerStatus};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::Replicated;
use super::plan::{self, Counts, Scale};
use crate::pods::KnownPod;
use crate::pods::tests::known;
use crate::workload::{PodFailure, claim, pod_of, status};

const NOW: &str = "2026-01-01T00:10:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn rc(replicas: i32) -> ReplicationController {
    serde_json::from_value(json!({
        "metadata": {"name": "kubia", "namespace": "default", "uid": "rc-1", "generation": 2},
        "spec": {
            "replicas": replicas,
            "selector": {"app": "kubia"},
            "template": {"metadata": {"labels": {"app": "kubia", "tier": "web"}}, "spec": {"containers": []}},
        },
    }))
    .unwrap()
}

/// A pod named `name`, selected, owned by `rc-1`, running and ready, with `change` merged over it.
fn pod(name: &str, change: Value) -> Arc<KnownPod> {
    let mut pod = json!({
        "metadata": {
            "name": name, "uid": name, "labels": {"app": "kubia", "tier": "web"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{"apiVersion": "v1", "kind": "ReplicationController", "name": "kubia", "uid": "rc-1",
                                 "controller": true}],
        },
        "spec": {"nodeName": "n1", "containers": []},
        "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    });
    merge(&mut pod, &change);
    Arc::new(known(pod))
}

fn merge(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change.clone(),
    }
}

fn scale(wanted: usize, pods: &[Arc<KnownPod>], deleting: &HashSet<String>) -> Scale {
    plan::scale(wanted, pods, deleting, || pods.to_vec(), now())
}

fn names(pods: &[Arc<KnownPod>]) -> Vec<String> {
    pods.iter().map(|pod| pod.name().to_owned()).collect()
}

#[test]
fn pods_are_claimed_by_controller_and_selector() {
    let pods = [
        pod("mine", json!({})),
        pod("orphan", json!({"metadata": {"ownerReferences": null}})),
        pod("relabelled", json!({"metadata": {"labels": {"app": "other"}}})),
        pod(
            "theirs",
            json!({"metadata": {"ownerReferences": [
            {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x", "controller": true}]}}),
        ),
        pod("stranger", json!({"metadata": {"ownerReferences": null, "labels": {"app": "other"}}})),
        pod("leaving", json!({"metadata": {"deletionTimestamp": NOW, "ownerReferences": null}})),
    ];
    let claims = claim(&rc(3), pods, |selector, pod| selector.selects(pod));
    assert_eq!(names(&claims.owned), ["mine"]);
    assert_eq!(names(&claims.adopt), ["orphan"]);
    assert_eq!(names(&claims.release), ["relabelled"]);
}

#[test]
fn a_controller_being_deleted_neither_adopts_nor_releases() {
    let mut rc = rc(3);
    rc.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    let pods = [
        pod("orphan", json!({"metadata": {"ownerReferences": null}})),
        pod("relabelled", json!({"metadata": {"labels": {"app": "other"}}})),
    ];
    let claims = claim(&rc, pods, |selector, pod| selector.selects(pod));
    assert!(claims.adopt.is_empty() && claims.release.is_empty() && claims.owned.is_empty());
}

#[test]
fn missing_pods_are_created_and_pending_deletions_do_not_count() {
    let pods = [pod("a", json!({})), pod("b", json!({}))];
    assert!(matches!(scale(5, &pods, &HashSet::new()), Scale::Create(3)));
    assert!(matches!(scale(2, &pods, &HashSet::new()), Scale::Nothing));
    assert!(matches!(scale(2, &pods, &HashSet::from(["a".into()])), Scale::Create(1)));
    assert!(matches!(scale(1, &pods, &HashSet::from(["a".into()])), Scale::Nothing));
}

#[test]
fn the_least_useful_pods_go_first() {
    let pods = [
        pod("old", json!({})),
        pod("young", json!({"metadata": {"creationTimestamp": "2026-01-01T00:05:00Z"}})),
        pod("unready", json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})),
        pod("unassigned", json!({"spec": {"nodeName": null}, "status": {"phase": "Pending"}})),
        pod("pending", json!({"status": {"phase": "Pending"}})),
        pod(
            "cheap",
            json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}}),
        ),
        pod(
            "restarted",
            json!({"status": {"containerStatuses": [
            {"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 4}]}}),
        ),
        pod(
            "fresh",
            json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:09:00Z"}]}}),
        ),
    ];
    let Scale::Delete(order) = scale(0, &pods, &HashSet::new()) else { panic!("too many pods") };
    let expected = ["unassigned", "pending", "unready", "cheap", "fresh", "restarted", "young", "old"];
    assert_eq!(names(&order), expected);
}

#[test]
fn status_counts_ready_available_and_labelled() {
    let mut rc = rc(3);
    rc.spec.as_mut().unwrap().min_ready_seconds = Some(60);
    let pods = [
        pod("a", json!({})),
        pod(
            "b",
            json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:09:40Z"}]}}),
        ),
        pod("c", json!({"metadata": {"labels": {"tier": "db"}}, "status": {"conditions": []}})),
    ];
    let counts = plan::count(rc.wants(), &pods, 4, now());
    assert_eq!(counts, Counts { replicas: 3, fully_labeled: 2, ready: 2, available: 1, terminating: 4 });
    assert_eq!(status::next_available(&pods, rc.wants().min_ready, now()).unwrap().as_secs(), 40);
    let reported = rc.reported(counts, None, now()).status.unwrap();
    assert_eq!((reported.available_replicas, reported.observed_generation), (Some(1), Some(2)));
}

#[test]
fn a_failure_is_a_condition_until_it_is_gone() {
    let mut rc = rc(1);
    let failure = PodFailure { reason: "FailedCreate", message: "quota".into() };
    let report = |rc: &ReplicationController, failure: Option<&PodFailure>, now: Timestamp| {
        rc.reported(Counts::default(), failure, now).status.unwrap()
    };
    let failed: ReplicationControllerStatus = report(&rc, Some(&failure), now());
    let condition = &failed.conditions.as_ref().unwrap()[0];
    assert_eq!(
        (condition.type_.as_str(), condition.reason.as_deref()),
        ("ReplicaFailure", Some("FailedCreate"))
    );
    rc.status = Some(failed.clone());
    let later = now() + jiff::SignedDuration::from_secs(5);
    let again = report(&rc, Some(&failure), later);
    assert!(status::says_the_same(Some(&failed), &again), "the time of the condition stays");
    assert!(report(&rc, None, later).conditions.is_none());
}

#[test]
fn pods_come_from_the_template() {
    let rc = rc(1);
    let pod = pod_of(&rc, rc.wants().template.unwrap());
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("kubia-"));
    assert_eq!(pod.labels()["tier"], "web");
    let owner = &pod.owner_references()[0];
    assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("ReplicationController", "rc-1"));
    assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)));
}
