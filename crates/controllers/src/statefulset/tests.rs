use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::identity;
use super::plan::{Observed, Plan, Step, Which, plan};
use crate::pods::KnownPod;
use crate::pods::tests::known;

const NOW: &str = "2026-01-01T00:10:00Z";

fn set(replicas: i32, change: Value) -> StatefulSet {
    let mut spec = json!({
        "replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": []}},
    });
    for (key, value) in change.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let metadata = json!({"name": "db", "namespace": "default", "uid": "s", "generation": 3});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

/// A pod of a revision: `up` is running and ready, `pending`, `failed`, or `going`, which is up and being deleted.
fn pod(ordinal: i32, revision: &str, state: &str) -> Arc<KnownPod> {
    let name = format!("db-{ordinal}");
    let phase = match state {
        "pending" => "Pending",
        "failed" => "Failed",
        _ => "Running",
    };
    let ready = if matches!(state, "up" | "going") { "True" } else { "False" };
    let mut pod = json!({
        "metadata": {
            "name": name, "namespace": "default", "uid": format!("{name}-{revision}"),
            "labels": {"app": "db", "controller-revision-hash": revision, "statefulset.kubernetes.io/pod-name": name},
        },
        "spec": {"containers": []},
        "status": {"phase": phase, "conditions": [
            {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:09:00Z"}]},
    });
    if state == "going" {
        pod["metadata"]["deletionTimestamp"] = json!(NOW);
    }
    Arc::new(known(pod))
}

fn planned(set: &StatefulSet, pods: &[Arc<KnownPod>], claims: &[PersistentVolumeClaim]) -> Plan {
    let claims: HashMap<String, Arc<PersistentVolumeClaim>> =
        claims.iter().map(|claim| (claim.name_any(), Arc::new(claim.clone()))).collect();
    plan(&Observed {
        set,
        spec: set.spec.as_ref().unwrap(),
        pods,
        deleted: &HashSet::new(),
        claim: &|name| claims.get(name).cloned(),
        current: "one",
        update: "two",
        now: NOW.parse::<Timestamp>().unwrap(),
    })
}

/// The steps: `+0` made from the update revision, `+0'` from the current one, `-0` deleted, `c0` its claims made, `k0` kept, `~0`
/// amended; rounds are parted by `;`.
fn steps(plan: &Plan) -> String {
    let one = |step: &Step| match step {
        Step::Create(ordinal, Which::Update) => format!("+{ordinal}"),
        Step::Create(ordinal, Which::Current) => format!("+{ordinal}'"),
        Step::MakeClaims(ordinal, _) => format!("c{ordinal}"),
        Step::KeepClaims(ordinal, _) => format!("k{ordinal}"),
        Step::Amend(ordinal, _) => format!("~{ordinal}"),
        Step::Delete(pod) => pod.name().replace("db", ""),
    };
    let round = |steps: &Vec<Step>| steps.iter().map(one).collect::<Vec<_>>().join(" ");
    plan.rounds.iter().map(round).collect::<Vec<_>>().join("; ")
}

/// Pods by what they are: `2` one of the update revision that is up, `1` one of the current one, `p` pending, `f` failed, `g` going,
/// `.` none.
fn pods(states: &str) -> Vec<Arc<KnownPod>> {
    let one = |(ordinal, state): (usize, char)| {
        let ordinal = i32::try_from(ordinal).unwrap();
        let (revision, state) = match state {
            '1' => ("one", "up"),
            '2' => ("two", "up"),
            'p' => ("two", "pending"),
            'f' => ("two", "failed"),
            'g' => ("one", "going"),
            _ => return None,
        };
        Some(pod(ordinal, revision, state))
    };
    states.chars().enumerate().filter_map(one).collect()
}

#[test]
fn pods_come_and_go_in_order() {
    let check = |replicas: i32, states: &str, expected: &str| {
        assert_eq!(
            steps(&planned(&set(replicas, json!({})), &pods(states), &[])),
            expected,
            "{replicas} of {states}"
        );
    };
    check(3, "", "+0");
    check(3, "p", "");
    check(3, "2", "+1");
    check(3, "2.2", "+1");
    check(3, "222", "");
    check(3, "2f2", "-1");
    check(3, "2g2", "");
    check(1, "222", "-2");
    check(1, "22g", "");
    // What is not ready yet keeps those above it; it may go itself, if it is the first.
    check(1, "2p2", "-2");
    check(1, "2pp", "");
    check(1, "22p", "-2");
    check(2, "p22", "");
    check(0, "2", "-0");
}

#[test]
fn in_parallel_all_is_done_at_once() {
    let check = |replicas: i32, states: &str, expected: &str| {
        let set = set(replicas, json!({"podManagementPolicy": "Parallel"}));
        assert_eq!(steps(&planned(&set, &pods(states), &[])), expected, "{replicas} of {states}");
    };
    check(3, "", "+0 +1 +2");
    check(3, "p", "+1 +2");
    check(3, "pf.", "-1 +2");
    check(1, "22p2", "-3 -2 -1");
    check(1, "2.g2", "-3");
    check(3, "111", "-2");
    check(3, "11p", "");
}

#[test]
fn updates_go_from_the_highest_down_to_the_partition() {
    let check = |strategy: Value, states: &str, expected: &str| {
        let set = set(3, json!({"updateStrategy": strategy}));
        assert_eq!(steps(&planned(&set, &pods(states), &[])), expected, "{states}");
    };
    let partition =
        |partition: i32| json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
    check(partition(0), "111", "-2");
    check(partition(0), "112", "-1");
    check(partition(0), "122", "-0");
    check(partition(0), "11p", "");
    check(partition(2), "111", "-2");
    check(partition(2), "112", "");
    check(partition(2), ".12", "+0'");
    check(partition(2), "11.", "+2");
    check(json!({"type": "OnDelete"}), "111", "");
    check(json!({"type": "OnDelete"}), "11.", "+2");
    let unavailable = |most: Value| json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": most}});
    check(unavailable(json!(2)), "111", "-2; -1");
    check(unavailable(json!("70%")), "112", "-1; -0");
    check(unavailable(json!("1%")), "111", "-2");
}

#[test]
fn ordinals_start_where_the_set_says() {
    let set = set(2, json!({"ordinals": {"start": 3}}));
    assert_eq!(steps(&planned(&set, &[], &[])), "+3");
    assert_eq!(steps(&planned(&set, &pods("2..22"), &[])), "-0");
}

#[test]
fn a_pod_counts_once_it_is_available() {
    let set = set(2, json!({"minReadySeconds": 90}));
    let plan = planned(&set, &pods("2"), &[]);
    assert_eq!(steps(&plan), "");
    assert_eq!(plan.look_in.unwrap().as_secs(), 30);
    assert_eq!((plan.status.ready_replicas, plan.status.available_replicas), (Some(1), Some(0)));
}

#[test]
fn the_status_tells_of_revisions_until_the_update_is_done() {
    let told = |states: &str| {
        let status = planned(&set(3, json!({})), &pods(states), &[]).status;
        let revisions = (status.current_revision.unwrap(), status.update_revision.unwrap());
        (status.replicas, status.current_replicas.unwrap(), status.updated_replicas.unwrap(), revisions.0)
    };
    // The one that is deleted in this pass no longer counts.
    assert_eq!(told("112"), (3, 1, 1, "one".into()));
    assert_eq!(told("1g2"), (3, 1, 1, "one".into()));
    assert_eq!(told("222"), (3, 3, 3, "two".into()));
    assert_eq!(told("22p"), (3, 0, 3, "one".into()));
}

#[test]
fn a_set_that_goes_is_only_told_of() {
    let mut set = set(3, json!({}));
    set.metadata.deletion_timestamp = serde_json::from_value(json!(NOW)).unwrap();
    let plan = planned(&set, &pods("1"), &[]);
    assert_eq!((steps(&plan).as_str(), plan.status.replicas), ("", 1));
}

fn with_claims(replicas: i32, retention: Value) -> StatefulSet {
    let template = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]);
    set(
        replicas,
        json!({"volumeClaimTemplates": template, "persistentVolumeClaimRetentionPolicy": retention}),
    )
}

fn claim(ordinal: i32, owners: Value) -> PersistentVolumeClaim {
    let name = format!("data-db-{ordinal}");
    serde_json::from_value(json!({"metadata": {"name": name, "ownerReferences": owners}})).unwrap()
}

#[test]
fn claims_that_are_missing_are_made_and_kept_by_the_policy() {
    let pending = [pod(0, "two", "pending")];
    assert_eq!(steps(&planned(&with_claims(1, json!(null)), &pending, &[])), "c0");
    assert_eq!(steps(&planned(&with_claims(1, json!(null)), &pending, &[claim(0, json!([]))])), "");
    let delete = json!({"whenDeleted": "Retain", "whenScaled": "Delete"});
    let claims = [claim(0, json!([])), claim(1, json!([]))];
    let scaled = planned(&with_claims(0, delete.clone()), &pods("2"), &claims);
    assert_eq!(steps(&scaled), "k0; -0");
    // A claim that goes with the pod before is not given to the next one.
    let of_gone = json!([{"apiVersion": "v1", "kind": "Pod", "name": "db-0", "uid": "gone"}]);
    assert_eq!(steps(&planned(&with_claims(1, delete), &[], &[claim(0, of_gone)])), "");
}

#[test]
fn pods_have_their_identity_and_claims() {
    let set = with_claims(1, json!(null));
    let spec = set.spec.as_ref().unwrap();
    let pod = identity::pod(&set, spec, 4, ("two", &spec.template));
    assert_eq!((pod.name_any(), pod.labels()["apps.kubernetes.io/pod-index"].as_str()), ("db-4".into(), "4"));
    let pod_spec = pod.spec.as_ref().unwrap();
    assert_eq!((pod_spec.hostname.as_deref(), pod_spec.subdomain.as_deref()), (Some("db-4"), Some("db")));
    let made = KnownPod::of(&pod);
    assert_eq!(made.claim("data"), Some("data-db-4"));
    assert!(identity::amendment(&set, spec, 4, &made).is_none());
    assert!(identity::amendment(&set, spec, 5, &made).is_some());
    let claims = identity::claims(&set, spec, 4);
    assert_eq!((claims[0].name_any(), claims[0].labels()["app"].as_str()), ("data-db-4".into(), "db"));
}
