//! The image store: archives, a registry on the loopback interface, policies, removal.

#![allow(clippy::disallowed_methods, reason = "tests prepare what is attacked by path")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use common::{IMAGE, Machine, add_file, busybox_layer, code, configuration, exited};
use flate2::{Compression, write::GzEncoder};
use skiff_runtime::{ImageError, PullCredentials, PullPolicy};
use skiff_tests::registry::{Access, Answer, Registry, digest};
use std::collections::HashMap;
use std::io::Write;

macro_rules! machine {
    () => {
        match Machine::new().await {
            Some(machine) => machine,
            None => return,
        }
    };
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image as a registry or OCI archive has it.
struct Published {
    blobs: HashMap<String, Vec<u8>>,
    /// Digest of the index over all processors.
    index: String,
}

/// Layers: busybox, and above it one that adds a file and deletes another. The first is gzip, the second zstd.
fn publish() -> Published {
    let mut upper = tar::Builder::new(Vec::new());
    add_file(&mut upper, "etc/added", 0o644, b"added\n");
    add_file(&mut upper, "etc/.wh.secret", 0o644, b"");
    let layers = [busybox_layer(), upper.into_inner().unwrap()];
    let mut config: serde_json::Value = serde_json::from_slice(&configuration(&layers[0])).unwrap();
    config["rootfs"]["diff_ids"] = serde_json::json!(layers.each_ref().map(|l| digest(l)));
    let config = serde_json::to_vec(&config).unwrap();
    let packed = [gzip(&layers[0]), zstd::encode_all(&layers[1][..], 1).unwrap()];
    let mut blobs = HashMap::new();
    let mut put = |kind: &str, bytes: Vec<u8>| {
        let entry = serde_json::json!({"mediaType": kind, "digest": digest(&bytes), "size": bytes.len()});
        blobs.insert(digest(&bytes), bytes);
        entry
    };
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put("application/vnd.oci.image.config.v1+json", config),
        "layers": [
            put("application/vnd.oci.image.layer.v1.tar+gzip", packed[0].clone()),
            put("application/vnd.oci.image.layer.v1.tar+zstd", packed[1].clone()),
        ],
    });
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let mut ours = put(kind, serde_json::to_vec(&manifest).unwrap());
    ours["platform"] = serde_json::json!({"os": "linux", "architecture": "amd64"});
    let mut other = ours.clone();
    other["digest"] = serde_json::json!(digest(b"elsewhere"));
    other["platform"] = serde_json::json!({"os": "linux", "architecture": "s390x"});
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [other, ours],
    });
    let index = put("application/vnd.oci.image.index.v1+json", serde_json::to_vec(&index).unwrap());
    let index = index["digest"].as_str().unwrap().to_owned();
    Published { blobs, index }
}

fn oci_archive(name: &str) -> Vec<u8> {
    let published = publish();
    let mut archive = tar::Builder::new(Vec::new());
    add_file(&mut archive, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
    let size = published.blobs[&published.index].len();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": published.index, "size": size,
        "annotations": {"org.opencontainers.image.ref.name": name},
    }]});
    add_file(&mut archive, "index.json", 0o644, &serde_json::to_vec(&index).unwrap());
    for (digest, bytes) in &published.blobs {
        add_file(&mut archive, &format!("blobs/{}", digest.replace(':', "/")), 0o644, bytes);
    }
    archive.into_inner().unwrap()
}

