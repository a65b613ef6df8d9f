//! How soon pods run and answer.

use std::time::Instant;

use skiff_tests::{Cluster, Kubectl};

use super::inside;
use crate::report::{Result as Row, percentile};

const ROUNDS: usize = 5;

/// ReplicationController of three and Service applied → first answer through the ClusterIP.
pub(crate) fn story() -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::up();
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        cluster.create_kubia_unready();
        let ip = cluster.cluster_ip("kubia");
        inside(&cluster, &["answer", &format!("{ip}:80")])?;
        samples.push(started.elapsed().as_secs_f64());
        cluster.k("delete service kubia");
        delete_pods(&cluster);
    }
    let median = percentile(&mut samples, 50);
    let promise = "the story applied (with kubectl) → first answer through the ClusterIP";
    Ok(vec![Row::told(promise, format!("{median:.2} s (upstream: 1.6–1.8 s)"))])
}

/// Thirty pods to Ready.
pub(crate) fn thirty() -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::up();
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        cluster.create_kubia(Kubectl::New);
        cluster.k("scale rc kubia --replicas=0");
        cluster.k("wait pod -l app=kubia --for=delete --timeout=60s");
        let started = Instant::now();
        cluster.k("scale rc kubia --replicas=30");
        cluster.wait_ready_replicas(30);
        samples.push(started.elapsed().as_secs_f64());
        cluster.k("delete service kubia");
        delete_pods(&cluster);
    }
    let median = percentile(&mut samples, 50);
    Ok(vec![Row::at_most("30-pod ReplicationController, image present, to all Ready", median, 3.0, "s")])
}

fn delete_pods(cluster: &Cluster) {
    cluster.k("delete rc kubia");
    cluster.k("wait pod -l app=kubia --for=delete --timeout=60s");
}
