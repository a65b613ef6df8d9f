//! The cluster answers as kube-apiserver does.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skiff_tests::Cluster;
use skiff_tests::oracle::{Replay, Standing, recorded, replay};

/// Every scenario that was recorded; which of them are known to differ is in `tests/oracle/standing.txt`.
#[test]
fn answers_are_those_of_kube_apiserver() {
    let cluster = Cluster::empty();
    // Pods stay as they were written: no scheduler binds them, and no node runs them.
    cluster.k("taint node node-1 oracle:NoSchedule");
    let scenarios = recorded();
    let kubeconfig = cluster.kubeconfig();
    let what = Replay { kubeconfig: &kubeconfig, scenarios: &scenarios, chosen: &|_| true };
    let outcomes = cluster.host().in_network(|| replay(&what));
    let standing = Standing::of(&scenarios, &outcomes);
    println!("{}", standing.table);
    let mut complaints = standing.complaints;
    complaints.extend(Standing::outdated(&scenarios, &outcomes));
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