#[tokio::test]
async fn oci_archives_load_and_run() {
    let machine = machine!();
    let path = machine.directory.path().join("oci.tar.gz");
    std::fs::write(&path, gzip(&oci_archive("tool:v2"))).unwrap();
    let images = machine.runtime.images();
    assert_eq!(images.load(&path).await.unwrap(), ["docker.io/library/tool:v2"]);
    let image = images.resolve("tool:v2", PullPolicy::Always, &[]).await.unwrap();
    assert_eq!(image.config.cmd, ["sh"]);
    let pod = machine.pod("oci").await;
    let mut spec = machine.shell(&pod, "c", "cat /etc/added && ! cat /etc/secret && cat /etc/passwd").await;
    spec.image = image.id.clone();
    let id = pod.start_container(spec).await.unwrap();
    assert_eq!(code(&exited(&pod, &id).await), 0);

    // Removed while a container uses it: the name goes, the files stay until the container is gone.
    images.remove("tool:v2").await.unwrap();
    assert!(images.get("tool:v2").await.unwrap().is_none());
    assert!(layers(&machine) == 3, "busybox of the archive is the same layer as that of the test image");
    pod.remove_container(&id).await.unwrap();
    images.remove(IMAGE).await.unwrap();
    assert_eq!(layers(&machine), 1, "only the empty one");
    machine.finish().await;
}

fn layers(machine: &Machine) -> usize {
    std::fs::read_dir(machine.directory.path().join("data/images/layers")).unwrap().count()
}

#[tokio::test]
async fn archives_of_another_tool_load() {
    let machine = machine!();
    let images = machine.runtime.images();
    let original = images.get(IMAGE).await.unwrap().unwrap();
    let from = format!("docker-archive:{}", machine.directory.path().join("busybox.tar").display());
    for (n, kind) in ["oci-archive", "docker-archive"].into_iter().enumerate() {
        let path = machine.directory.path().join(kind);
        let to = format!("{kind}:{}:quay.io/team/box:v{n}", path.display());
        let copied = std::process::Command::new("skopeo")
            .args(["--insecure-policy", "copy", "-q", &from, &to])
            .output();
        let Ok(copied) = copied else { return println!("skipped: skopeo is not installed") };
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        assert_eq!(images.load(&path).await.unwrap(), [format!("quay.io/team/box:v{n}")]);
    }
    // The other tool may write the configuration anew, but the layers and what they run are the same.
    for image in images.list().await.unwrap() {
        assert_eq!(image.config, original.config);
    }
    assert_eq!(layers(&machine), 2);
    machine.finish().await;
}

