use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::plan::{Layout, Observed, Plan};
use crate::pods::KnownPod;
use crate::pods::tests::known;

const NOW: &str = "2026-01-01T00:10:00Z";

fn set(strategy: Value) -> DaemonSet {
    serde_json::from_value(json!({
        "metadata": {"name": "logs", "namespace": "default", "uid": "d", "generation": 2},
        "spec": {
            "selector": {"matchLabels": {"app": "logs"}}, "updateStrategy": strategy,
            "template": {"metadata": {"labels": {"app": "logs"}}, "spec": {"containers": []}},
        },
        "status": {"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0},
    }))
    .unwrap()
}

fn unavailable(most: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": most}})
}

fn surge(most: i32) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": most, "maxUnavailable": 0}})
}

/// `n1`, `n2`, …; `!` for one that is tainted so that no new pods come, `x` so that none stay.
fn nodes(kinds: &str) -> Vec<Arc<Node>> {
    let node = |(number, kind): (usize, char)| {
        let effect = match kind {
            '!' => json!([{"key": "a", "effect": "NoSchedule"}]),
            'x' => json!([{"key": "a", "effect": "NoExecute"}]),
            _ => json!([]),
        };
        let name = format!("n{}", number + 1);
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"taints": effect}})).unwrap(),
        )
    };
    kinds.chars().enumerate().map(node).collect()
}

/// Pods as `node:revision state`: `1:new up`, `2:old pending`, …
fn pods(pods: &[&str]) -> Vec<Arc<KnownPod>> {
    let pod = |(number, text): (usize, &&str)| {
        let (node, rest) = text.split_once(':').unwrap();
        let (revision, state) = rest.split_once(' ').unwrap();
        let phase = match state {
            "failed" => "Failed",
            "succeeded" => "Succeeded",
            "pending" => "Pending",
            _ => "Running",
        };
        let ready = if matches!(state, "up" | "going") { "True" } else { "False" };
        let mut pod = json!({
            "metadata": {
                "name": *text, "namespace": "default", "uid": *text,
                "creationTimestamp": format!("2026-01-01T00:00:{number:02}Z"),
                "labels": {"app": "logs", "controller-revision-hash": revision},
            },
            "spec": {"nodeName": format!("n{node}"), "containers": []},
            "status": {"phase": phase, "conditions": [
                {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:09:00Z"}]},
        });
        if state == "going" {
            pod["metadata"]["deletionTimestamp"] = json!(NOW);
        }
        Arc::new(known(pod))
    };
    pods.iter().enumerate().map(pod).collect()
}

fn with<T>(strategy: Value, kinds: &str, listed: &[&str], read: impl FnOnce(&Layout<'_>) -> T) -> T {
    let (set, nodes, pods) = (set(strategy), nodes(kinds), pods(listed));
    read(&Layout::of(&Observed {
        set: &set,
        spec: set.spec.as_ref().unwrap(),
        hash: "new",
        nodes: &nodes,
        pods: &pods,
        deleted: &HashSet::new(),
        now: NOW.parse::<Timestamp>().unwrap(),
    }))
}

/// What is done: `+n1` a pod made there, `-` one deleted, `!` one that ended and is replaced.
fn check(strategy: Value, kinds: &str, pods: &[&str], expected: &[&str]) {
    let Plan { create, delete, ended } = with(strategy, kinds, pods, |layout| layout.plan());
    let made = create.iter().map(|node| format!("+{node}"));
    let gone = delete.iter().map(|pod| format!("-{}", pod.name()));
    let replaced = ended.iter().map(|ended| format!("!{}", ended.pod.name()));
    let got: Vec<String> = made.chain(gone).chain(replaced).collect();
    assert_eq!(got, expected, "{pods:?}");
}

#[test]
fn every_fitting_node_has_one_pod() {
    let strategy = || unavailable(json!(1));
    check(strategy(), "..", &[], &["+n1", "+n2"]);
    check(strategy(), "..", &["1:new up"], &["+n2"]);
    check(strategy(), "!x", &[], &[]);
    check(strategy(), "!x", &["1:new up", "2:new up"], &["-2:new up"]);
    check(strategy(), ".", &["1:new up", "1:new pending"], &["-1:new pending"]);
    check(strategy(), ".", &["1:new failed"], &["!1:new failed"]);
    check(strategy(), ".", &["1:new succeeded"], &["!1:new succeeded"]);
    // The next comes when the one that goes is gone.
    check(strategy(), ".", &["1:new going"], &[]);
}

#[test]
fn old_pods_go_as_many_at_a_time_as_may_be_missing() {
    check(unavailable(json!(1)), "...", &["1:old up", "2:old up", "3:old up"], &["-1:old up"]);
    check(unavailable(json!(2)), "...", &["1:old up", "2:old up", "3:old up"], &["-1:old up", "-2:old up"]);
    check(unavailable(json!("50%")), "...", &["1:old up", "2:old up", "3:new pending"], &["-1:old up"]);
    check(unavailable(json!(1)), "...", &["1:old up", "2:old up", "3:new pending"], &[]);
    // What does not serve anyway goes at once.
    check(
        unavailable(json!(1)),
        "...",
        &["1:old pending", "2:old up", "3:old pending"],
        &["-1:old pending", "-3:old pending"],
    );
    check(json!({"type": "OnDelete"}), ".", &["1:old up"], &[]);
    // Nothing at all would never get on.
    check(unavailable(json!(0)), "..", &["1:old up", "2:old up"], &["-1:old up"]);
}

#[test]
fn surging_makes_the_new_pod_before_the_old_one_goes() {
    check(surge(1), "..", &["1:old up", "2:old up"], &["+n1"]);
    check(surge(2), "..", &["1:old up", "2:old up"], &["+n1", "+n2"]);
    check(surge(1), "..", &["1:old up", "2:old up", "1:new pending"], &[]);
    check(surge(1), "..", &["1:old up", "2:old up", "1:new up"], &["-1:old up"]);
    check(surge(1), "..", &["1:old pending", "2:old up", "1:new pending"], &["-1:old pending"]);
    check(surge(1), "..", &["1:old pending", "2:old up"], &["+n1", "+n2"]);
    check(surge(1), ".", &["1:new going"], &["+n1"]);
    check(surge(1), ".!", &["1:new up", "2:old up"], &["-2:old up"]);
    check(surge(1), ".!", &["1:new pending", "2:old up"], &[]);
}

#[test]
fn the_status_counts_nodes() {
    let pods = ["1:new up", "2:old pending", "4:new up"];
    let status = with(unavailable(json!(1)), "...!", &pods, |layout| layout.status(true));
    assert_eq!(status.desired_number_scheduled, 3);
    assert_eq!(status.current_number_scheduled, 2);
    assert_eq!(status.number_misscheduled, 1);
    assert_eq!(status.number_ready, 1);
    assert_eq!(status.updated_number_scheduled, Some(1));
    assert_eq!((status.number_available, status.number_unavailable), (Some(1), Some(2)));
    assert_eq!(status.observed_generation, Some(2));
    let waiting = with(unavailable(json!(1)), "...", &pods, |layout| layout.status(false));
    assert_eq!(waiting.observed_generation, None);
}
