use serde_json::{Value, json};

use crate::model::{NodeInfo, PodInfo};
use crate::schedule::{Decision, NodeState, schedule};

/// A node with 2 CPUs, 4 GiB and room for 10 pods, with `change` merged over it.
fn node(name: &str, change: Value) -> NodeState {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"name": name}},
        "spec": {},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}},
    });
    for (key, value) in change.as_object().unwrap() {
        node[key] = value.clone();
    }
    NodeState { info: NodeInfo::of(&serde_json::from_value(node).unwrap()), ..NodeState::default() }
}

fn pod(spec: Value) -> PodInfo {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([]);
    }
    PodInfo::of(&serde_json::from_value(json!({"spec": spec})).unwrap()).unwrap()
}

fn requesting(cpu: &str, memory: &str) -> PodInfo {
    pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]}))
}

fn check(pod: &PodInfo, nodes: &[NodeState]) -> String {
    match schedule(pod, pod.pending.as_ref().unwrap(), nodes) {
        Decision::Bind(node) => format!("-> {node}"),
        Decision::Unschedulable(message) => message,
    }
}

fn with(mut node: NodeState, pods: &[PodInfo]) -> NodeState {
    pods.iter().for_each(|pod| node.add(pod));
    node
}

const HELPLESS: &str = "no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful \
                        for scheduling.";
const NO_VICTIM: &str = "no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims \
                         found for incoming pod.";

#[test]
fn no_nodes() {
    assert_eq!(check(&pod(json!({})), &[]), "no nodes available to schedule pods");
}

#[test]
fn each_refusal_has_its_text() {
    let refused = |pod: &PodInfo, node: NodeState| check(pod, &[node]);
    let plain = pod(json!({}));
    assert_eq!(refused(&plain, node("a", json!({}))), "-> a");
    assert_eq!(
        refused(&plain, node("a", json!({"spec": {"unschedulable": true}}))),
        format!("0/1 nodes are available: 1 node(s) were unschedulable. {HELPLESS}")
    );
    let tainted = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    assert_eq!(
        refused(&plain, node("a", tainted.clone())),
        format!("0/1 nodes are available: 1 node(s) had untolerated taint(s). {HELPLESS}")
    );
    assert_eq!(refused(&pod(json!({"tolerations": [{"operator": "Exists"}]})), node("a", tainted)), "-> a");
    assert_eq!(
        refused(&pod(json!({"nodeSelector": {"disk": "ssd"}})), node("a", json!({}))),
        format!("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. {HELPLESS}")
    );
    let web = pod(json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]}));
    assert_eq!(
        refused(&web, with(node("a", json!({})), std::slice::from_ref(&web))),
        format!(
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. {NO_VICTIM}"
        )
    );
}

#[test]
fn resources_run_out() {
    let full = || with(node("a", json!({})), &[requesting("1500m", "1Gi")]);
    assert_eq!(check(&requesting("500m", "1Gi"), &[full()]), "-> a");
    assert_eq!(
        check(&requesting("501m", "4Gi"), &[full()]),
        format!("0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. {NO_VICTIM}")
    );
    assert_eq!(
        check(&requesting("3", "1Gi"), &[full()]),
        format!("0/1 nodes are available: 1 Insufficient cpu. {HELPLESS}")
    );
    let crowded = with(node("a", json!({})), &vec![pod(json!({})); 10]);
    assert_eq!(
        check(&pod(json!({})), &[crowded]),
        format!("0/1 nodes are available: 1 Too many pods. {NO_VICTIM}")
    );
    let gpu =
        pod(json!({"containers": [{"name": "c", "resources": {"requests": {"example.com/gpu": "1"}}}]}));
    assert_eq!(
        check(&gpu, &[node("a", json!({}))]),
        format!("0/1 nodes are available: 1 Insufficient example.com/gpu. {HELPLESS}")
    );
}

#[test]
fn reasons_of_several_nodes_are_counted() {
    let cordoned = || json!({"spec": {"unschedulable": true}});
    let nodes =
        [node("a", cordoned()), node("b", cordoned()), with(node("c", json!({})), &[requesting("2", "1Gi")])];
    assert_eq!(
        check(&requesting("1", "1Gi"), &nodes),
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. no new claims to deallocate, \
         preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not \
         helpful for scheduling."
    );
}

#[test]
fn a_removed_pod_leaves_room() {
    let big = requesting("2", "1Gi");
    let mut node = with(node("a", json!({})), std::slice::from_ref(&big));
    node.remove(&big);
    assert_eq!(check(&big, &[node]), "-> a");
}

#[test]
fn the_emptier_node_is_chosen() {
    let used = with(node("a", json!({})), &[requesting("1", "2Gi")]);
    assert_eq!(check(&requesting("100m", "100Mi"), &[used, node("b", json!({}))]), "-> b");
    assert_eq!(check(&pod(json!({})), &[node("b", json!({})), node("a", json!({}))]), "-> a");
    let nodes = [with(node("a", json!({})), &[pod(json!({}))]), node("b", json!({}))];
    assert_eq!(check(&pod(json!({})), &nodes), "-> b", "pods without requests count as well");
}

#[test]
fn preferences_outweigh_room() {
    let preferring = pod(
        json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 10, "preference": {"matchExpressions": [{"key": "name", "operator": "In", "values": ["b"]}]}},
        ]}}}),
    );
    let nodes = [node("a", json!({})), with(node("b", json!({})), &[requesting("1", "1Gi")])];
    assert_eq!(check(&preferring, &nodes), "-> b");
    let soft = json!({"spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}});
    let nodes = [node("a", soft), with(node("b", json!({})), &[requesting("1", "1Gi")])];
    assert_eq!(check(&pod(json!({})), &nodes), "-> b");
}

#[test]
fn a_refusal_names_the_generation_that_it_is_about() {
    let condition = crate::unschedulable("0/1 nodes are available", Some(3), jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(condition["observedGeneration"], 3);
    assert_eq!((&condition["type"], &condition["status"]), (&"PodScheduled".into(), &"False".into()));
}
