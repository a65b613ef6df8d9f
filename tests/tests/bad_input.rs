//! Wrong input gets a clear answer and changes nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::PermissionsExt;

use skiff_tests::{Cluster, Host, Kubectl, Output, program};

#[test]
fn wrong_manifests_get_kubernetes_errors() {
    let cluster = Cluster::empty();
    let check = |yaml: &str, message: &str| {
        let path = write(&cluster, yaml);
        for client in [Kubectl::New, Kubectl::Old] {
            let error = cluster.kubectl(client, &format!("create -f {}", path.display())).fails();
            assert!(error.contains(message), "{client:?}: {error}\ndoes not say {message}");
        }
        assert_eq!(cluster.k("get all -o name"), "service/kubernetes\n", "nothing has changed");
    };
    check(
        "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 0}]}}",
        "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
    );
    check(
        "{apiVersion: v1, kind: Service, metadata: {name: S}, spec: {ports: [{port: 80}]}}",
        "The Service \"S\" is invalid: metadata.name: Invalid value: \"S\"",
    );
    check(
        "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}}",
        "provided IP is already allocated",
    );
    check(
        "{apiVersion: v1, kind: ReplicationController, metadata: {name: r}, spec: {selector: {a: b}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: c, image: i}]}}}}",
        "spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`",
    );
    check(
        "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: []}}",
        "spec.containers: Required value",
    );
    check(
        "{apiVersion: v1, kind: Pods, metadata: {name: p}, spec: {containers: []}}",
        "no matches for kind \"Pods\" in version \"v1\"",
    );
    check(
        "{apiVersion: extensions/v1beta1, kind: Deployment, metadata: {name: d}}",
        "no matches for kind \"Deployment\" in version \"extensions/v1beta1\"",
    );
    let path =
        write(&cluster, "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {prts: [{port: 80}]}}");
    let error = cluster.kubectl(Kubectl::New, &format!("create -f {}", path.display())).fails();
    assert!(error.contains("unknown field \"spec.prts\""), "{error}");
    let error = cluster.kubectl(Kubectl::Old, &format!("create -f {}", path.display())).fails();
    assert!(error.contains("unknown field \"prts\""), "{error}");
    assert!(cluster.k("get svc -o name").lines().count() == 1);
}

/// A manifest in a file. An old kubectl takes a file that begins with a brace for JSON.
fn write(cluster: &Cluster, yaml: &str) -> std::path::PathBuf {
    let path = cluster.host().directory().join("wrong.yaml");
    std::fs::write(&path, format!("---\n{yaml}\n")).unwrap();
    path
}

#[test]
fn unusable_images_are_explained() {
    let cluster = Cluster::empty();
    let error = cluster.skiff(["image", "load", "/etc/passwd"]).fails();
    assert_eq!(
        error,
        "skiff: load /etc/passwd: archive /etc/passwd: not a tar archive, or damaged: the checksum of a header is wrong\n"
    );
    let error = cluster.skiff(["image", "load", "/nowhere"]).fails();
    assert_eq!(error.matches("No such file").count(), 1, "{error}");
    cluster.k("run ghost --image=nowhere.invalid/ghost:1");
    let jsonpath = "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff";
    cluster.k(&format!("wait pod/ghost --timeout=60s {jsonpath}"));
    let events = cluster.k("get events --field-selector involvedObject.name=ghost");
    assert!(events.contains("Failed to pull image \"nowhere.invalid/ghost:1\""), "{events}");
    assert!(events.contains("Error: ErrImagePull"), "{events}");
    let row = cluster.k("get pod ghost --no-headers");
    assert!(row.contains("0/1"), "{row}");
}

/// `skiff` on a host without a cluster, with its state in the host's directory.
fn skiff(host: &Host, arguments: &[&str]) -> Output {
    let mut command = host.command(program("SKIFF_TEST_BINARY"));
    command.args(arguments).env("KUBECONFIG", host.directory().join("kubeconfig"));
    command.env("SKIFF_DATA_DIR", host.directory().join("data"));
    command.env("SKIFF_RUN_DIR", host.directory().join("run"));
    Output::of(&mut command)
}

#[test]
fn a_taken_port_is_named() {
    let host = Host::new();
    let mut other = host.command("busybox").args(["nc", "-l", "-p", "6443"]).spawn().unwrap();
    let wait = "for i in {1..100}; do grep -q ':192B ' /proc/net/tcp /proc/net/tcp6 && exit 0; sleep 0.05; done; exit 1";
    Output::of(host.command("bash").args(["-c", wait])).ok();
    let error = skiff(&host, &["up"]).fails();
    assert!(error.contains("port 6443") && error.contains("--api-port"), "{error}");
    assert!(!host.directory().join("kubeconfig").exists(), "nothing half-started is left");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_damaged_data_file_is_named() {
    let host = Host::new();
    let store = host.directory().join("data/store");
    std::fs::create_dir_all(&store).unwrap();
    std::fs::write(store.join("state.redb"), "not a database").unwrap();
    let error = skiff(&host, &["up"]).fails();
    assert!(error.contains("state.redb is damaged"), "{error}");
    assert_eq!(host.processes(), Vec::<String>::new(), "nothing half-started is left");
}

#[test]
fn a_data_directory_in_use_is_named() {
    let cluster = Cluster::empty();
    let mut command = cluster.host().command(program("SKIFF_TEST_BINARY"));
    let other = cluster.host().directory().join("other-run");
    command.args(["up", "--api-port", "7443", "--kubelet-port", "11250"]).arg("--run-dir").arg(&other);
    let error = Output::of(command.arg("--data-dir").arg(cluster.data_dir())).fails();
    assert!(error.contains("state.redb is in use by another process"), "{error}");
    assert!(!other.exists(), "nothing half-started is left");
    assert!(cluster.k("get --raw /readyz").contains("ok"), "the first cluster goes on");
}

#[test]
fn not_root_is_explained() {
    let host = Host::new();
    // A copy where any user can run it: the built one may lie in a directory that only root enters.
    let public = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let skiff = public.path().join("skiff");
    std::fs::copy(program("SKIFF_TEST_BINARY"), &skiff).unwrap();
    let mut command = host.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(skiff).arg("up").current_dir("/");
    let error = Output::of(&mut command).fails();
    assert!(error.contains("needs root"), "{error}");
}