#[tokio::test]
async fn damaged_archives_change_nothing() {
    let machine = machine!();
    let images = machine.runtime.images();
    let before = images.list().await.unwrap();
    let path = machine.directory.path().join("bad.tar");
    let mut archive = tar::Builder::new(Vec::new());
    let manifest = serde_json::json!([{"Config": "c", "RepoTags": ["x"], "Layers": ["l"]}]);
    add_file(&mut archive, "manifest.json", 0o644, &serde_json::to_vec(&manifest).unwrap());
    add_file(&mut archive, "c", 0o644, &configuration(b"something else"));
    add_file(&mut archive, "l", 0o644, &busybox_layer());
    for (content, expected) in [
        (archive.into_inner().unwrap(), "its content has the digest"),
        (b"no archive".to_vec(), "bad.tar"),
        (Vec::new(), "it is empty"),
    ] {
        std::fs::write(&path, content).unwrap();
        let error = images.load(&path).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(images.list().await.unwrap(), before);
    assert_eq!(layers(&machine), 2);
    machine.finish().await;
}

#[tokio::test]
async fn executables_become_images() {
    let machine = machine!();
    let images = machine.runtime.images();
    let busybox = std::path::Path::new("/bin/busybox");
    // Made at each start of a cluster, which is not to wait for a process.
    let alone = machine.without_processes();
    let image = alone.images().add_executable("skiff.local/tool", busybox, &["echo", "hi"]).await.unwrap();
    assert_eq!(image.config.entrypoint, ["/busybox", "echo", "hi"]);
    assert_eq!(
        images.add_executable("skiff.local/tool", busybox, &["echo", "hi"]).await.unwrap().id,
        image.id
    );
    let pod = machine.pod("exe").await;
    let mut spec = machine.shell(&pod, "c", "").await;
    (spec.image, spec.args, spec.cwd) = (image.id, image.config.entrypoint, "/a/b".into());
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    assert_eq!(code(&exited(&pod, &id).await), 0);
    assert_eq!(common::log_text(&log), "stdout hi\n");
    machine.finish().await;
}

#[tokio::test]
async fn pulls_choose_the_platform_and_fly_once() {
    let machine = machine!();
    install_tls();
    let registry = Registry::start(0, Access::Open);
    let name = offer(&registry, publish());
    let asked = || registry.seen().iter().filter(|seen| seen.contains("/manifests/v1 ")).count();
    let images = machine.runtime.images();
    assert!(matches!(images.resolve(&name, PullPolicy::Never, &[]).await, Err(ImageError::NeverPull { .. })));
    let (a, b) = tokio::join!(
        images.resolve(&name, PullPolicy::IfNotPresent, &[]),
        images.resolve(&name, PullPolicy::IfNotPresent, &[])
    );
    let image = a.unwrap();
    assert_eq!(b.unwrap(), image);
    assert_eq!(asked(), 1, "one pull for both");
    assert_eq!(image.names, [name.as_str()]);
    let by_digest = image.digests[0].clone();
    assert_eq!(images.resolve(&by_digest, PullPolicy::IfNotPresent, &[]).await.unwrap().id, image.id);
    images.resolve(&name, PullPolicy::IfNotPresent, &[]).await.unwrap();
    assert_eq!(asked(), 1);
    images.resolve(&name, PullPolicy::Always, &[]).await.unwrap();
    assert_eq!(asked(), 2);

    let pod = machine.pod("pulled").await;
    let mut spec = machine.shell(&pod, "c", "cat /etc/added && ! cat /etc/secret").await;
    spec.image = image.id;
    let id = pod.start_container(spec).await.unwrap();
    assert_eq!(code(&exited(&pod, &id).await), 0);

    let missing = format!("{}/team/none:v1", registry.host());
    let error = images.resolve(&missing, PullPolicy::IfNotPresent, &[]).await.unwrap_err();
    println!("{error}");
    assert!(matches!(error, ImageError::Pull { .. }) && error.is_retryable());
    machine.finish().await;
}

#[tokio::test]
async fn artifacts_are_pulled_like_images() {
    let machine = machine!();
    install_tls();
    let registry = Registry::start(0, Access::Open);
    let (content, empty) = (b"weights\n".to_vec(), b"{}".to_vec());
    let describe = |kind: &str, bytes: &[u8]| {
        serde_json::json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len(),
            "annotations": {"org.opencontainers.image.title": "weights.bin"}})
    };
    let manifest = serde_json::json!({
        "config": describe("application/vnd.oci.empty.v1+json", &empty),
        "layers": [describe("application/octet-stream", &content)],
    });
    let manifest = manifest.to_string().into_bytes();
    for place in ["manifests/v1".to_owned(), format!("manifests/{}", digest(&manifest))] {
        registry.answer(&format!("/v2/team/model/{place}"), Answer::ok(OCI_MANIFEST, manifest.clone()));
    }
    let blob = format!("/v2/team/model/blobs/{}", digest(&content));
    registry.answer(&blob, Answer::ok("application/octet-stream", content.clone()));
    let name = format!("{}/team/model:v1", registry.host());
    let image = machine.runtime.images().resolve(&name, PullPolicy::IfNotPresent, &[]).await.unwrap();
    assert_eq!(image.id.as_str(), digest(&manifest));
    assert_eq!(image.size, content.len() as u64);
    let seen = registry.seen();
    assert!(
        !seen.iter().any(|seen| seen.contains(&digest(&empty))),
        "nobody needs its configuration: {seen:?}"
    );
    machine.finish().await;
}

