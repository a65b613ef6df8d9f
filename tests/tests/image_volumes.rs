//! Images as volumes on a whole cluster: from the node, from a registry that wants credentials, and not to be had.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use skiff_tests::registry::{Access, Registry, digest};
use skiff_tests::{Cluster, Kubectl, Output};

/// A layer with these files.
fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        header.set_size(content.len() as u64);
        layer.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    layer.into_inner().unwrap()
}

/// The configuration of an image of these layers.
fn configuration(layers: &[Vec<u8>]) -> Vec<u8> {
    let layers: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let document = serde_json::json!({
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": layers}});
    document.to_string().into_bytes()
}

/// A registry that wants a password, and an image of two layers in it.
fn publish(cluster: &Cluster) -> (Registry, String) {
    // u:p
    let registry = cluster.host().in_network(|| Registry::start(0, Access::Basic("dTpw")));
    let layers = [
        layer(&[("conf/a", "one\n"), ("conf/b", "two\n")]),
        layer(&[("conf/.wh.b", ""), ("conf/c", "three\n")]),
    ];
    let config = configuration(&layers);
    let image = registry.publish("team/data", "1", &config, &layers);
    (registry, image)
}

/// A pod that sleeps, with an image as a volume at `/data` and a part of it at `/part`.
fn apply(cluster: &Cluster, name: &str, image: &str, part: &str, more: &str) {
    cluster.apply(&format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 1
  {more}
  containers:
  - name: main
    image: luksa/kubia
    command: [sleep, '1000']
    volumeMounts:
    - {{name: data, mountPath: /data}}
    - {{name: data, mountPath: /part, subPath: {part}}}
  volumes: [{{name: data, image: {{reference: '{image}'}}}}]
"
    ));
}

fn waits_for(cluster: &Cluster, pod: &str, reason: &str) -> String {
    let path = "{.status.containerStatuses[0].state.waiting.reason}";
    cluster.k(&format!("wait pod/{pod} --timeout=60s --for=jsonpath={path}={reason}"));
    cluster.k(&format!("get pod {pod} -o jsonpath={{.status.containerStatuses[0].state.waiting.message}}"))
}

/// Reasons and messages of a pod's events, those at a container marked.
fn events(cluster: &Cluster, pod: &str) -> String {
    let columns = "custom-columns=AT:.involvedObject.fieldPath,REASON:.reason,MESSAGE:.message";
    cluster.k(&format!("get events --field-selector involvedObject.name={pod} -o {columns}"))
}

#[test]
fn pods_mount_images_that_they_may_pull() {
    let cluster = Cluster::up();
    let (registry, image) = publish(&cluster);
    let server = format!("--docker-server={} --docker-username=u --docker-password=p", registry.host());
    cluster.k(&format!("create secret docker-registry cred {server}"));
    apply(&cluster, "data", &image, "conf/c", "imagePullSecrets: [{name: cred}]");
    apply(&cluster, "stranger", &image, "conf/c", "");
    apply(&cluster, "whole", "luksa/kubia", "usr/bin", "hostUsers: true");
    cluster.k("wait pod/data pod/whole --timeout=60s --for=condition=Ready");

    assert_eq!(cluster.k("exec data -- cat /data/conf/a /data/conf/c /part"), "one\nthree\nthree\n");
    assert_eq!(cluster.k("exec data -- ls /data/conf"), "a\nc\n");
    let refused = cluster.kubectl(Kubectl::New, "exec data -- touch /data/conf/d");
    assert!(refused.stderr.contains("Read-only file system"), "{refused}");
    assert_eq!(cluster.k("exec whole -- /part/echo runs"), "runs\n");

    let shown = "{.status.containerStatuses[0].volumeMounts[*].volumeStatus.image.imageRef}";
    let shown = cluster.k(&format!("get pod data -o jsonpath={shown}"));
    let refs: Vec<&str> = shown.split(' ').collect();
    assert!(refs.len() == 2 && refs[0] == refs[1] && refs[0].contains("team/data@sha256:"), "{refs:?}");
    let told = events(&cluster, "data");
    let pulled = format!("<none>\\s+Pulled\\s+Successfully pulled image \"{image}\"");
    assert!(regex::Regex::new(&pulled).unwrap().is_match(&told), "{told}");

    let message = waits_for(&cluster, "stranger", "ImagePullBackOff");
    assert!(message.starts_with(&format!("Back-off pulling image \"{image}\": ErrImagePull: ")), "{message}");
    let told = events(&cluster, "stranger");
    for expected in [
        format!("<none>\\s+Failed\\s+Failed to pull image \"{image}\""),
        format!("<none>\\s+BackOff\\s+Back-off pulling image \"{image}\""),
        "spec.containers\\{main\\}\\s+Failed\\s+Error: ErrImagePull".into(),
        "spec.containers\\{main\\}\\s+Failed\\s+Error: ImagePullBackOff".into(),
    ] {
        assert!(regex::Regex::new(&expected).unwrap().is_match(&told), "{expected} in {told}");
    }

    // Its name goes, its files stay while a container has them; whoever starts anew pulls anew.
    let is_listed = || cluster.skiff(["image", "list"]).ok().contains("team/data:1");
    assert!(is_listed());
    cluster.skiff(["image", "remove", &image]).ok();
    assert!(!is_listed());
    assert_eq!(cluster.k("exec data -- cat /part"), "three\n");
    cluster.skiff(["down"]).ok();
    cluster.start();
    cluster.k("wait pod/data --timeout=60s --for=condition=Ready");
    assert_eq!(cluster.k("exec data -- cat /part"), "three\n");
    assert!(is_listed());
}

#[test]
fn images_that_cannot_be_had_say_why() {
    let cluster = Cluster::up();
    apply(&cluster, "unnamed", "No Name", "x", "");
    apply(&cluster, "parted", "luksa/kubia", "no/such/path", "");
    let never =
        "[{\"op\": \"replace\", \"path\": \"/spec/volumes/0/image/pullPolicy\", \"value\": \"Never\"}]";
    let mut patch = cluster.kubectl_command(Kubectl::New, "");
    let file = cluster.host().directory().join("never.yaml");
    let yaml = cluster.k("get pod parted -o yaml");
    assert!(yaml.contains("pullPolicy: Always"), "as an image without a tag: {yaml}");
    let refused = Output::of(patch.args(["patch", "pod", "parted", "--type=json", "-p", never]));
    assert!(refused.stderr.contains("pod updates may not change fields"), "{refused}");
    std::fs::write(
        &file,
        "{apiVersion: v1, kind: Pod, metadata: {name: never}, spec: {containers: [{name: main, image: luksa/kubia, \
         volumeMounts: [{name: data, mountPath: /data}]}], volumes: [{name: data, image: {reference: 'absent:1', pullPolicy: Never}}]}}",
    )
    .unwrap();
    cluster.k(&format!("apply -f {}", file.display()));
    let message = waits_for(&cluster, "never", "ErrImageNeverPull");
    assert_eq!(message, "Container image \"absent:1\" is not present with pull policy of Never");
    let message = waits_for(&cluster, "unnamed", "InvalidImageName");
    assert!(message.contains("couldn't parse image name \"No Name\""), "{message}");
    let message = waits_for(&cluster, "parted", "CreateContainerError");
    assert!(message.contains("/no/such/path") && message.contains("No such file"), "{message}");
    cluster.k("delete pod --all --timeout=60s");
}
