//! What a node tells of itself: usage, metrics, health and logs, through the API server and to monitoring directly.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use skiff_tests::{Cluster, Kubectl};

const NODE: &str = "/api/v1/nodes/node-1/proxy";

/// A container that uses CPU and 32 MiB of memory in a volume, with a probe that succeeds; and who may read metrics.
const BUSY: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: busy}
spec:
  containers:
  - name: spinner
    image: luksa/kubia
    command: [bash, -c, "head -c 33554432 /dev/zero > /memory/zeros; echo begun; while :; do :; done"]
    resources: {limits: {cpu: 500m, memory: 128Mi}}
    readinessProbe: {exec: {command: [test, -s, /memory/zeros]}, periodSeconds: 1}
    volumeMounts: [{name: memory, mountPath: /memory}]
  volumes:
  - {name: memory, emptyDir: {medium: Memory}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: monitor}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: monitor}
rules:
- {apiGroups: [""], resources: [nodes/metrics], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: monitor}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: monitor}
subjects: [{kind: ServiceAccount, name: monitor, namespace: default}]
"#;

#[test]
fn a_node_tells_what_it_does() {
    let cluster = Cluster::up();
    cluster.apply(BUSY);
    cluster.k("wait pod/busy --timeout=60s --for=condition=Ready");
    usage_is_measured(&cluster);
    top_tells_it(&cluster);
    metrics_are_told(&cluster);
    health_and_configuration_are_told(&cluster);
    resources_of_the_pod_are_told(&cluster);
    logs_of_the_node_are_served(&cluster);
    monitoring_may_what_its_role_says(&cluster);
}

fn raw(cluster: &Cluster, path: &str) -> String {
    cluster.k(&format!("get --raw {NODE}{path}"))
}

/// The summary once the pod has used half a second of CPU, which takes it a second.
fn summary_of_a_busy_node(cluster: &Cluster) -> (Value, Value) {
    for _ in 0..300 {
        let summary: Value = serde_json::from_str(&raw(cluster, "/stats/summary")).unwrap();
        let pods = summary["pods"].as_array().unwrap();
        let pod = pods.iter().find(|pod| pod["podRef"]["name"] == "busy").unwrap().clone();
        let cpu = &pod["containers"][0]["cpu"];
        if cpu["usageCoreNanoSeconds"].as_u64().unwrap() > 500_000_000 && !cpu["usageNanoCores"].is_null() {
            return (summary["node"].clone(), pod);
        }
    }
    panic!("the container's CPU time does not grow:\n{}", raw(cluster, "/stats/summary"));
}

fn usage_is_measured(cluster: &Cluster) {
    let (node, pod) = summary_of_a_busy_node(cluster);
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value} in {node}\n{pod}"));
    let container = &pod["containers"][0];
    assert_eq!(container["name"], "spinner");
    assert!(number(&container["cpu"]["usageNanoCores"]) > 50_000_000);
    assert!(number(&pod["cpu"]["usageCoreNanoSeconds"]) > 500_000_000);
    let memory = number(&container["memory"]["workingSetBytes"]);
    assert!((32 << 20..128 << 20).contains(&memory), "{memory}");
    let available = number(&container["memory"]["availableBytes"]);
    assert!(available <= (128 << 20) - (32 << 20), "{available}");
    assert!(number(&container["logs"]["usedBytes"]) > 0, "it has written a line");
    let volumes = pod["volume"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "memory").unwrap();
    assert!(number(&volume["usedBytes"]) >= 32 << 20);
    assert!(number(&pod["process_stats"]["process_count"]) >= 1);
    assert_eq!(pod["network"]["name"], "eth0");
    assert!(number(&pod["network"]["rxBytes"]) < number(&node["memory"]["usageBytes"]));
    assert_eq!(node["nodeName"], "node-1");
    assert!(number(&node["cpu"]["usageCoreNanoSeconds"]) > number(&pod["cpu"]["usageCoreNanoSeconds"]));
    assert!(number(&node["memory"]["workingSetBytes"]) > memory);
    assert!(number(&node["fs"]["capacityBytes"]) > 0 && number(&node["rlimit"]["curproc"]) > 1);
    let less: Value = serde_json::from_str(&raw(cluster, "/stats/summary?only_cpu_and_memory=true")).unwrap();
    assert!(less["node"].get("fs").is_none() && less["node"].get("cpu").is_some());
}

/// As `kubectl top` and autoscalers ask for it, without anything that a user has to install.
fn top_tells_it(cluster: &Cluster) {
    let service = cluster.k("get apiservice v1beta1.metrics.k8s.io --no-headers");
    assert!(service.contains("Local") && service.contains("True"), "{service}");
    let pod = cluster.k("top pod busy --containers --no-headers");
    let columns: Vec<&str> = pod.split_whitespace().collect();
    assert_eq!(columns[..2], ["busy", "spinner"], "{pod}");
    assert!(columns[2].trim_end_matches('m').parse::<u32>().unwrap() > 50, "{pod}");
    assert!(columns[3].trim_end_matches("Mi").parse::<u32>().unwrap() >= 32, "{pod}");
    let node = cluster.k("top node --no-headers");
    assert!(node.starts_with("node-1") && node.matches('%').count() == 2, "{node}");
    let table = cluster.k("get pods.metrics.k8s.io busy --no-headers");
    assert_eq!(table.split_whitespace().count(), 4, "name, CPU, memory and window: {table}");
}

