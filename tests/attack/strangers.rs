//! Clients without rights, or with few: what they hold open, ask for and get wrong costs the others nothing. The server
//! of this cluster has few descriptors.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use skiff_tests::{Cluster, program};

/// What the server may open. A quarter of what is left beside its own files is for strangers.
const DESCRIPTORS: u32 = 700;
/// Connections that one address may have open to the API without saying who it is, and those that have said it.
const BOUND: u32 = 60;

/// Connections that stay open and say nothing.
struct Idle(Child);

impl Idle {
    fn open(cluster: &Cluster, port: u16, count: u32) -> Self {
        let script = format!(
            "for i in $(seq {count}); do exec {{fd}}<>/dev/tcp/127.0.0.1/{port}; done; echo ready; read -r line"
        );
        let mut child = cluster.shell(&script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // Its standard input closes, which is what it waits for.
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

fn small_cluster() -> Cluster {
    let cluster = Cluster::stopped();
    let skiff = program("SKIFF_TEST_BINARY");
    cluster.sh(&format!("ulimit -n {DESCRIPTORS} && exec {} up --node-name node-1", skiff.display())).ok();
    cluster
}

/// Waits until few connections to a port of the server are left.
fn few_connections(cluster: &Cluster, port: u16) {
    let count = format!("ss -Htn state established 'sport = :{port}' | wc -l");
    let script = format!(
        "for i in {{1..300}}; do [ $({count}) -le {BOUND} ] && exit 0; sleep 0.1; done; {count}; exit 1"
    );
    cluster.sh(&script).ok();
}

fn log(cluster: &Cluster) -> String {
    std::fs::read_to_string(cluster.data_dir().join("server.log")).unwrap_or_default()
}

#[test]
fn strangers_cost_little_and_one_request_stops_nothing() {
    let cluster = small_cluster();
    idle_connections_make_room(&cluster);
    replicas_that_no_client_can_read_are_refused(&cluster);
    a_dry_run_of_a_drain_evicts_nothing(&cluster);
    let log = log(&cluster);
    assert!(log.len() < 1 << 20, "{} bytes of log", log.len());
    assert!(log.lines().all(|line| line.len() <= 1024), "a long line in the log");
    assert!(!log.contains("99999999999"), "the log quotes a request:\n{log}");
}

fn idle_connections_make_room(cluster: &Cluster) {
    let held = [(6443, 450), (10250, 250)].map(|(port, count)| Idle::open(cluster, port, count));
    few_connections(cluster, 6443);
    few_connections(cluster, 10250);
    assert!(cluster.k("get nodes -o name").contains("node-1"));
    cluster.k("create configmap under-attack");
    assert!(cluster.k("get --raw /api/v1/nodes/node-1/proxy/metrics").contains("kubelet_node_name"));
    drop(held);
}

fn replicas_that_no_client_can_read_are_refused(cluster: &Cluster) {
    cluster.apply(
        r#"
apiVersion: v1
kind: ReplicationController
metadata: {name: victim}
spec:
  replicas: 0
  selector: {app: victim}
  template:
    metadata: {labels: {app: victim}}
    spec: {containers: [{name: c, image: none.invalid/none, imagePullPolicy: Never}]}
"#,
    );
    let patch = r#"patch rc victim --subresource=scale --type=merge -p {"spec":{"replicas":99999999999}}"#;
    let refused = cluster.kubectl(skiff_tests::Kubectl::New, patch).fails();
    assert!(refused.contains("type int32"), "{refused}");
    // The controller goes on, for this object and for others.
    cluster.k("scale rc victim --replicas=1");
    cluster.k("wait rc/victim --timeout=60s --for=jsonpath={.status.replicas}=1");
    cluster.k("delete rc victim");
}

fn a_dry_run_of_a_drain_evicts_nothing(cluster: &Cluster) {
    let pods = || cluster.k("get pods -n kube-system -o jsonpath={.items[*].metadata.uid}");
    let before = pods();
    assert!(!before.trim().is_empty(), "the DNS pod is there");
    cluster.k("drain node-1 --dry-run=server --force --ignore-daemonsets --delete-emptydir-data");
    assert_eq!(pods(), before);
    assert_eq!(
        cluster.k("get pods -n kube-system -o jsonpath={.items[*].metadata.deletionTimestamp}").trim(),
        ""
    );
}
