//! Images that containers mount, on this machine's kernel, as root.

#![allow(clippy::disallowed_methods, reason = "tests prepare what is attacked by path")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use common::{Machine, PATIENCE, add_file, code, exited, layer, layered_archive, log_text};
use serde_json::json;
use skiff_runtime::{
    ContainerSpec, IdRange, ImageId, Mount, MountKind, PodHandle, PodSandbox, Propagation, PullPolicy,
    RuntimeError,
};
use skiff_tests::registry::digest;

/// Starts a machine or leaves the test with a printed reason.
macro_rules! machine {
    () => {
        match Machine::new().await {
            Some(machine) => machine,
            None => return,
        }
    };
}

const DATA: &str = "example.test/data:1";

/// Loads an image of data: two layers, of which the upper one deletes a file of the lower and replaces another.
async fn load_data(machine: &Machine) -> ImageId {
    let lower = layer(&[
        ("dir/kept", 0o644, "kept\n"),
        ("dir/gone", 0o644, "gone\n"),
        ("dir/new", 0o600, "old\n"),
        ("run.sh", 0o755, "#!/bin/sh\necho it ran\n"),
    ]);
    let upper = layer(&[("dir/.wh.gone", 0o644, ""), ("dir/new", 0o600, "new\n")]);
    load(machine, DATA, &[lower, upper]).await
}

async fn load(machine: &Machine, name: &str, layers: &[Vec<u8>]) -> ImageId {
    let archive = machine.directory.path().join("data.tar");
    std::fs::write(&archive, layered_archive(name, layers)).unwrap();
    machine.runtime.images().load(&archive).await.unwrap();
    machine.runtime.images().resolve(name, PullPolicy::Never, &[]).await.unwrap().id
}

fn mount(image: &ImageId, below: &str, destination: &str) -> Mount {
    Mount {
        kind: MountKind::Image { image: image.clone(), below: below.into() },
        destination: destination.into(),
        readonly: true,
        recursive: false,
        propagation: Propagation::Private,
    }
}

async fn with_mounts(machine: &Machine, pod: &PodHandle, script: &str, mounts: Vec<Mount>) -> ContainerSpec {
    ContainerSpec { mounts, ..machine.shell(pod, "c", script).await }
}

/// What a container sees of an image, and that it can change nothing.
const LOOK: &str = "cat /data/dir/kept /data/dir/new; ls /data/dir; stat -c '%u:%g %n' /data/run.sh; /data/run.sh; \
    cat /one/new /file; touch /data/x; rm /data/dir/kept; mount -o remount,rw /data; touch /data/y; ls /data";

async fn look(machine: &Machine, sandbox: PodSandbox) {
    let image = load_data(machine).await;
    let pod = machine.runtime.start_pod(sandbox).await.unwrap();
    let mounts =
        vec![mount(&image, "", "/data"), mount(&image, "dir", "/one"), mount(&image, "dir/kept", "/file")];
    let mut spec = with_mounts(machine, &pod, LOOK, mounts).await;
    spec.capabilities.push("CAP_SYS_ADMIN".into());
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    assert_eq!(code(&exited(&pod, &id).await), 0, "{}", log_text(&log));
    let said: Vec<String> =
        log_text(&log).lines().filter_map(|line| line.strip_prefix("stdout ").map(str::to_owned)).collect();
    let expected =
        ["kept", "new", "kept", "new", "0:0 /data/run.sh", "it ran", "new", "kept", "dir", "run.sh"];
    assert_eq!(said, expected, "{}", log_text(&log));
    assert!(log_text(&log).contains("Read-only file system"), "{}", log_text(&log));
}

#[tokio::test]
async fn images_are_seen_merged_and_nobody_writes_them() {
    let machine = machine!();
    look(&machine, machine.sandbox("data")).await;
    machine.finish().await;
}

#[tokio::test]
async fn pods_with_a_user_namespace_see_them_as_theirs() {
    let machine = machine!();
    let users = Some(IdRange::nth(3).unwrap());
    look(&machine, PodSandbox { users, ..machine.sandbox("own") }).await;
    machine.finish().await;
}

#[tokio::test]
async fn an_image_without_layers_is_an_empty_directory() {
    let machine = machine!();
    let image = load(&machine, "example.test/nothing:1", &[]).await;
    let pod = machine.pod("empty").await;
    let spec =
        with_mounts(&machine, &pod, "ls -A /data && touch /data/x", vec![mount(&image, "", "/data")]).await;
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    assert_eq!(code(&exited(&pod, &id).await), 1);
    assert!(log_text(&log).contains("Read-only file system"), "{}", log_text(&log));
    machine.finish().await;
}

/// An OCI layout with one artifact, which has these layers: type, title, content.
fn artifact(name: &str, layers: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut put = |kind: &str, bytes: &[u8]| {
        add_file(&mut archive, &format!("blobs/{}", digest(bytes).replace(':', "/")), 0o644, bytes);
        json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()})
    };
    let config = put("application/vnd.oci.empty.v1+json", b"{}");
    let mut entries = Vec::new();
    for (kind, title, content) in layers {
        let mut entry = put(kind, content);
        if let Some(title) = title {
            entry["annotations"] = json!({"org.opencontainers.image.title": title});
        }
        entries.push(entry);
    }
    let manifest = json!({"schemaVersion": 2, "artifactType": "application/vnd.example.model", "config": config, "layers": entries});
    let mut manifest = put("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    manifest["annotations"] = json!({"io.containerd.image.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    add_file(&mut archive, "index.json", 0o644, index.to_string().as_bytes());
    archive.into_inner().unwrap()
}

