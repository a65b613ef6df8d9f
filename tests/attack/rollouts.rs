//! The server is killed at any moment of rollouts of a Deployment and a StatefulSet, and of Jobs: nothing is lost, made twice or left.
//!
//! The moments follow from a seed, which is printed; `SKIFF_CHAOS_SEED` plays them again. `SKIFF_CHAOS_SECONDS` is for how long;
//! `./dev chaos` sets it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use skiff_tests::{Cluster, Dice, Output, program, setting};

const SECONDS: u64 = 20;
const REPLICAS: usize = 3;

const WORKLOADS: &str = "
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 3, selector: {matchLabels: {app: web}},
 template: {metadata: {labels: {app: web}}, spec: {terminationGracePeriodSeconds: 1, containers: [
  {name: c, image: luksa/kubia, env: [{name: ROUND, value: '0'}]}]}}}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db}, spec: {replicas: 3, serviceName: db,
 selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {terminationGracePeriodSeconds: 1,
  containers: [{name: c, image: luksa/kubia, env: [{name: ROUND, value: '0'}]}]}}}}
";

/// A Job of which each index notes on the node's disk that it ran.
fn job(round: u64, directory: &str) -> String {
    format!(
        "{{apiVersion: batch/v1, kind: Job, metadata: {{name: job-{round}}}, spec: {{completions: 4, parallelism: 2, \
         completionMode: Indexed, backoffLimit: 20, template: {{spec: {{restartPolicy: Never, containers: [{{name: c, \
         image: luksa/kubia, command: [bash, -c, 'echo $JOB_COMPLETION_INDEX >> /notes/job-{round}'], volumeMounts: \
         [{{name: notes, mountPath: /notes}}]}}], volumes: [{{name: notes, hostPath: {{path: {directory}/notes, type: \
         DirectoryOrCreate}}}}]}}}}}}}}"
    )
}

/// Runs kubectl until it succeeds: meanwhile the server may be killed.
fn insist(cluster: &Cluster, arguments: &str) -> String {
    let script = format!("for i in {{1..600}}; do $KUBECTL {arguments} && exit 0; sleep 0.2; done; exit 1");
    let mut command = cluster.shell(&script);
    Output::of(command.env("KUBECTL", program("SKIFF_TEST_KUBECTL_NEW"))).ok()
}

fn list(cluster: &Cluster, kind: &str) -> Vec<Value> {
    let text = insist(cluster, &format!("get {kind} -o json"));
    serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().unwrap().clone()
}

/// Does the next thing, and says what.
fn happen(cluster: &Cluster, dice: &mut Dice, round: u64) -> String {
    match dice.below(6) {
        0 => {
            insist(cluster, &format!("set env deployment/web ROUND={round}"));
            format!("roll out web {round}")
        }
        1 => {
            insist(cluster, &format!("set env statefulset/db ROUND={round}"));
            format!("roll out db {round}")
        }
        2 => {
            let directory = cluster.host().directory().to_string_lossy().into_owned();
            let path = cluster.host().directory().join("job.yaml");
            std::fs::write(&path, job(round, &directory)).unwrap();
            insist(cluster, &format!("apply -f {}", path.display()));
            format!("start job-{round}")
        }
        _ => {
            let processes = cluster.host().processes();
            let server = processes.iter().find(|line| line.contains("skiff server"));
            let Some(pid) = server.and_then(|line| line.split_whitespace().next()) else {
                return "no server to kill".to_owned();
            };
            // It may have ended by itself meanwhile.
            drop(cluster.sh(&format!("kill -9 {pid}")));
            format!("kill the server {pid}")
        }
    }
}

#[test]
fn rollouts_survive_the_end_of_the_server_at_any_moment() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = setting("SKIFF_CHAOS_SEED").unwrap_or(now.as_secs());
    println!("SKIFF_CHAOS_SEED={seed}");
    let cluster = Cluster::up();
    cluster.apply(WORKLOADS);
    let mut dice = Dice::new(seed);
    let end = Instant::now() + Duration::from_secs(setting("SKIFF_CHAOS_SECONDS").unwrap_or(SECONDS));
    let mut rounds = 0;
    while Instant::now() < end {
        rounds += 1;
        println!("{}", happen(&cluster, &mut dice, rounds));
        std::thread::sleep(Duration::from_millis(dice.below(1200)));
    }
    cluster.start();
    insist(&cluster, "rollout status deployment/web --timeout=60s");
    insist(&cluster, "rollout status statefulset/db --timeout=60s");
    let jobs = list(&cluster, "jobs");
    for job in &jobs {
        let name = job["metadata"]["name"].as_str().unwrap();
        insist(&cluster, &format!("wait job/{name} --for=condition=Complete --timeout=60s"));
    }
    nothing_is_twice_or_left(&cluster);
    jobs_are_counted_once(&cluster, jobs.len());
    cluster.skiff(["down", "--purge"]).ok();
    assert_eq!(cluster.host().processes(), Vec::<String>::new());
}

/// Each workload has the pods that it asks for, and every pod has an owner.
fn nothing_is_twice_or_left(cluster: &Cluster) {
    let sets = list(cluster, "replicasets");
    let asking = sets.iter().filter(|set| set["spec"]["replicas"].as_u64().unwrap_or(0) > 0);
    assert_eq!(asking.count(), 1, "one ReplicaSet has all pods");
    let mut pods_of: BTreeMap<String, usize> = BTreeMap::new();
    let pods = list(cluster, "pods");
    for pod in &pods {
        let owner = &pod["metadata"]["ownerReferences"][0];
        let (kind, name) = (owner["kind"].as_str().unwrap_or("none"), owner["name"].as_str().unwrap_or(""));
        assert!(["ReplicaSet", "StatefulSet", "Job"].contains(&kind), "{pod}");
        if kind != "Job" {
            *pods_of.entry(format!("{kind}/{name}")).or_default() += 1;
        }
    }
    assert!(pods_of.values().all(|count| *count == REPLICAS) && pods_of.len() == 2, "{pods_of:?}");
    let running = pods.iter().filter(|pod| pod["status"]["phase"] == "Running").count();
    let system = insist(cluster, "get pods -n kube-system -o name").lines().count();
    let supervisors = cluster.host().processes();
    let supervisors = supervisors.iter().filter(|line| line.contains("pod-supervisor")).count();
    assert!(supervisors >= running + system, "{supervisors} supervisors of {running} and {system} pods");
    let all = pods.len() + system;
    assert!(supervisors <= all, "{supervisors} supervisors of {all} pods");
}

/// Every index of every Job ended well, and is counted once; it ran at least once.
fn jobs_are_counted_once(cluster: &Cluster, jobs: usize) {
    let ended = list(cluster, "jobs");
    assert_eq!(ended.len(), jobs);
    for job in ended {
        let name = job["metadata"]["name"].as_str().unwrap();
        assert_eq!(job["status"]["succeeded"], 4, "{job}");
        assert_eq!(job["status"]["completedIndexes"], "0-3", "{job}");
        assert!(
            job["status"]["uncountedTerminatedPods"].as_object().is_none_or(serde_json::Map::is_empty),
            "{job}"
        );
        let notes =
            std::fs::read_to_string(cluster.host().directory().join(format!("notes/{name}"))).unwrap();
        for index in 0..4 {
            assert!(
                notes.lines().any(|line| line == index.to_string()),
                "{name} never ran {index}: {notes:?}"
            );
        }
    }
}
