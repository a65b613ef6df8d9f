use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::resources::requests;
use super::{HostPort, PodInfo, Shares};
use crate::configuration::Configuration;

fn of_pod(pod: Value) -> (Vec<(String, i64)>, Shares) {
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let (sum, weighed) = requests(&pod, pod.spec.as_ref().unwrap());
    (sum.iter().map(|(name, amount)| (name.to_owned(), amount)).collect(), weighed)
}

fn check(spec: Value) -> Vec<(String, i64)> {
    of_pod(json!({"spec": spec})).0
}

fn container(cpu: &str) -> Value {
    json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
}

fn sidecar(cpu: &str) -> Value {
    let mut container = container(cpu);
    container["restartPolicy"] = "Always".into();
    container
}

#[test]
fn requests_are_the_most_needed_at_one_time() {
    assert_eq!(check(json!({"containers": [container("100m"), container("0.2")]})), [("cpu".into(), 300)]);
    let init = json!({"containers": [container("100m")], "initContainers": [container("1")]});
    assert_eq!(check(init), [("cpu".into(), 1000)]);
    let sidecars = json!({"containers": [container("100m")],
                          "initContainers": [sidecar("50m"), container("200m"), sidecar("10m")]});
    assert_eq!(check(sidecars), [("cpu".into(), 250)]);
    let overhead = json!({"containers": [container("100m")], "overhead": {"memory": "1Mi"}});
    assert_eq!(check(overhead), [("cpu".into(), 100), ("memory".into(), 1 << 20)]);
}

#[test]
fn only_pods_that_matter_are_kept() {
    let check = |pod: Value| {
        let info = PodInfo::of(&serde_json::from_value(pod).unwrap(), &Configuration::default());
        info.map(|info| info.pending.is_some())
    };
    assert_eq!(check(json!({"spec": {"containers": []}})), Some(true));
    assert_eq!(check(json!({"spec": {"containers": [], "nodeName": "n"}})), Some(false));
    assert_eq!(check(json!({"spec": {"containers": [], "schedulerName": "mine"}})), None);
    assert_eq!(
        check(json!({"spec": {"containers": [], "schedulerName": "mine", "nodeName": "n"}})),
        Some(false)
    );
    assert_eq!(check(json!({"spec": {"containers": [], "schedulingGates": [{"name": "g"}]}})), None);
    assert_eq!(check(json!({"spec": {"containers": []}, "status": {"phase": "Failed"}})), None);
    let deleted =
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"containers": []}});
    assert_eq!(check(deleted), None);
}

#[test]
fn host_ports_conflict_on_the_same_address() {
    let port = |address: Option<&str>, protocol: &str| HostPort {
        address: address.map(|address| address.parse().unwrap()),
        protocol: protocol.into(),
        port: skiff_ports::NodePort::of(80).unwrap(),
    };
    assert!(port(None, "TCP").conflicts(&port(Some("10.0.0.1"), "TCP")));
    assert!(!port(Some("10.0.0.2"), "TCP").conflicts(&port(Some("10.0.0.1"), "TCP")));
    assert!(!port(None, "TCP").conflicts(&port(None, "UDP")));
}

#[test]
fn what_is_resized_counts_with_the_most() {
    let resized = |restart: Option<&str>, reason: &str| {
        let list = if restart.is_some() { "initContainers" } else { "containers" };
        let statuses = if restart.is_some() { "initContainerStatuses" } else { "containerStatuses" };
        let mut one = container("300m");
        one["restartPolicy"] = json!(restart);
        let mut spec = json!({"containers": []});
        spec[list] = json!([one]);
        let status = json!({"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                            "allocatedResources": {"cpu": "100m"}, "resources": {"requests": {"cpu": "200m"}}});
        let mut all =
            json!({"conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}]});
        all[statuses] = json!([status]);
        of_pod(json!({"spec": spec, "status": all})).0
    };
    assert_eq!(resized(None, "Deferred"), [("cpu".into(), 300)]);
    assert_eq!(resized(None, "Infeasible"), [("cpu".into(), 200)]);
    assert_eq!(resized(Some("Always"), "Infeasible"), [("cpu".into(), 200)]);
    assert_eq!(resized(Some("Never"), "Infeasible"), [("cpu".into(), 300)], "it is not resized");
}

#[test]
fn a_pod_may_request_for_all_of_its_containers() {
    let whole = |status: Value| {
        let spec = json!({"containers": [container("100m"), container("100m")], "overhead": {"cpu": "10m"},
                          "resources": {"requests": {"cpu": "500m", "example.com/gpu": "1"}}});
        of_pod(json!({"spec": spec, "status": status}))
    };
    let (sum, weighed) = whole(json!({}));
    assert_eq!(sum, [("cpu".into(), 510)]);
    assert_eq!(weighed, Shares { cpu: 510, memory: 400 << 20 });
    let resized = json!({"allocatedResources": {"cpu": "800m"}, "resources": {"requests": {"cpu": "600m"}}});
    assert_eq!(whole(resized).0, [("cpu".into(), 810)]);
}

#[test]
fn containers_that_say_nothing_are_guessed_for_scores() {
    let silent = json!({"name": "c"});
    let spec = json!({"containers": [silent, container("0"), container("300m")]});
    assert_eq!(of_pod(json!({"spec": spec})).1, Shares { cpu: 400, memory: 600 << 20 });
}
