//! What a load balancer finds at the node: who may use its address, and whether the node has endpoints.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skiff_tests::{Cluster, Kubectl, Output};

const BALANCED: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  loadBalancerSourceRanges: [10.244.0.0/16]
  selector: {app: kubia}
  ports: [{port: 80, targetPort: 8080}]
"#;

/// Runs a script on the node, for ten seconds at most.
fn until(cluster: &Cluster, condition: &str) {
    cluster.sh(&format!("timeout 10 bash -c 'until {condition}; do sleep 0.05; done'")).ok();
}

#[test]
fn a_load_balancer_is_told_of_endpoints_and_its_clients_are_chosen() {
    let cluster = Cluster::up();
    cluster.create_kubia(Kubectl::New);
    cluster.apply(BALANCED);
    let pod = cluster.pods().remove(0);
    let status = r#"{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.7"}]}}}"#;
    cluster.k(&format!("patch service balanced --subresource=status --type=merge -p {status}"));
    let from_pod = |options: &str| {
        let mut command = cluster.kubectl_command(Kubectl::New, &format!("exec {pod} -- bash -c"));
        Output::of(command.arg(format!("curl -s -m 2 {options} http://203.0.113.7")))
    };
    until(&cluster, "nft list map ip skiff services | grep -q 203.0.113.7");
    assert!(from_pod("").ok().starts_with("You've hit kubia-"));
    let rules = cluster.sh("nft list ruleset").ok();
    assert!(rules.contains("203.0.113.7 . tcp . 80 . 10.244.0.0/16"), "{rules}");
    cluster.k(r#"patch service balanced -p {"spec":{"loadBalancerSourceRanges":["192.0.2.0/24"]}}"#);
    until(&cluster, "nft list set ip skiff allowed | grep -q 192.0.2.0/24");
    assert_eq!(from_pod("").code, Some(28), "ignored, not refused");

    let node = cluster.k("get nodes -o jsonpath={.items[0].status.addresses[0].address}");
    let port = cluster.k("get service balanced -o jsonpath={.spec.healthCheckNodePort}");
    let ask = format!("curl -s -o /dev/null -w %{{http_code}} http://{node}:{port}");
    until(&cluster, &format!("[ $({ask}) = 200 ]"));
    let told = cluster.sh(&format!("curl -s http://{node}:{port}")).ok();
    assert!(told.contains("\"localEndpoints\": 3,"), "{told}");
    cluster.k("scale rc/kubia --replicas=0");
    until(&cluster, &format!("[ $({ask}) = 503 ]"));
    cluster.k(r#"patch service balanced -p {"spec":{"externalTrafficPolicy":"Cluster"}}"#);
    until(&cluster, &format!("! {ask}"));
}