fn metrics_are_told(cluster: &Cluster) {
    let value = |text: &str, sample: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(sample));
        let line = line.unwrap_or_else(|| panic!("no {sample} in\n{text}"));
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let text = raw(cluster, "/metrics/resource");
    let busy = r#"{container="spinner",namespace="default",pod="busy"}"#;
    assert!(value(&text, &format!("container_cpu_usage_seconds_total{busy}")) > 0.5);
    assert!(value(&text, &format!("container_memory_working_set_bytes{busy}")) > f64::from(32 << 20));
    assert!(value(&text, &format!("container_start_time_seconds{busy}")) > 1e9);
    assert!(value(&text, r#"pod_cpu_usage_seconds_total{namespace="default",pod="busy"}"#) > 0.5);
    assert!(value(&text, "node_cpu_usage_seconds_total") > 0.5);
    assert!(value(&text, "resource_scrape_error").abs() < f64::EPSILON);
    let text = raw(cluster, "/metrics/cadvisor");
    let named = text.lines().find(|line| {
        line.starts_with("container_spec_cpu_quota{container=\"spinner\",id=\"/")
            && line.contains("/besteffort/").eq(&false)
    });
    assert!(named.is_some_and(|line| line.contains("} 50000 ")), "{text}");
    let text = raw(cluster, "/metrics/probes");
    let probes =
        text.lines().find(|line| line.contains(r#"container="spinner""#) && line.contains("successful"));
    assert!(probes.is_some_and(|line| line.contains(r#"probe_type="Readiness""#)), "{text}");
    assert!(raw(cluster, "/metrics").contains("kubelet_running_pods "));
}

fn health_and_configuration_are_told(cluster: &Cluster) {
    let health = raw(cluster, "/healthz?verbose");
    assert!(health.contains("[+]syncloop ok\n") && health.ends_with("healthz check passed\n"), "{health}");
    let ready = cluster.k("get --raw /readyz?verbose");
    for part in [
        "controllers",
        "controllers-informer-sync",
        "scheduler",
        "scheduler-informer-sync",
        "node",
        "node-sync",
    ] {
        assert!(ready.contains(&format!("[+]{part} ok\n")), "{part}: {ready}");
    }
    let config: Value = serde_json::from_str(&raw(cluster, "/configz")).unwrap();
    assert_eq!(config["kubeletconfig"]["maxPods"], 110);
    let pods: Value = serde_json::from_str(&raw(cluster, "/pods")).unwrap();
    assert!(pods["items"].as_array().unwrap().iter().any(|pod| pod["metadata"]["name"] == "busy"));
}

fn resources_of_the_pod_are_told(cluster: &Cluster) {
    let status = |path: &str| cluster.k(&format!("get pod busy -o jsonpath={{.status.{path}}}"));
    let amounts = r#"{"cpu":"500m","memory":"128Mi"}"#;
    for path in ["resources.limits", "resources.requests", "allocatedResources"] {
        assert_eq!(status(path), amounts, "{path}");
    }
    assert_eq!(status("containerStatuses[0].allocatedResources"), amounts);
    assert_eq!(status("qosClass"), "Guaranteed");
}

fn logs_of_the_node_are_served(cluster: &Cluster) {
    // The host's own, over which the node has mounted nothing.
    cluster.sh("mount -t tmpfs none /var/log && echo 'a line' > /var/log/some.log && ln -s /etc/passwd /var/log/out").ok();
    let listing = raw(cluster, "/logs/");
    // The server may be in a mount namespace of its own.
    let own = listing.contains("some.log");
    assert!(listing.starts_with("<!doctype html>") && listing.contains("<pre>"), "{listing}");
    assert!(own, "{listing}");
    assert_eq!(raw(cluster, "/logs/some.log"), "a line\n");
    assert_eq!(raw(cluster, "/logs/some.log?query=kubelet"), "a line\n");
    for refused in ["out", "none"] {
        let answer = cluster.kubectl(Kubectl::New, &format!("get --raw {NODE}/logs/{refused}"));
        assert_ne!(answer.code, Some(0), "{answer}");
    }
}

/// The status codes that a bearer of `token` gets from the node itself.
fn codes(cluster: &Cluster, token: &str) -> String {
    let paths = "/metrics/resource /metrics/cadvisor /stats/summary /pods /logs/ /configz";
    let script = format!(
        r#"for path in {paths}; do
            curl -sk -m 10 -o /dev/null -w '%{{http_code}} ' -H 'Authorization: Bearer {token}' https://127.0.0.1:10250$path
        done"#
    );
    cluster.sh(&script).ok()
}

fn monitoring_may_what_its_role_says(cluster: &Cluster) {
    let token = cluster.k("create token monitor");
    assert_eq!(codes(cluster, token.trim()), "200 200 403 403 403 403 ");
    assert_eq!(codes(cluster, "nobodys"), "401 401 401 401 401 401 ");
    let summary = format!("get --raw {NODE}/stats/summary --as=system:serviceaccount:default:monitor");
    let refused = cluster.kubectl(Kubectl::New, &summary).fails();
    assert!(
        refused.contains("nodes/proxy") || refused.contains("nodes \"node-1\" is forbidden"),
        "{refused}"
    );
}