/// Puts an image into a registry, without credentials to ask for. Returns its reference.
fn offer(registry: &Registry, published: Published) -> String {
    let Published { blobs, index } = published;
    for (digest, bytes) in blobs {
        let kind = match &bytes {
            bytes if bytes.starts_with(b"{\"layers") || bytes.starts_with(b"{\"config") => OCI_MANIFEST,
            _ => "application/octet-stream",
        };
        if digest == index {
            let answer = Answer::ok("application/vnd.oci.image.index.v1+json", bytes.clone());
            registry.answer("/v2/team/tool/manifests/v1", answer);
        }
        registry.answer(&format!("/v2/team/tool/manifests/{digest}"), Answer::ok(kind, bytes.clone()));
        registry.answer(&format!("/v2/team/tool/blobs/{digest}"), Answer::ok(kind, bytes));
    }
    format!("{}/team/tool:v1", registry.host())
}

fn install_tls() {
    // Only the first test of the process can install it.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
}

/// The layer and the configuration of an image for a registry. The machine has no other image with that layer, which would
/// be for everyone.
async fn unknown_image(machine: &Machine) -> (Vec<u8>, Vec<u8>) {
    install_tls();
    machine.runtime.images().remove(IMAGE).await.unwrap();
    let layer = busybox_layer();
    let config = configuration(&layer);
    (layer, config)
}

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A user and a password, and both as registries see them.
const RIGHT: (&str, &str) = ("u", "right");
const ENCODED: &str = "dTpyaWdodA==";

fn credentials((username, password): (&str, &str)) -> PullCredentials {
    PullCredentials::Password { username: username.into(), password: password.into() }
}

#[tokio::test]
async fn registries_get_the_credentials_that_they_ask_for() {
    let machine = machine!();
    let (layer, config) = unknown_image(&machine).await;
    let images = machine.runtime.images();
    for (access, scheme) in [(Access::Basic(ENCODED), "Basic"), (Access::Token(ENCODED), "Bearer")] {
        let registry = Registry::start(0, access);
        let name = registry.publish("private/app", "1", &config, std::slice::from_ref(&layer));
        for wrong in [vec![], vec![credentials(("u", "wrong"))]] {
            let error = images.resolve(&name, PullPolicy::IfNotPresent, &wrong).await.unwrap_err();
            let text = error.to_string();
            assert!(error.is_retryable() && text.contains("pull access denied"), "{text}");
            assert!(!text.contains("wrong"), "{text}");
        }
        // The first ones are good for something else.
        let keys = [credentials(("u", "wrong")), credentials(RIGHT)];
        let image = images.resolve(&name, PullPolicy::IfNotPresent, &keys).await.unwrap();
        assert_eq!(image.names, [name.as_str()]);
        assert!(
            registry.seen().contains(&format!("/v2/private/app/manifests/1 {scheme}")),
            "{:?}",
            registry.seen()
        );

        // What is there now is for those who have the credentials, or get it from the registry without any.
        let asked = registry.seen().len();
        for policy in [PullPolicy::IfNotPresent, PullPolicy::Never] {
            assert_eq!(images.resolve(&name, policy, &keys).await.unwrap().id, image.id);
        }
        assert_eq!(registry.seen().len(), asked, "they are known to be good");
        let error = images.resolve(&name, PullPolicy::Never, &[]).await.unwrap_err();
        assert!(matches!(error, ImageError::NoAccess { .. }), "{error}");
        images.resolve(&name, PullPolicy::IfNotPresent, &[]).await.unwrap_err();
        assert!(registry.seen().len() > asked, "the registry decides");
        images.remove(&name).await.unwrap();
    }
    machine.finish().await;
}

