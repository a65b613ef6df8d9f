//! Point 1: `skiff up`, `status`, `down`, and what they leave behind.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skiff_tests::{Cluster, Kubectl};

#[test]
fn up_twice_is_harmless_and_leaves_a_context() {
    let cluster = Cluster::empty();
    assert_eq!(cluster.k("config current-context"), "skiff\n");
    let nodes = cluster.k("get nodes --no-headers");
    assert!(nodes.contains("node-1") && nodes.contains(" Ready "), "{nodes}");
    let again = cluster.skiff(["up"]);
    assert_eq!(again.code, Some(0), "{again}");
    assert!(again.stderr.contains("already"), "{again}");
    let status = cluster.skiff(["status"]);
    assert_eq!(status.code, Some(0), "{status}");
}

/// What controllers put into a namespace is in `default` when the command says that the cluster is up.
#[test]
fn pods_can_be_created_as_soon_as_it_is_up() {
    let cluster = Cluster::empty();
    let furniture = cluster.k("get serviceaccount/default configmap/kube-root-ca.crt -n default -o name");
    assert_eq!(furniture, "serviceaccount/default\nconfigmap/kube-root-ca.crt\n");
}

#[test]
fn down_leaves_nothing_and_up_finds_everything() {
    let cluster = Cluster::up();
    cluster.create_kubia(Kubectl::New);
    let ip = cluster.cluster_ip("kubia");
    let clean = cluster.host().processes().len();
    assert!(clean > 4, "server and supervisors run: {:?}", cluster.host().processes());
    cluster.skiff(["down"]).ok();
    assert_eq!(cluster.host().processes(), Vec::<String>::new());
    let links = cluster.sh("ls /sys/class/net; ip -o link | grep -v ' lo:'").stdout;
    assert!(!links.contains("skiff") && !links.contains("veth"), "{links}");
    assert_eq!(cluster.sh("nft list ruleset").ok(), "");
    let routes = cluster.sh("ip route").ok();
    assert_eq!(routes, "");
    let mounts = cluster.sh("grep -c skiff-test- /proc/self/mounts").stdout;
    assert_eq!(mounts.trim(), "0");
    let run_dir = cluster.run_dir().to_string_lossy().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let groups = cluster.sh(&format!("find /sys/fs/cgroup -type d -name '*{run_dir}*'")).ok();
    assert_eq!(groups, "", "cgroups are left");
    assert_ne!(cluster.skiff(["status"]).code, Some(0), "a cluster that is down is not healthy");

    cluster.skiff(["up", "--node-name", "node-1"]).ok();
    assert_eq!(cluster.cluster_ip("kubia"), ip);
    cluster.wait_ready_replicas(3);
    cluster.skiff(["down", "--purge"]).ok();
    assert!(!cluster.data_dir().exists());
    assert!(!std::fs::read_to_string(cluster.kubeconfig()).unwrap().contains("server:"));
}

#[test]
fn down_deletes_nothing_of_others() {
    let cluster = Cluster::stopped();
    let mine = cluster.host().directory().join("mine");
    std::fs::create_dir(&mine).unwrap();
    std::fs::write(mine.join("thesis"), "").unwrap();
    let path = mine.to_string_lossy();
    let refused = cluster.skiff(["down", "--purge", "--data-dir", &path]).fails();
    assert!(refused.contains("no cluster"), "{refused}");
    let refused = cluster.skiff(["down", "--run-dir", &path]).fails();
    assert!(refused.contains("no cluster"), "{refused}");
    assert_eq!(std::fs::read_dir(&mine).unwrap().count(), 1);

    // A cluster's directory in which somebody keeps something as well.
    cluster.start();
    let note = cluster.data_dir().join("note");
    std::fs::write(&note, "").unwrap();
    cluster.skiff(["down", "--purge"]).ok();
    let left = std::fs::read_dir(cluster.data_dir()).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(left.collect::<Vec<_>>(), vec![note.clone()]);
    std::fs::remove_file(note).unwrap();
    std::fs::remove_dir(cluster.data_dir()).unwrap();
}

#[test]
fn a_machine_that_is_renamed_keeps_its_node_and_pods() {
    let cluster = Cluster::stopped();
    let up_as = |host_name: &str| {
        let up = format!("hostname {host_name} && exec $SKIFF_TEST_BINARY up");
        cluster.sh(&format!("unshare --uts sh -c '{up}'")).ok();
    };
    up_as("before");
    assert_eq!(cluster.k("get nodes -o name"), "node/before\n");
    cluster.skiff(["down"]).ok();
    up_as("after");
    assert_eq!(cluster.k("get nodes -o name"), "node/before\n");
    cluster.skiff(["down"]).ok();
    let other = cluster.skiff(["up", "--node-name", "other"]).fails();
    assert!(other.contains("this cluster's node is named \"before\""), "{other}");
    cluster.skiff(["down", "--purge"]).ok();
    up_as("after");
    assert_eq!(cluster.k("get nodes -o name"), "node/after\n");
}
