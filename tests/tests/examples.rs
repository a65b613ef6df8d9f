//! Applications of `examples/` on a whole cluster: what people run, with nothing made easier for it.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use skiff_tests::{Cluster, Kubectl, Output, program};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// A cluster with the image of Redis, and an example applied to it.
fn with_redis(example: &str) -> Cluster {
    let cluster = Cluster::empty();
    cluster.skiff(["image", "load", &program("SKIFF_TEST_REDIS").to_string_lossy()]).ok();
    cluster.k(&format!("apply -f {EXAMPLES}/{example}"));
    cluster
}

/// What a command of Redis answers in a pod.
fn redis(cluster: &Cluster, pod: &str, command: &str) -> String {
    cluster.k(&format!("exec {pod} -- redis-cli {command}"))
}

#[test]
fn redis_keeps_what_its_pods_had() {
    let cluster = with_redis("redis/redis.yaml");
    cluster.k("rollout status statefulset/redis --timeout=90s");
    assert_eq!(redis(&cluster, "redis-0", "set colour red"), "OK\n");
    // Both replicas have it.
    assert_eq!(redis(&cluster, "redis-0", "wait 2 10000"), "2\n");
    assert_eq!(redis(&cluster, "redis-2", "get colour"), "red\n");
    let refused =
        cluster.kubectl(Kubectl::New, "exec redis-1 -- redis-cli -h redis-1.redis-pods set colour blue");
    assert!(format!("{refused}").contains("READONLY"), "{refused}");
    let uid = cluster.k("get pod redis-0 -o jsonpath={.metadata.uid}");
    cluster.k("delete pod redis-0 --timeout=60s");
    cluster.k("wait pod/redis-0 --timeout=60s --for=create");
    cluster.k("wait pod/redis-0 --timeout=60s --for=condition=Ready");
    assert_ne!(cluster.k("get pod redis-0 -o jsonpath={.metadata.uid}"), uid);
    assert_eq!(redis(&cluster, "redis-0", "get colour"), "red\n", "its claim was kept for it");
    let main = cluster.cluster_ip("redis-main");
    let served = "--for=jsonpath={.endpoints[0].conditions.ready}=true";
    cluster.k(&format!("wait endpointslice -l kubernetes.io/service-name=redis-main --timeout=30s {served}"));
    assert_eq!(redis(&cluster, "redis-2", &format!("-h {main} get colour")), "red\n");
    // An eviction may take one of them away, and no second.
    cluster.k("wait pdb/redis --timeout=30s --for=jsonpath={.status.disruptionsAllowed}=1");
}

#[test]
fn a_queue_is_worked_off_once() {
    let cluster = with_redis("queue/queue.yaml");
    cluster.k("wait job/fill job/work --timeout=90s --for=condition=Complete");
    let queue = cluster.k("get pods -l app=queue -o jsonpath={.items[0].metadata.name}");
    assert_eq!(redis(&cluster, &queue, "llen work"), "0\n");
    let done = redis(&cluster, &queue, "hgetall done");
    let mut counts = done.lines().collect::<Vec<_>>();
    assert_eq!(counts.len(), 100, "{done}");
    counts.retain(|text| *text == "1");
    assert_eq!(counts.len(), 51, "each of the 50 once, of which one is called 1: {done}");
    assert_eq!(cluster.k("get job work -o jsonpath={.status.succeeded}"), "3");
}

/// Runs helm with these arguments, split at spaces.
fn helm(cluster: &Cluster, arguments: &str) -> Output {
    let mut helm = cluster.command(program("SKIFF_TEST_HELM"));
    Output::of(helm.args(arguments.split_whitespace()))
}

/// Status and description of each revision of the release.
fn history(cluster: &Cluster) -> Vec<String> {
    let history = helm(cluster, "history g -o json").ok();
    let revisions: Vec<serde_json::Value> = serde_json::from_str(&history).unwrap();
    revisions.iter().map(|revision| revision["status"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_chart_is_installed_upgraded_rolled_back_and_removed() {
    let cluster = Cluster::up();
    let chart = format!("{EXAMPLES}/chart");
    helm(&cluster, &format!("install g {chart} --wait --timeout 90s")).ok();
    let ready = "get deployment,statefulset,daemonset -o jsonpath={.items[*].status.readyReplicas}{.items[*].status.numberReady}";
    assert_eq!(cluster.k(ready), "2 11", "it waited for all of them");
    assert_eq!(
        cluster.k("get serviceaccount,job -o name -l app.kubernetes.io/managed-by=Helm"),
        "serviceaccount/g-guestbook\n"
    );
    let jobs = cluster.k("get jobs -o jsonpath={.items[*].metadata.name}");
    assert_eq!(jobs, "g-guestbook-announce", "the other hook went when it had succeeded");
    let log = helm(&cluster, "test g --logs").ok();
    assert!(log.contains("You've hit g-guestbook-") && log.contains("Succeeded"), "{log}");

    let password = || cluster.k("get secret g-guestbook -o jsonpath={.data.password}");
    let before = password();
    let rolled = "get deployment g-guestbook -o jsonpath={.spec.template.metadata.annotations.greeting}/{.status.updatedReplicas}/{.status.readyReplicas}";
    helm(&cluster, &format!("upgrade g {chart} --wait --timeout 90s --set greeting=again")).ok();
    assert_eq!(cluster.k(rolled), "again/2/2");
    assert_eq!(password(), before, "lookup found it");
    let scaled =
        "get events --field-selector reason=SuccessfulRescale -o jsonpath={.items[*].involvedObject.kind}";
    assert_eq!(cluster.k(scaled), "HorizontalPodAutoscaler", "the autoscaler scaled it");

    let broken =
        "--set greeting=broken --set web.tag=none --no-hooks --wait --timeout 10s --rollback-on-failure";
    let failed = helm(&cluster, &format!("upgrade g {chart} {broken}")).fails();
    assert!(failed.contains("has been rolled back"), "{failed}");
    cluster.k("rollout status deployment/g-guestbook --timeout=60s");
    assert_eq!(cluster.k(rolled), "again/2/2");
    assert_eq!(history(&cluster), ["superseded", "superseded", "failed", "deployed"]);
    helm(&cluster, "rollback g 1 --wait --timeout 90s").ok();
    assert_eq!(cluster.k(rolled), "hello/2/2");

    helm(&cluster, "uninstall g --wait --timeout 90s").ok();
    let left = cluster.k("get deployment,statefulset,daemonset,cronjob,service,ingress,pdb,hpa,servicemonitors,secret,role,rolebinding,netpol -o name");
    assert_eq!(left, "service/kubernetes\n");
    assert_eq!(
        cluster.k("get pvc -o name"),
        "persistentvolumeclaim/data-g-guestbook-database-0\n",
        "claims stay"
    );
}
