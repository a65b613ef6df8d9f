//! What is stored, encrypted: nothing of it lies on disk, keys are rotated, and without them nothing is lost.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skiff_tests::{Cluster, Kubectl};

/// Sixteen times the letter A, and 32 times B.
const FIRST: &str = "{aescbc: {keys: [{name: a, secret: QUFBQUFBQUFBQUFBQUFBQQ==}]}}";
const SECOND: &str = "{secretbox: {keys: [{name: b, secret: QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=}]}}";

/// Starts the cluster with providers for Secrets, the first of which writes.
fn start(cluster: &Cluster, providers: &str) {
    let file = cluster.host().directory().join("encryption.yaml");
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n";
    std::fs::write(&file, format!("{head}resources: [{{resources: [secrets], providers: {providers}}}]"))
        .unwrap();
    let file = file.to_string_lossy();
    cluster.skiff(["up", "--node-name", "node-1", "--encryption-provider-config", &file]).ok();
}

fn stop(cluster: &Cluster) {
    cluster.skiff(["down"]).ok();
}

/// Whether the store's files have a text.
fn is_on_disk(cluster: &Cluster, text: &str) -> bool {
    let files = std::fs::read_dir(cluster.data_dir().join("store")).unwrap();
    let mut contents = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    contents.any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
}

#[test]
fn secrets_are_encrypted_and_their_keys_rotated() {
    let cluster = Cluster::stopped();
    start(&cluster, &format!("[{FIRST}, {{identity: {{}}}}]"));
    cluster.k("create secret generic s --from-literal=password=nobody-reads-this");
    assert!(is_on_disk(&cluster, "k8s:enc:aescbc:v1:a:"));
    let read = |cluster: &Cluster| cluster.k("get secret s -o jsonpath={.data.password}");
    assert_eq!(read(&cluster), "bm9ib2R5LXJlYWRzLXRoaXM=");

    stop(&cluster);
    start(&cluster, &format!("[{SECOND}, {FIRST}]"));
    let version = |cluster: &Cluster| cluster.k("get secret s -o jsonpath={.metadata.resourceVersion}");
    let before = version(&cluster);
    std::fs::write(cluster.host().directory().join("all.json"), cluster.k("get secrets -A -o json")).unwrap();
    let all = cluster.host().directory().join("all.json");
    cluster.k(&format!("replace -f {}", all.display()));
    assert_ne!(version(&cluster), before, "what has an old key is written, though it is the same");

    stop(&cluster);
    assert!(!is_on_disk(&cluster, "bm9ib2R5LXJlYWRzLXRoaXM"));
    start(&cluster, &format!("[{SECOND}]"));
    assert_eq!(read(&cluster), "bm9ib2R5LXJlYWRzLXRoaXM=");

    stop(&cluster);
    cluster.start();
    let why = cluster.kubectl(Kubectl::New, "get secrets -A").fails();
    let expected = "Internal error occurred: unable to transform key \"/registry/core/secrets/default/s\": identity transformer tried to read encrypted data";
    assert!(why.contains(expected), "{why}");
    stop(&cluster);
    start(&cluster, &format!("[{SECOND}]"));
    assert_eq!(read(&cluster), "bm9ib2R5LXJlYWRzLXRoaXM=");
}