#[tokio::test]
async fn artifacts_are_seen_as_their_files() {
    let machine = machine!();
    let name = "example.test/model:1";
    let files = layer(&[("dir/packed", 0o644, "packed\n")]);
    // What looks compressed is a file like any other, unless it says that it is a layer of an image.
    let layers: &[(&str, Option<&str>, &[u8])] = &[
        ("application/vnd.oci.image.layer.v1.tar", Some("dir"), &files),
        ("application/octet-stream", Some("model/weights.bin"), b"\x1f\x8bweights"),
        ("text/plain", Some("README"), b"read me\n"),
        ("text/plain", None, b"untitled\n"),
    ];
    let archive = machine.directory.path().join("artifact.tar");
    std::fs::write(&archive, artifact(name, layers)).unwrap();
    let images = machine.runtime.images();
    assert_eq!(images.load(&archive).await.unwrap(), [name]);
    let image = images.resolve(name, PullPolicy::Never, &[]).await.unwrap();
    let pod = machine.pod("artifact").await;
    let script = "cd /data && cat dir/packed README && tail -c 7 model/weights.bin && echo && ls | sort && cat /readme \
        && stat -c '%a %u %n' model model/weights.bin && touch x";
    let mounts = vec![mount(&image.id, "", "/data"), mount(&image.id, "README", "/readme")];
    let spec = with_mounts(&machine, &pod, script, mounts).await;
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    assert_eq!(code(&exited(&pod, &id).await), 1, "{}", log_text(&log));
    let untitled = digest(b"untitled\n").replace("sha256:", "");
    let mut names = ["README", "dir", "model", &untitled];
    names.sort_unstable();
    let said: Vec<String> =
        log_text(&log).lines().filter_map(|line| line.strip_prefix("stdout ").map(str::to_owned)).collect();
    let expected: Vec<&str> = ["packed", "read me", "weights"]
        .into_iter()
        .chain(names)
        .chain(["read me", "755 0 model", "644 0 model/weights.bin"])
        .collect();
    assert_eq!(said, expected, "{}", log_text(&log));
    assert!(log_text(&log).contains("Read-only file system"), "{}", log_text(&log));
    machine.finish().await;
}

#[tokio::test]
async fn artifacts_that_lead_out_or_are_damaged_are_refused() {
    let machine = machine!();
    let archive = machine.directory.path().join("artifact.tar");
    let images = machine.runtime.images();
    let load = async |bytes: Vec<u8>| {
        std::fs::write(&archive, bytes).unwrap();
        images.load(&archive).await.unwrap_err().to_string()
    };
    let text = |title| [("text/plain", Some(title), &b"x"[..])];
    let why = load(artifact("example.test/out:1", &text("../../out"))).await;
    assert!(why.contains("no path in a directory"), "{why}");
    let good = artifact("example.test/bad:1", &[("text/plain", Some("f"), b"a certain content")]);
    let at = good.windows(17).position(|part| part == b"a certain content").unwrap();
    let mut bad = good;
    bad[at] = b'A';
    let why = load(bad).await;
    assert!(why.contains("not the digest and size"), "{why}");
    for name in ["example.test/out:1", "example.test/bad:1"] {
        assert!(images.get(name).await.unwrap().is_none());
    }
    machine.finish().await;
}

#[tokio::test]
async fn what_is_not_there_or_leads_out_is_refused() {
    let machine = machine!();
    load_data(&machine).await;
    let links = {
        let mut layer = tar::Builder::new(Vec::new());
        for (name, target) in [("out", "/etc"), ("up", "../../etc"), ("near", "there")] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            common::blank(&mut header, 0o777);
            layer.append_link(&mut header, name, target).unwrap();
        }
        layer.into_inner().unwrap()
    };
    let image = load(&machine, "example.test/links:1", &[layer(&[("there/f", 0o644, "f\n")]), links]).await;
    let pod = machine.pod("refused").await;
    let check = async |below: &str, expected: Option<&str>| {
        let spec = with_mounts(&machine, &pod, "cat /m/f", vec![mount(&image, below, "/m")]).await;
        match (pod.start_container(spec).await, expected) {
            (Ok(id), None) => assert_eq!(code(&exited(&pod, &id).await), 0),
            (Err(RuntimeError::Create { reason, .. }), Some(expected)) => {
                assert!(reason.contains(expected) && reason.contains(image.as_str()), "{reason}");
            }
            (result, _) => panic!("{below}: {result:?}"),
        }
    };
    check("near", None).await;
    check("none", Some("No such file")).await;
    check("out", Some("leads out of its directory")).await;
    check("up", Some("leads out of its directory")).await;
    machine.finish().await;
}

/// Its name goes, its files stay until no container has it.
#[tokio::test]
async fn an_image_stays_while_it_is_mounted() {
    let machine = machine!();
    let image = load_data(&machine).await;
    let pod = machine.pod("stays").await;
    let spec = with_mounts(&machine, &pod, "exec sleep 1000", vec![mount(&image, "", "/data")]).await;
    let id = pod.start_container(spec).await.unwrap();
    machine.runtime.images().remove(DATA).await.unwrap();
    let args = ["cat", "/data/dir/new"].map(String::from).to_vec();
    let read = pod.exec_captured(&id, args, PATIENCE, 1 << 16).await.unwrap();
    assert_eq!(String::from_utf8(read.output).unwrap(), "new\n");
    assert!(machine.runtime.images().get(image.as_str()).await.unwrap().is_some());
    pod.remove_container(&id).await.unwrap();
    machine.runtime.images().remove(common::IMAGE).await.unwrap();
    assert!(machine.runtime.images().get(image.as_str()).await.unwrap().is_none());
    machine.finish().await;
}
