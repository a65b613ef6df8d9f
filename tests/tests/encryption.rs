//! What is stored, encrypted: nothing of it lies on disk, keys are rotated, and without them nothing is lost.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skiff_tests::{Cluster, KmsPlugin, Kubectl, Output};

/// Sixteen times the letter A, and 32 times B.
const FIRST: &str = "{aescbc: {keys: [{name: a, secret: QUFBQUFBQUFBQUFBQUFBQQ==}]}}";
const SECOND: &str = "{secretbox: {keys: [{name: b, secret: QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=}]}}";

/// Starts the cluster with providers for Secrets, the first of which writes.
fn start(cluster: &Cluster, providers: &str) {
    up(cluster, providers).ok();
}

fn up(cluster: &Cluster, providers: &str) -> Output {
    let file = cluster.host().directory().join("encryption.yaml");
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n";
    std::fs::write(&file, format!("{head}resources: [{{resources: [secrets], providers: {providers}}}]"))
        .unwrap();
    let file = file.to_string_lossy();
    cluster.skiff(["up", "--node-name", "node-1", "--encryption-provider-config", &file])
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

#[test]
fn a_key_management_service_opens_what_is_stored_and_its_keys_change() {
    let cluster = Cluster::stopped();
    let socket = cluster.host().directory().join("kms.sock");
    let providers = format!(
        "[{{kms: {{apiVersion: v2, name: vault, endpoint: 'unix://{}', timeout: 3s}}}}]",
        socket.display()
    );
    let read = |cluster: &Cluster| cluster.k("get secret s -o jsonpath={.data.password}");
    let is_closed_by = |cluster: &Cluster, key: &str| is_on_disk(cluster, &format!("{key}:"));

    let plugin = KmsPlugin::start(&socket, &["key-one"]);
    start(&cluster, &providers);
    cluster.k("create secret generic s --from-literal=password=nobody-reads-this");
    assert!(is_on_disk(&cluster, "k8s:enc:kms:v2:vault:") && is_closed_by(&cluster, "key-one"));
    assert_eq!(read(&cluster), "bm9ib2R5LXJlYWRzLXRoaXM=");

    // Another key: what is written anew, changed or not, is closed by that, and the old one may go.
    stop(&cluster);
    assert!(!is_on_disk(&cluster, "bm9ib2R5LXJlYWRzLXRoaXM"));
    plugin.rotate("key-two");
    start(&cluster, &providers);
    assert_eq!(read(&cluster), "bm9ib2R5LXJlYWRzLXRoaXM=");
    let all = cluster.host().directory().join("all.json");
    std::fs::write(&all, cluster.k("get secrets -A -o json")).unwrap();
    cluster.k(&format!("replace -f {}", all.display()));
    assert!(is_closed_by(&cluster, "key-two"));
    plugin.forget("key-one");
    stop(&cluster);
    start(&cluster, &providers);
    assert_eq!(read(&cluster), "bm9ib2R5LXJlYWRzLXRoaXM=");

    // Nobody opens them: it is told which service is missing, and all else is served.
    stop(&cluster);
    drop(plugin);
    start(&cluster, &providers);
    let why = cluster.kubectl(Kubectl::New, "get secret s").fails();
    assert!(why.contains("/registry/core/secrets/default/s") && why.contains("dial unix"), "{why}");
    let why = cluster.kubectl(Kubectl::New, "create secret generic t").fails();
    assert!(why.contains("KMS Provider vault") && why.contains("dial unix"), "{why}");
    let status = cluster.skiff(["status"]);
    assert_eq!(status.code, Some(1), "{status}");
    assert!(status.stdout.contains("KMS Provider vault"), "{status}");
    cluster.k("create configmap c --from-literal=a=b");

    stop(&cluster);
    let _plugin = KmsPlugin::start(&socket, &["key-two"]);
    start(&cluster, &providers);
    assert_eq!(read(&cluster), "bm9ib2R5LXJlYWRzLXRoaXM=");
    cluster.skiff(["status"]).ok();
}
