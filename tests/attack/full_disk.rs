//! The disk of the data directory is full: what is there can be read and deleted, the answer to the rest is clear, and
//! all is well again when there is room. The disk is a small file system of its own, which `skiff down` leaves alone.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skiff_tests::Cluster;

fn until(cluster: &Cluster, condition: &str) {
    cluster.sh(&format!("for i in {{1..600}}; do {condition} && exit 0; sleep 0.1; done; exit 1")).ok();
}

#[test]
fn a_full_disk_refuses_clearly_and_recovers() {
    let cluster = Cluster::stopped();
    let data = cluster.data_dir();
    let mount = format!("mkdir -p {0} && mount -t tmpfs -o size=256m,mode=755 disk {0}", data.display());
    cluster.sh(&mount).ok();
    cluster.start();
    let mode = format!("stat -c %a {}", data.display());
    assert_eq!(cluster.sh(&mode).ok(), "700\n", "a directory that was open to others is not any more");
    let authority = format!("sha256sum {}/pki/ca.crt", data.display());
    let ca = cluster.sh(&authority).ok();
    cluster.k("create configmap before");
    let kubectl = skiff_tests::program("SKIFF_TEST_KUBECTL_NEW").display().to_string();

    // Another program takes all room, and objects what the store's file still has.
    let filler = format!("{}/filler", data.display());
    assert_ne!(cluster.sh(&format!("dd if=/dev/zero of={filler} bs=64k 2>/dev/null")).code, Some(0));
    cluster.sh("head -c 100000 /dev/zero | tr '\\0' x > value").ok();
    let fill = cluster.sh(&format!(
        "for i in {{1..2000}}; do {kubectl} create configmap fill-$i --from-file=value >/dev/null || exit 1; done"
    ));
    assert!(fill.fails().contains("the disk of the store is full"), "what a client is told");
    let small = cluster.sh(&format!("{kubectl} create configmap small")).fails();
    assert!(small.contains("objects can be read and deleted"), "{small}");
    let ready = cluster.sh("curl -sk https://127.0.0.1:6443/readyz").ok();
    assert!(ready.contains("[-]store-space failed"), "{ready}");
    assert_eq!(cluster.sh("curl -sk https://127.0.0.1:6443/livez").ok(), "ok", "a restart would not help");
    cluster.k("wait node/node-1 --for=condition=DiskPressure --timeout=60s");
    assert!(cluster.k("get configmaps -o name").contains("configmap/before"));
    cluster.k("delete configmap before");

    // The server is killed on the full disk, and comes back on it.
    let processes = cluster.host().processes();
    let server = processes.iter().find(|line| line.contains("skiff server")).unwrap();
    cluster.sh(&format!("kill -9 {}", server.split_whitespace().next().unwrap())).ok();
    until(&cluster, "curl -sk https://127.0.0.1:6443/livez | grep -q ok");
    until(&cluster, &format!("{kubectl} get --raw /readyz/proxy"));
    cluster.k("delete configmap fill-1");

    // So it does when it is stopped and started.
    cluster.skiff(["down"]).ok();
    cluster.start();

    cluster.sh(&format!("rm {filler}")).ok();
    until(&cluster, "[ \"$(curl -sk https://127.0.0.1:6443/readyz)\" = ok ]");
    cluster.k("create configmap after");
    cluster.k("wait node/node-1 --for=condition=DiskPressure=False --timeout=60s");

    cluster.skiff(["down"]).ok();
    let mounts = cluster.sh(&format!("grep -c ' {}' /proc/self/mounts", data.display())).stdout;
    assert_eq!(mounts.trim(), "1", "the disk stays mounted, and nothing else below it");
    cluster.start();
    assert_eq!(cluster.sh(&authority).ok(), ca, "the same cluster");
    assert!(cluster.k("get configmaps -o name").contains("configmap/after"));

    // What somebody else mounts below is not ours to unmount or to empty.
    cluster
        .sh(&format!(
            "mkdir {0}/images/other && mount -t tmpfs mine {0}/images/other && touch {0}/images/other/kept",
            data.display()
        ))
        .ok();
    cluster.skiff(["down", "--purge"]).ok();
    assert_eq!(cluster.sh(&format!("ls {}/images/other", data.display())).ok(), "kept\n");
    assert_eq!(cluster.sh(&format!("ls {}", data.display())).ok(), "images\n");
    cluster.sh(&format!("umount {0}/images/other {0}", data.display())).ok();
}

#[test]
fn a_directory_of_others_is_not_taken() {
    let cluster = Cluster::stopped();
    let data = cluster.data_dir();
    let list = format!("stat -c '%a %n' {0} {0}/*", data.display());
    cluster.sh(&format!("mkdir -m 755 {0} && touch {0}/notes", data.display())).ok();
    let before = cluster.sh(&list).ok();
    let refused = cluster.skiff(["up", "--node-name", "node-1"]).fails();
    assert!(refused.contains("open to other users and holds other files"), "{refused}");
    assert_eq!(cluster.sh(&list).ok(), before, "nothing was changed");
    std::fs::remove_dir_all(&data).unwrap();
}
