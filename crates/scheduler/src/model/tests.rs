use k8s_openapi::api::core::v1::PodSpec;
use serde_json::{Value, json};

use super::resources::requests;
use super::{HostPort, PodInfo};

fn check(spec: Value) -> Vec<(String, i64)> {
    let spec: PodSpec = serde_json::from_value(spec).unwrap();
    requests(&spec).iter().map(|(name, amount)| (name.to_owned(), amount)).collect()
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
    let check =
        |pod: Value| PodInfo::of(&serde_json::from_value(pod).unwrap()).map(|info| info.pending.is_some());
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
        port: 80,
    };
    assert!(port(None, "TCP").conflicts(&port(Some("10.0.0.1"), "TCP")));
    assert!(!port(Some("10.0.0.2"), "TCP").conflicts(&port(Some("10.0.0.1"), "TCP")));
    assert!(!port(None, "TCP").conflicts(&port(None, "UDP")));
}
