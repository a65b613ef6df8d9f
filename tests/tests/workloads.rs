//! What people run on a cluster: workloads with their controllers, as kubectl creates and changes them.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use skiff_tests::{Cluster, Kubectl};

/// Without a registry every image is the story's.
const IMAGE: &str = "--image=luksa/kubia";

/// A database with names and an order, and a program on each node.
const OTHERS: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: luksa/kubia}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: agent, image: luksa/kubia}]}
";

fn deployment() -> Cluster {
    let cluster = Cluster::up();
    cluster.k(&format!("create deployment web {IMAGE} --replicas=3 --port=8080"));
    cluster.k("expose deployment web --port=80 --target-port=8080");
    cluster.k("rollout status deployment/web --timeout=60s");
    cluster
}

#[test]
fn a_deployment_serves_while_it_is_rolled_out_and_back() {
    let cluster = deployment();
    let address = cluster.cluster_ip("web");
    let (stop, log) = (cluster.host().directory().join("stop"), cluster.host().directory().join("answers"));
    let asking = format!(
        "timeout 60 bash -c 'while [ ! -e {0} ]; do curl -s -m 5 http://{address} >> {1} || echo lost >> {1}; done'",
        stop.display(),
        log.display()
    );
    let mut client = cluster.shell(&asking).spawn().unwrap();
    cluster.k("set env deployment/web COLOUR=red");
    cluster.k("rollout status deployment/web --timeout=60s");
    // Of the pods before some are still ending.
    let new = "{.items[?(@.spec.replicas==3)].metadata.labels.pod-template-hash}";
    let new = cluster.k(&format!("get replicasets -l app=web -o jsonpath={new}"));
    let pod =
        cluster.k(&format!("get pods -l pod-template-hash={new} -o jsonpath={{.items[0].metadata.name}}"));
    assert_eq!(cluster.k(&format!("exec {pod} -- printenv COLOUR")).trim(), "red");
    cluster.k("rollout undo deployment/web");
    cluster.k("rollout status deployment/web --timeout=60s");
    std::fs::write(stop, "").unwrap();
    client.wait().unwrap();
    let answers = std::fs::read_to_string(log).unwrap();
    assert!(answers.contains("You've hit web-"), "{answers}");
    let history = cluster.k("rollout history deployment/web");
    assert!(history.contains("\n2 ") && history.contains("\n3 "), "{history}");
    let sizes = "get replicasets -l app=web -o jsonpath={.items[*].status.replicas}";
    let mut sizes: Vec<String> = cluster.k(sizes).split(' ').map(str::to_owned).collect();
    sizes.sort();
    assert_eq!(sizes, ["0", "3"]);
}

#[test]
fn sets_keep_their_pods_and_jobs_end() {
    let cluster = Cluster::up();
    cluster.apply(OTHERS);
    cluster.k("rollout status statefulset/db --timeout=60s");
    cluster.k("rollout status daemonset/agent --timeout=60s");
    let names = cluster.k("get pods -l app=db -o jsonpath={.items[*].metadata.name}");
    assert_eq!(names, "db-0 db-1");
    let answer = cluster.k("exec db-0 -- curl -s -m 10 http://db-1.db:8080");
    assert_eq!(answer.trim(), "You've hit db-1");

    cluster.k(&format!("create job once {IMAGE} -- bash -c hostname"));
    cluster.k("wait job/once --for=condition=complete --timeout=60s");
    assert!(cluster.k("logs job/once").starts_with("once-"));
    cluster.k(&format!("create cronjob hourly {IMAGE} --schedule=@hourly -- bash -c hostname"));
    cluster.k("create job now --from=cronjob/hourly");
    cluster.k("wait job/now --for=condition=complete --timeout=60s");
    assert!(cluster.k("logs job/now").starts_with("now-"));
}

#[test]
fn a_disruption_budget_holds_up_a_drain() {
    let cluster = deployment();
    cluster.k("create pdb web --selector=app=web --min-available=3");
    cluster.k("wait pdb/web --timeout=60s --for=jsonpath={.status.currentHealthy}=3");
    let drain = "drain node-1 --ignore-daemonsets --delete-emptydir-data --timeout=3s";
    let refused = cluster.kubectl(Kubectl::New, drain);
    assert_ne!(refused.code, Some(0));
    let why = "Cannot evict pod as it would violate the pod's disruption budget.";
    assert!(refused.stderr.contains(why), "{refused}");
    let ready = cluster.k("get deployment web -o jsonpath={.status.readyReplicas}");
    assert_eq!(ready, "3");
}