#[tokio::test]
async fn an_identity_token_is_spent_for_tokens_only() {
    let machine = machine!();
    let (layer, config) = unknown_image(&machine).await;
    let images = machine.runtime.images();
    let token = |text: &str| [PullCredentials::IdentityToken(text.into())];
    let registry = Registry::start(0, Access::Identity("the/token+"));
    let name = registry.publish("private/app", "1", &config, std::slice::from_ref(&layer));
    let error = images.pull(&name, &token("wrong")).await.unwrap_err().to_string();
    assert!(error.contains("pull access denied") && !error.contains("wrong"), "{error}");
    assert_eq!(images.pull(&name, &token("the/token+")).await.unwrap().names, [name.as_str()]);
    let shown = registry.seen().into_iter().filter(|request| request.contains("Basic")).count();
    assert_eq!(shown, 0, "{:?}", registry.seen());
    images.resolve(&name, PullPolicy::Never, &token("other")).await.unwrap_err();
    images.resolve(&name, PullPolicy::Never, &token("the/token+")).await.unwrap();
    images.remove(&name).await.unwrap();
    let basic = Registry::start(0, Access::Basic(ENCODED));
    let name = basic.publish("private/app", "1", &config, std::slice::from_ref(&layer));
    let error = images.pull(&name, &token("the/token+")).await.unwrap_err().to_string();
    assert!(error.contains("no basic auth credentials"), "{error}");
    machine.finish().await;
}

/// A registry that lies, asks for the password elsewhere, or talks without an end.
#[tokio::test]
async fn registries_are_not_trusted() {
    let machine = machine!();
    let (layer, config) = unknown_image(&machine).await;
    let images = machine.runtime.images();
    let registry = Registry::start(0, Access::Open);
    let name = registry.publish("a/app", "1", &config, std::slice::from_ref(&layer));
    let other = Registry::start(0, Access::Open);
    let layer_path = format!("/v2/a/app/blobs/{}", digest(&layer));
    let redirect = |to: String| Answer {
        status: "307 Temporary Redirect",
        headers: vec![format!("Location: {to}")],
        body: vec![],
    };
    let challenge = |realm: &str| Answer {
        status: "401 Unauthorized",
        headers: vec![format!("WWW-Authenticate: Bearer realm=\"{realm}\"")],
        body: vec![],
    };
    let manifest = "/v2/a/app/manifests/1";
    let longer = [layer.clone(), b"more".to_vec()].concat();
    for (path, answer, expected) in [
        (layer_path.as_str(), Answer::ok("x", b"other".to_vec()), "not what its digest"),
        (&layer_path, Answer::ok("x", longer), "not what its digest"),
        (&layer_path, redirect(layer_path.clone()), "circles"),
        (manifest, Answer::ok("x", vec![b' '; 5 << 20]), "document-bytes"),
        (manifest, Answer::ok("x", b"<html>".to_vec()), "cannot be read"),
        (manifest, challenge("http://elsewhere.example/token"), "cannot be asked"),
        (manifest, challenge("file:///etc/shadow"), "cannot be asked"),
    ] {
        let before = registry.publish("a/app", "1", &config, std::slice::from_ref(&layer));
        registry.answer(path, answer);
        let keys = [credentials(RIGHT)];
        let error = images.pull(&before, &keys).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(images.get(&name).await.unwrap().is_none());
    }
    // A blob may lie elsewhere; who is asked there learns no credentials.
    let basic = Registry::start(0, Access::Basic(ENCODED));
    let name = basic.publish("a/app", "1", &config, std::slice::from_ref(&layer));
    basic.answer(&layer_path, redirect(format!("http://127.0.0.1:{}/elsewhere", other.port())));
    other.answer("/elsewhere", Answer::ok("x", layer));
    images.pull(&name, &[credentials(RIGHT)]).await.unwrap();
    assert_eq!(other.seen(), ["/elsewhere -"]);
    machine.finish().await;
}

#[tokio::test]
async fn loaded_images_win_until_removed() {
    let machine = machine!();
    let images = machine.runtime.images();
    let image = images.resolve(IMAGE, PullPolicy::Always, &[]).await.unwrap();
    assert_eq!(image.names, [IMAGE]);
    images.remove(image.id.as_str()).await.unwrap();
    assert!(matches!(images.resolve(IMAGE, PullPolicy::Never, &[]).await, Err(ImageError::NeverPull { .. })));
    assert!(images.list().await.unwrap().is_empty());
    machine.finish().await;
}
