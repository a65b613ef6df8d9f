//! Images as attacks, and images that are for some pods only, on a whole cluster.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use skiff_tests::registry::{Access, Registry, digest};
use skiff_tests::{Cluster, Kubectl};
use tar::{Builder, EntryType, Header};

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

fn add_file(archive: &mut Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) {
    let mut header = header(EntryType::Regular, mode);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, path, content).unwrap();
}

fn busybox() -> Vec<u8> {
    let mut layer = Builder::new(Vec::new());
    add_file(&mut layer, "bin/busybox", 0o755, &std::fs::read("/bin/busybox").unwrap());
    layer.into_inner().unwrap()
}

fn config(diff_ids: &[String]) -> Vec<u8> {
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }, "os": "linux",
        "config": {"Cmd": ["/bin/busybox", "sleep", "1000"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config.to_string().into_bytes()
}

/// Writes what `docker save` would write.
fn save(cluster: &Cluster, name: &str, layers: &[Vec<u8>], diff_ids: &[String]) -> PathBuf {
    let paths: Vec<String> = (0..layers.len()).map(|n| format!("{n}/layer.tar")).collect();
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": [name], "Layers": paths}]);
    let mut archive = Builder::new(Vec::new());
    add_file(&mut archive, "manifest.json", 0o644, manifest.to_string().as_bytes());
    add_file(&mut archive, "config.json", 0o644, &config(diff_ids));
    for (path, layer) in paths.iter().zip(layers) {
        add_file(&mut archive, path, 0o644, layer);
    }
    let path = cluster.host().directory().join("archive.tar");
    std::fs::write(&path, archive.into_inner().unwrap()).unwrap();
    path
}

fn honest(cluster: &Cluster, name: &str, layers: &[Vec<u8>]) -> PathBuf {
    save(cluster, name, layers, &layers.iter().map(|layer| digest(layer)).collect::<Vec<_>>())
}

fn load(cluster: &Cluster, path: &std::path::Path) -> skiff_tests::Output {
    // What never ends is a failed test, not one that never ends.
    cluster.sh(&format!(
        "timeout 60 {} image load {}",
        skiff_tests::program("SKIFF_TEST_BINARY").display(),
        path.display()
    ))
}

#[test]
fn an_image_is_data() {
    let cluster = Cluster::empty();
    let layer = busybox();
    // Host files by the name of a layer.
    let path = save(&cluster, "evil:1", std::slice::from_ref(&layer), &["/proc/self/root".into()]);
    let error = load(&cluster, &path).fails();
    assert!(error.contains("\"/proc/self/root\" is not a digest"), "{error}");

    // A pipe that nobody writes to, and a device.
    let pipe = cluster.host().directory().join("pipe");
    cluster.sh(&format!("mkfifo {}", pipe.display())).ok();
    assert!(load(&cluster, &pipe).fails().contains("named pipe"));
    assert!(load(&cluster, std::path::Path::new("/dev/zero")).fails().contains("device"));

    // A gigabyte of a name in a small layer, said to be there.
    let mut long = header(EntryType::GNULongName, 0);
    long.set_size(1 << 30);
    long.set_cksum();
    let error = load(&cluster, &honest(&cluster, "evil:2", &[long.as_bytes().to_vec()])).fails();
    assert!(error.contains("--image-limit header-bytes="), "{error}");

    // Nodes that the next layer links: made, never read; the pod that has them cannot open them either.
    let mut nodes = Builder::new(Vec::new());
    for (kind, path, (major, minor)) in [
        (EntryType::Char, "null2", (1, 3)),
        (EntryType::Block, "disk", (7, 0)),
        (EntryType::Fifo, "pipe", (0, 0)),
    ] {
        let mut header = header(kind, 0o666);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        nodes.append_data(&mut header, path, &b""[..]).unwrap();
    }
    let mut links = Builder::new(Vec::new());
    for (path, target) in [("disk2", "disk"), ("pipe2", "pipe")] {
        links.append_link(&mut header(EntryType::Link, 0), path, target).unwrap();
    }
    let layers = [layer, nodes.into_inner().unwrap(), links.into_inner().unwrap()];
    load(&cluster, &honest(&cluster, "nodes:1", &layers)).ok();
    cluster.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: nodes}, spec: {restartPolicy: Never, containers: [{name: c, \
         image: \"nodes:1\", command: [/bin/busybox, sh, -c, \
         'b=/bin/busybox; $b test -b /disk2 && $b test -p /pipe2 && ! $b dd if=/disk2 count=1 of=/dev/null']}]}}",
    );
    cluster.k("wait pod/nodes --timeout=60s --for=jsonpath={.status.phase}=Succeeded");
    let log = cluster.k("logs nodes");
    assert!(log.contains("Operation not permitted"), "{log}");
    assert_eq!(cluster.k("get pods -o name").trim(), "pod/nodes", "the cluster is well");
}

fn pod(name: &str, image: &str, more: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 0, {more} \
         containers: [{{name: c, image: \"{image}\", imagePullPolicy: IfNotPresent}}]}}}}"
    )
}

#[test]
fn private_images_are_for_those_who_have_the_secret() {
    let cluster = Cluster::empty();
    let layer = busybox();
    let config = config(&[digest(&layer)]);
    let wait =
        |name: &str, condition: &str| cluster.k(&format!("wait pod/{name} --timeout=60s --for={condition}"));
    let running = |name: &str| wait(name, "condition=Ready");
    // `u:p`.
    for (port, access) in [(5000, Access::Basic("dTpw")), (5001, Access::Token("dTpw"))] {
        let registry = cluster.host().in_network(|| Registry::start(port, access));
        let image = registry.publish("private/app", "1", &config, std::slice::from_ref(&layer));
        let (open, with) = (format!("open-{port}"), format!("with-{port}"));
        cluster.apply(&pod(&open, &image, ""));
        wait(&open, "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImagePull");
        let server = format!("--docker-server={} --docker-username=u --docker-password=p", registry.host());
        cluster.k(&format!("create secret docker-registry cred-{port} {server}"));
        cluster.apply(&pod(&with, &image, &format!("imagePullSecrets: [{{name: cred-{port}}}],")));
        running(&with);
        cluster.k(&format!("delete pod {open} --wait"));
        // It is on the node now, and still not for everyone.
        cluster.apply(&pod(&open, &image, "imagePullSecrets: [{name: absent}],"));
        wait(&open, "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImagePull");
        let events = cluster
            .kubectl(Kubectl::New, &format!("get events --field-selector involvedObject.name={open}"))
            .ok();
        assert!(events.contains("FailedToRetrieveImagePullSecret"), "{events}");
        let text = "Unable to retrieve some image pull secrets (absent); attempting to pull the image may not succeed.";
        assert!(events.contains(text), "{events}");
        assert!(events.contains("pull access denied"), "{events}");
        cluster.k(&format!("delete pod {open} --wait"));
        if port == 5001 {
            // A ServiceAccount's secrets are those of its pods; and dockercfg is the older form of the other.
            let dockercfg =
                serde_json::json!({registry.host(): {"username": "u", "password": "p"}}).to_string();
            let file = cluster.host().directory().join("dockercfg");
            std::fs::write(&file, dockercfg).unwrap();
            let from = format!("--type=kubernetes.io/dockercfg --from-file=.dockercfg={}", file.display());
            cluster.k(&format!("create secret generic old-form {from}"));
            cluster.k("create serviceaccount puller");
            let patch = r#"patch serviceaccount puller -p {"imagePullSecrets":[{"name":"old-form"}]}"#;
            cluster.k(patch);
            let other = registry.publish("private/other", "1", &config, std::slice::from_ref(&layer));
            cluster.apply(&pod("account", &other, "serviceAccountName: puller,"));
            running("account");
        }
    }
}
