//! skiff inside a privileged container, as in Docker, podman and CI runners.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skiff_tests::{Cluster, Kubectl, program};

#[test]
fn pods_run_in_a_container_with_their_limits() {
    let Some(cluster) = Cluster::in_container() else { return };
    assert_ne!(cluster.sh("cat /sys/fs/cgroup/cgroup.procs").ok(), "", "its root group holds processes");
    cluster.start();
    cluster.skiff(["image", "load", &program("SKIFF_TEST_IMAGE").to_string_lossy()]).ok();
    cluster.create_kubia(Kubectl::New);
    cluster.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: limited}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, \
          image: luksa/kubia, command: [sleep, '1000'], resources: {limits: {memory: 64Mi}}}]}}",
    );
    cluster.k("wait pod/limited --for=condition=Ready --timeout=60s");
    assert_eq!(cluster.k("exec limited -- cat /sys/fs/cgroup/memory.max"), "67108864\n");
    assert_eq!(cluster.sh("cat /sys/fs/cgroup/cgroup.type").ok(), "domain\n", "never a threaded one");
    assert_eq!(cluster.sh("cat /sys/fs/cgroup/cgroup.procs").ok(), "");
    assert_ne!(
        cluster.sh("cat /sys/fs/cgroup/skiff-host/cgroup.procs").ok(),
        "",
        "what was there has a leaf"
    );
    cluster.skiff(["down", "--purge"]).ok();
    assert_eq!(cluster.sh("find /sys/fs/cgroup -mindepth 1 -type d").ok(), "", "nothing is left");
    assert_ne!(cluster.sh("cat /sys/fs/cgroup/cgroup.procs").ok(), "", "what was there is back");
}
