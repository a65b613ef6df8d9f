//! The image store: archives, a registry on the loopback interface, policies, removal.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use common::{IMAGE, Machine, add_file, busybox_layer, code, configuration, exited};
use flate2::{Compression, write::GzEncoder};
use sha2::Digest;
use skiff_runtime::{ImageError, PullPolicy};
use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

macro_rules! machine {
    () => {
        match Machine::new().await {
            Some(machine) => machine,
            None => return,
        }
    };
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
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
    let image = images.add_executable("skiff.local/tool", busybox, &["echo", "hi"]).await.unwrap();
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
    // Only the first test of the process can install it.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let registry = Registry::start(publish()).await;
    let name = format!("localhost:{}/team/tool:v1", registry.port);
    let images = machine.runtime.images();
    assert!(matches!(images.resolve(&name, PullPolicy::Never, &[]).await, Err(ImageError::NeverPull { .. })));
    let (a, b) = tokio::join!(
        images.resolve(&name, PullPolicy::IfNotPresent, &[]),
        images.resolve(&name, PullPolicy::IfNotPresent, &[])
    );
    let image = a.unwrap();
    assert_eq!(b.unwrap(), image);
    assert_eq!(registry.manifests.load(Ordering::SeqCst), 1, "one pull for both");
    assert_eq!(image.names, [name.as_str()]);
    let by_digest = image.digests[0].clone();
    assert_eq!(images.resolve(&by_digest, PullPolicy::IfNotPresent, &[]).await.unwrap().id, image.id);
    images.resolve(&name, PullPolicy::IfNotPresent, &[]).await.unwrap();
    assert_eq!(registry.manifests.load(Ordering::SeqCst), 1);
    images.resolve(&name, PullPolicy::Always, &[]).await.unwrap();
    assert_eq!(registry.manifests.load(Ordering::SeqCst), 2);

    let pod = machine.pod("pulled").await;
    let mut spec = machine.shell(&pod, "c", "cat /etc/added && ! cat /etc/secret").await;
    spec.image = image.id;
    let id = pod.start_container(spec).await.unwrap();
    assert_eq!(code(&exited(&pod, &id).await), 0);

    let missing = format!("localhost:{}/team/none:v1", registry.port);
    let error = images.resolve(&missing, PullPolicy::IfNotPresent, &[]).await.unwrap_err();
    println!("{error}");
    assert!(matches!(error, ImageError::Pull { .. }) && error.is_retryable());
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

/// The read-only part of a registry, over plain HTTP.
struct Registry {
    port: u16,
    /// Requests for manifests by tag.
    manifests: Arc<AtomicUsize>,
}

impl Registry {
    async fn start(published: Published) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let manifests = Arc::new(AtomicUsize::new(0));
        let (published, count) = (Arc::new(published), manifests.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (published, count) = (published.clone(), count.clone());
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        request.push(stream.read_u8().await.unwrap());
                    }
                    let request = String::from_utf8(request).unwrap();
                    let path = request.split(' ').nth(1).unwrap().to_owned();
                    let response = respond(&published, &count, &path);
                    stream.write_all(&response).await.unwrap();
                });
            }
        });
        Self { port, manifests }
    }
}

fn respond(published: &Published, manifests: &AtomicUsize, path: &str) -> Vec<u8> {
    let last = path.rsplit('/').next().unwrap();
    let (kind, body) = if path == "/v2/" {
        ("application/json", Some(&b"{}"[..]))
    } else if path == "/v2/team/tool/manifests/v1" {
        manifests.fetch_add(1, Ordering::SeqCst);
        ("application/vnd.oci.image.index.v1+json", published.blobs.get(&published.index).map(Vec::as_slice))
    } else if path.contains("/manifests/") && last.starts_with("sha256:") {
        ("application/vnd.oci.image.manifest.v1+json", published.blobs.get(last).map(Vec::as_slice))
    } else {
        ("application/octet-stream", published.blobs.get(last).map(Vec::as_slice))
    };
    let (status, kind, body) = match body {
        Some(body) => ("200 OK", kind, body),
        None => (
            "404 Not Found",
            "application/json",
            &br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#[..],
        ),
    };
    let digest = digest(body);
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nDocker-Content-Digest: {digest}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
