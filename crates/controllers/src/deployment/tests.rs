use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::model::{Plan, Write, reported};
use super::plan::plan;
use crate::workload::template;

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

/// A Deployment of image `image`, with `change` merged over its spec.
fn deployment(replicas: i32, image: &str, change: Value) -> Deployment {
    let mut spec = json!({
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "template": {"metadata": {"labels": {"app": "web"}},
                     "spec": {"containers": [{"name": "c", "image": image}]}},
    });
    for (key, value) in change.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let metadata = json!({"name": "web", "namespace": "default", "uid": "d", "generation": 2});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

/// A ReplicaSet of image `image`, created in that minute, with so many pods, of which so many are available, scaled when the
/// Deployment asked for `desired` and could have `most`.
fn set(
    image: &str,
    minute: i64,
    (replicas, available): (i32, i32),
    (desired, most): (i32, i32),
) -> Arc<ReplicaSet> {
    let hash = format!("h{image}");
    let set = json!({
        "metadata": {
            "name": format!("web-{hash}"), "namespace": "default", "uid": hash, "generation": 1,
            "creationTimestamp": format!("2026-01-01T00:{minute:02}:00Z"),
            "annotations": {
                "deployment.kubernetes.io/revision": minute.to_string(),
                "deployment.kubernetes.io/desired-replicas": desired.to_string(),
                "deployment.kubernetes.io/max-replicas": most.to_string(),
            },
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web", "pod-template-hash": hash}},
            "template": {"metadata": {"labels": {"app": "web", "pod-template-hash": hash}},
                         "spec": {"containers": [{"name": "c", "image": image}]}},
        },
        "status": {"replicas": replicas, "readyReplicas": available, "availableReplicas": available,
                   "observedGeneration": 1},
    });
    Arc::new(serde_json::from_value(set).unwrap())
}

fn planned(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Plan {
    plan(deployment, sets, |_| false, now()).unwrap()
}

/// The writes, with the image for the name: `+x=3` created, `x:3>5` scaled, `x` changed otherwise, `-x` deleted.
fn writes(plan: &Plan) -> Vec<String> {
    let image = |set: &ReplicaSet| {
        let spec = set.spec.as_ref().unwrap().template.as_ref().unwrap().spec.as_ref().unwrap();
        spec.containers[0].image.clone().unwrap()
    };
    let one = |write: &Write| match write {
        Write::Create(set) => format!("+{}={}", image(set), set.spec.as_ref().unwrap().replicas.unwrap()),
        Write::Update { set, from, to } if from == to => image(set),
        Write::Update { set, from, to } => format!("{}:{from}>{to}", image(set)),
        Write::Delete(name) => format!("-{}", name.trim_start_matches("web-h")),
    };
    plan.writes.iter().map(one).collect()
}

fn condition<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<(&'a str, &'a str)> {
    let found = status.conditions.iter().flatten().find(|condition| condition.type_ == kind)?;
    Some((found.status.as_str(), found.reason.as_deref().unwrap_or("")))
}

#[test]
fn the_first_replica_set_has_the_template_with_its_hash() {
    let deployment = deployment(3, "a", json!({}));
    let plan = planned(&deployment, &[]);
    assert_eq!(writes(&plan), ["+a=3"]);
    let Write::Create(set) = &plan.writes[0] else { panic!() };
    let hash = template::hash(&deployment.spec.as_ref().unwrap().template, None);
    assert_eq!(set.name_any(), format!("web-{hash}"));
    assert_eq!(set.labels()["pod-template-hash"], hash);
    assert_eq!(set.annotations()["deployment.kubernetes.io/revision"], "1");
    assert_eq!(set.annotations()["deployment.kubernetes.io/max-replicas"], "4");
    let spec = set.spec.as_ref().unwrap();
    assert_eq!(spec.selector.match_labels.as_ref().unwrap()["pod-template-hash"], hash);
    assert_eq!(plan.revision.as_deref(), Some("1"));
    assert_eq!(condition(&plan.status, "Progressing"), Some(("True", "NewReplicaSetCreated")));
    assert_eq!(condition(&plan.status, "Available"), Some(("False", "MinimumReplicasUnavailable")));
    assert_eq!(plan.status.unavailable_replicas, Some(3));
    let reported = reported(&deployment, &plan);
    assert_eq!(reported.annotations()["deployment.kubernetes.io/revision"], "1");
}

#[test]
fn a_rolling_update_stays_within_surge_and_unavailable() {
    let check = |replicas: i32, sets: &[Arc<ReplicaSet>], expected: &[&str]| {
        let wants = deployment(replicas, "b", json!({}));
        assert_eq!(writes(&planned(&wants, sets)), expected);
    };
    let size = (10, 13);
    // The new one gets the surge; as many old ones as may be missing go at once.
    check(10, &[set("a", 1, (10, 10), size)], &["+b=3", "a:10>8"]);
    check(10, &[set("a", 1, (8, 8), size), set("b", 2, (3, 0), size)], &["b:3>5"]);
    check(10, &[set("a", 1, (8, 8), size), set("b", 2, (5, 0), size)], &[]);
    check(10, &[set("a", 1, (8, 8), size), set("b", 2, (5, 2), size)], &["a:8>6"]);
    check(10, &[set("a", 1, (3, 3), size), set("b", 2, (10, 8), size)], &["a:3>0"]);
    check(10, &[set("a", 1, (0, 0), size), set("b", 2, (10, 10), size)], &[]);
    // What is not available anyway goes first.
    check(10, &[set("a", 1, (8, 5), size), set("b", 2, (5, 0), size)], &[]);
    check(10, &[set("a", 1, (10, 6), size), set("b", 2, (3, 3), size)], &["a:10>5"]);
    // What a status still counts, though it was taken away, is not there.
    let behind = |image: &str, minute: i64, (replicas, counted): (i32, i32)| {
        let mut set = (*set(image, minute, (replicas, counted), size)).clone();
        set.status.as_mut().unwrap().replicas = counted;
        Arc::new(set)
    };
    check(10, &[behind("a", 1, (8, 10)), set("b", 2, (5, 1), size)], &["a:8>7"]);
    // Too many of the new one.
    check(2, &[set("b", 2, (4, 4), (2, 3))], &["b:4>2"]);
    // One replica: first the new one, then the old one goes.
    check(1, &[set("a", 1, (1, 1), (1, 2))], &["+b=1"]);
    check(1, &[set("a", 1, (1, 1), (1, 2)), set("b", 2, (1, 1), (1, 2))], &["a:1>0"]);
}

#[test]
fn a_recreating_one_waits_until_all_old_pods_are_gone() {
    let wants = deployment(3, "b", json!({"strategy": {"type": "Recreate"}}));
    let check = |sets: &[Arc<ReplicaSet>], old_pods: bool, expected: &[&str]| {
        assert_eq!(writes(&plan(&wants, sets, |_| old_pods, now()).unwrap()), expected);
    };
    check(&[set("a", 1, (3, 3), (3, 3))], true, &["a:3>0"]);
    check(&[set("a", 1, (0, 0), (3, 3))], true, &[]);
    check(&[set("a", 1, (0, 0), (3, 3))], false, &["+b=3"]);
    check(&[set("a", 1, (0, 0), (3, 3)), set("b", 2, (0, 0), (3, 3))], false, &["b:0>3"]);
}

#[test]
fn scaling_amid_a_rollout_is_in_proportion() {
    let check = |replicas: i32, sets: &[Arc<ReplicaSet>], expected: &[&str]| {
        let mut wants = deployment(replicas, "b", json!({}));
        wants.status = Some(DeploymentStatus { replicas: Some(13), ..DeploymentStatus::default() });
        let mut got = writes(&planned(&wants, sets));
        got.sort();
        assert_eq!(got, expected);
    };
    let before = (10, 13);
    check(20, &[set("a", 1, (8, 8), before), set("b", 2, (5, 0), before)], &["a:8>15", "b:5>10"]);
    check(5, &[set("a", 1, (8, 8), before), set("b", 2, (5, 0), before)], &["a:8>4", "b:5>3"]);
    check(0, &[set("a", 1, (8, 8), before), set("b", 2, (5, 0), before)], &["a:8>0", "b:5>0"]);
    // A lone one gets them all.
    check(20, &[set("a", 1, (10, 10), before)], &["a:10>20"]);
    check(4, &[set("b", 1, (10, 10), before)], &["b:10>4"]);
    // Of none with pods the new one.
    check(4, &[set("a", 1, (0, 0), before), set("b", 2, (0, 0), before)], &["b:0>4"]);
}

#[test]
fn a_paused_one_is_scaled_but_not_rolled_out() {
    let mut wants = deployment(10, "b", json!({"paused": true}));
    let plan = planned(&wants, &[set("a", 1, (10, 10), (10, 13))]);
    assert!(plan.writes.is_empty());
    assert_eq!(condition(&plan.status, "Progressing"), Some(("Unknown", "DeploymentPaused")));
    assert_eq!(writes(&planned(&wants, &[set("a", 1, (5, 5), (5, 7))])), ["a:5>10"]);
    let amid = [set("a", 1, (10, 10), (10, 13)), set("b", 2, (3, 0), (10, 13))];
    wants.status = Some(planned(&wants, &amid).status);
    wants.spec.as_mut().unwrap().paused = Some(false);
    let resumed = planned(&wants, &amid);
    assert_eq!(writes(&resumed), ["a:10>8"]);
    assert_eq!(condition(&resumed.status, "Progressing"), Some(("Unknown", "DeploymentResumed")));
}

#[test]
fn rolling_back_makes_the_old_one_the_latest_revision() {
    let wants = deployment(3, "a", json!({}));
    let plan = planned(&wants, &[set("a", 1, (0, 0), (3, 4)), set("b", 2, (3, 3), (3, 4))]);
    assert_eq!(writes(&plan), ["a:0>1"]);
    let Write::Update { set, .. } = &plan.writes[0] else { panic!() };
    assert_eq!(set.annotations()["deployment.kubernetes.io/revision"], "3");
    assert_eq!(set.annotations()["deployment.kubernetes.io/revision-history"], "1");
    assert_eq!(plan.revision.as_deref(), Some("3"));
}

#[test]
fn the_oldest_revisions_without_pods_go_once_a_rollout_is_complete() {
    let mut wants = deployment(3, "c", json!({"revisionHistoryLimit": 1}));
    let size = (3, 4);
    let sets = [
        set("a", 1, (0, 0), size),
        set("b", 2, (0, 0), size),
        set("z", 3, (0, 0), size),
        set("c", 4, (3, 3), size),
    ];
    assert!(planned(&wants, &sets).writes.is_empty());
    wants.status = Some(planned(&wants, &sets).status);
    assert_eq!(writes(&planned(&wants, &sets)), ["-a", "-b"]);
}

#[test]
fn a_rollout_that_stands_for_too_long_is_told_of() {
    let mut wants = deployment(3, "b", json!({}));
    let sets = [set("a", 1, (3, 3), (3, 4)), set("b", 2, (1, 0), (3, 4))];
    let first = planned(&wants, &sets);
    assert_eq!(condition(&first.status, "Progressing"), Some(("True", "ReplicaSetUpdated")));
    assert_eq!(first.look_in, Some(601));
    wants.status = Some(first.status);
    let at =
        |seconds: i64| plan(&wants, &sets, |_| false, now() + SignedDuration::from_secs(seconds)).unwrap();
    assert_eq!(condition(&at(600).status, "Progressing"), Some(("True", "ReplicaSetUpdated")));
    assert_eq!((at(590).look_in, at(600).look_in), (Some(11), Some(1)));
    let late = at(601);
    assert_eq!(condition(&late.status, "Progressing"), Some(("False", "ProgressDeadlineExceeded")));
    assert_eq!(late.look_in, None);
    // Progress takes it back.
    wants.status = Some(late.status);
    let done = [set("a", 1, (0, 0), (3, 4)), set("b", 2, (3, 3), (3, 4))];
    let done = planned(&wants, &done).status;
    assert_eq!(condition(&done, "Progressing"), Some(("True", "NewReplicaSetAvailable")));
}

#[test]
fn failures_of_replica_sets_are_the_deployments() {
    let wants = deployment(3, "b", json!({}));
    let mut failing = (*set("b", 2, (3, 0), (3, 4))).clone();
    let failure =
        json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no"}]);
    failing.status.as_mut().unwrap().conditions = serde_json::from_value(failure).unwrap();
    let failed = planned(&wants, &[Arc::new(failing)]).status;
    assert_eq!(condition(&failed, "ReplicaFailure"), Some(("True", "FailedCreate")));
    let mut wants = wants;
    wants.status = Some(failed);
    let well = planned(&wants, &[set("b", 2, (3, 3), (3, 4))]).status;
    assert_eq!(condition(&well, "ReplicaFailure"), None);
}

#[test]
fn terminating_pods_are_summed_up_once_all_tell_of_them() {
    let wants = deployment(3, "b", json!({}));
    let with = |image: &str, terminating: Option<i32>| {
        let mut set = (*set(image, 1, (0, 0), (3, 4))).clone();
        set.status.as_mut().unwrap().terminating_replicas = terminating;
        Arc::new(set)
    };
    let sum = |sets: &[Arc<ReplicaSet>]| planned(&wants, sets).status.terminating_replicas;
    assert_eq!(sum(&[with("a", Some(2)), with("b", Some(1))]), Some(3));
    assert_eq!(sum(&[with("a", Some(2)), with("b", None)]), None);
    assert_eq!(sum(&[with("a", Some(2))]), Some(2));
}
