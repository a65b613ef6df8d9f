//! Images of strangers, unpacked by the real processes: what they try stays in their own layers, within bounds.

#![allow(clippy::disallowed_methods, reason = "tests prepare what is attacked by path")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

#[path = "../testing/archives.rs"]
mod archives;
mod common;

use archives::{pax_sparse, sparse};
use common::{Machine, PATIENCE, add_file, busybox_layer, code, exited, log_text};
use flate2::{Compression, write::GzEncoder};
use sha2::Digest;
use skiff_runtime::{ImageError, Images};
use std::future::Future;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

macro_rules! machine {
    ($limits:expr) => {
        match Machine::limited($limits).await {
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

/// An entry without content.
fn add(layer: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, link: &str) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o666);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    if matches!(kind, EntryType::Link | EntryType::Symlink) {
        layer.append_link(&mut header, path, link).unwrap();
    } else {
        layer.append_data(&mut header, path, &b""[..]).unwrap();
    }
}

/// An archive with an image of these layers as they are stored, and the digests of what they hold.
fn image(name: &str, stored: &[Vec<u8>], diff_ids: &[String]) -> Vec<u8> {
    let paths: Vec<String> = (0..stored.len()).map(|n| format!("{n}/layer.tar")).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": [name], "Layers": paths}]);
    let mut archive = Builder::new(Vec::new());
    add_file(&mut archive, "manifest.json", 0o644, &serde_json::to_vec(&manifest).unwrap());
    add_file(&mut archive, "config.json", 0o644, &serde_json::to_vec(&config).unwrap());
    for (path, layer) in paths.iter().zip(stored) {
        add_file(&mut archive, path, 0o644, layer);
    }
    archive.into_inner().unwrap()
}

fn honest(name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    image(name, layers, &layers.iter().map(|layer| digest(layer)).collect::<Vec<_>>())
}

/// What a machine's image store says of an archive; it may not take for ever.
async fn load(machine: &Machine, archive: &[u8]) -> Result<Vec<String>, ImageError> {
    let path = machine.directory.path().join("hostile.tar");
    std::fs::write(&path, archive).unwrap();
    in_time(machine.runtime.images().load(&path)).await
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE * 3, work).await.expect("in time")
}

fn layers(machine: &Machine) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(machine.directory.path().join("data/images/layers")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn layer_of(machine: &Machine, file: &str) -> PathBuf {
    let found = layers(machine).into_iter().map(|layer| layer.join("fs").join(file));
    found.into_iter().find(|path| path.symlink_metadata().is_ok()).unwrap()
}

#[tokio::test]
async fn bounds_are_held_and_named() {
    let machine = machine!("entries=50,image-bytes=8Mi,layers=3");
    let before = (layers(&machine).len(), machine.runtime.images().list().await.unwrap());
    let mut many = Builder::new(Vec::new());
    (0..60).for_each(|n| add(&mut many, EntryType::Directory, &format!("d{n}"), ""));
    // A name of 64 megabytes, in an archive of a few kilobytes.
    let mut long = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(64 << 20);
    header.set_cksum();
    long.append(&header, std::io::repeat(b'n').take(64 << 20)).unwrap();
    let long = long.into_inner().unwrap();
    let zeros = vec![0u8; 6 << 20];
    let mut large = Builder::new(Vec::new());
    add_file(&mut large, "large", 0o644, &[zeros.clone(), zeros.clone()].concat());
    let mut middling = Builder::new(Vec::new());
    add_file(&mut middling, "middling", 0o644, &zeros);
    let (middling, large) = (middling.into_inner().unwrap(), large.into_inner().unwrap());
    let other = [middling.clone(), b"different".to_vec()].concat();
    let (sparse, newer) = (sparse(8 << 40), pax_sparse(8 << 40));
    let tiny = Builder::new(Vec::new()).into_inner().unwrap();
    for (archive, expected) in [
        (honest("x:1", &[many.into_inner().unwrap()]), "entries"),
        (image("x:1", &[gzip(&long)], &[digest(&long)]), "header-bytes"),
        (image("x:1", &[zstd::encode_all(&middling[..], 1).unwrap()], &[digest(&middling)]), "ratio"),
        (honest("x:1", &[large]), "image-bytes"),
        (honest("x:1", &[middling, other]), "image-bytes"),
        (honest("x:1", &[sparse]), "image-bytes"),
        (honest("x:1", &[newer]), "image-bytes"),
        (honest("x:1", &vec![tiny; 4]), "layers"),
    ] {
        let error = load(&machine, &archive).await.unwrap_err().to_string();
        assert!(error.contains(&format!("--image-limit {expected}=")), "{expected}: {error}");
        assert!(machine.runtime.images().get("x:1").await.unwrap().is_none());
    }
    // The first layer of the image of two is complete and stays for another import; nothing unfinished does.
    assert!(layers(&machine).len() <= before.0 + 1, "{:?}", layers(&machine));
    assert_eq!(machine.runtime.images().list().await.unwrap(), before.1);
    machine.finish().await;
}

#[tokio::test]
async fn digests_decide_what_a_layer_is() {
    let machine = machine!("");
    let mut layer = Builder::new(Vec::new());
    add_file(&mut layer, "own", 0o644, b"own");
    let layer = layer.into_inner().unwrap();
    let id = digest(&layer);
    for (diff_ids, expected) in [
        (vec![format!("/proc/{}/root", std::process::id())], "is not a digest"),
        (vec!["sha256:../../../../etc".into()], "is not a digest"),
        (vec![digest(b"other")], "its content has the digest"),
        (vec![id.clone(), id.clone()], "differ in layers"),
    ] {
        let error = load(&machine, &image("x:1", std::slice::from_ref(&layer), &diff_ids))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    // What is there under the start of the digest only, as a forger could bring about, is not the layer.
    let start = id.trim_start_matches("sha256:").chars().take(16).collect::<String>();
    let forged = machine.directory.path().join("data/images/layers").join(start).join("fs");
    std::fs::create_dir_all(&forged).unwrap();
    std::fs::write(forged.join("own"), "forged").unwrap();
    load(&machine, &image("x:1", &[layer], std::slice::from_ref(&id))).await.unwrap();
    let image = machine.runtime.images().get("x:1").await.unwrap().unwrap();
    assert_eq!(image.size, 3);
    let whole = machine.directory.path().join("data/images/layers").join(&id["sha256:".len()..]);
    assert_eq!(std::fs::read_to_string(whole.join("fs/own")).unwrap(), "own");
    machine.finish().await;
}

#[tokio::test]
async fn nodes_of_layers_are_never_opened() {
    let machine = machine!("");
    let secret = machine.directory.path().join("secret");
    std::fs::write(&secret, "of the host").unwrap();
    let mut lower = Builder::new(Vec::new());
    let mut device = Header::new_gnu();
    device.set_entry_type(EntryType::Char);
    device.set_path("disk").unwrap();
    device.set_mode(0o666);
    device.set_uid(0);
    device.set_gid(0);
    device.set_mtime(0);
    device.set_size(0);
    device.set_device_major(1).unwrap();
    // Of zeros without an end.
    device.set_device_minor(5).unwrap();
    device.set_cksum();
    lower.append(&device, &b""[..]).unwrap();
    add(&mut lower, EntryType::Fifo, "pipe", "");
    add(&mut lower, EntryType::Symlink, "link", secret.to_str().unwrap());
    let mut upper = Builder::new(Vec::new());
    for (name, target) in [("disk2", "disk"), ("pipe2", "pipe"), ("link2", "link")] {
        add(&mut upper, EntryType::Link, name, target);
    }
    let archive = honest("x:1", &[lower.into_inner().unwrap(), upper.into_inner().unwrap()]);
    load(&machine, &archive).await.unwrap();
    let kind = |file: &str| layer_of(&machine, file).symlink_metadata().unwrap();
    assert!(kind("disk2").file_type().is_char_device() && kind("disk2").len() == 0);
    assert!(kind("pipe2").file_type().is_fifo());
    assert!(kind("link2").file_type().is_symlink());

    let mut through = Builder::new(Vec::new());
    add(&mut through, EntryType::Symlink, "out", machine.directory.path().to_str().unwrap());
    add(&mut through, EntryType::Link, "stolen", "out/secret");
    let error =
        load(&machine, &honest("y:1", &[through.into_inner().unwrap()])).await.unwrap_err().to_string();
    assert!(error.contains("is missing"), "{error}");
    assert_eq!(std::fs::metadata(&secret).unwrap().nlink(), 1);
    machine.finish().await;
}

#[tokio::test]
async fn only_files_are_archives() {
    let machine = machine!("");
    let pipe = machine.directory.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for (path, expected) in
        [(pipe.as_path(), "named pipe"), (Path::new("/dev/zero"), "device"), (Path::new("/"), "directory")]
    {
        let error = in_time(machine.runtime.images().load(path)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    machine.finish().await;
}

/// An archive that never comes to its end holds up nobody.
#[tokio::test]
async fn imports_do_not_wait_for_each_other() {
    let machine = machine!("");
    let images: Images = machine.runtime.images().clone();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"the beginning").unwrap();
    let slow = tokio::spawn({
        let images = images.clone();
        async move { images.load_from(reader).await }
    });
    let mut layer = Builder::new(Vec::new());
    add_file(&mut layer, "f", 0o644, b"f");
    load(&machine, &honest("x:1", &[layer.into_inner().unwrap()])).await.unwrap();
    in_time(images.remove("x:1")).await.unwrap();
    assert_eq!(layers(&machine).len(), 2, "removed at once: {:?}", layers(&machine));
    let pod = machine.pod("meanwhile").await;
    assert_eq!(machine.run(&pod, "c", "true").await.0, 0);
    drop(writer);
    let error = in_time(slow).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("not a tar archive"), "{error}");
    machine.finish().await;
}

/// More layers than their names would fit into the options of a mount; the last ones hide and delete.
#[tokio::test]
async fn images_of_many_layers_run() {
    let machine = machine!("");
    let mut stack = vec![busybox_layer()];
    for n in 0..66 {
        let mut layer = Builder::new(Vec::new());
        add_file(&mut layer, &format!("d/{n}"), 0o644, n.to_string().as_bytes());
        stack.push(layer.into_inner().unwrap());
    }
    let mut hiding = Builder::new(Vec::new());
    add_file(&mut hiding, "d/.wh..wh..opq", 0o644, b"");
    add(&mut hiding, EntryType::Link, "kept", "etc/secret");
    let mut last = Builder::new(Vec::new());
    add_file(&mut last, "d/last", 0o644, b"last");
    stack.extend([hiding.into_inner().unwrap(), last.into_inner().unwrap()]);
    let path = machine.directory.path().join("many.tar");
    std::fs::write(&path, honest("many:1", &stack)).unwrap();
    let images = machine.runtime.images();
    tokio::time::timeout(PATIENCE * 6, images.load(&path)).await.expect("in time").unwrap();
    let pod = machine.pod("many").await;
    let mut spec = machine.shell(&pod, "c", "ls /d; cat /kept; stat -c %a /kept").await;
    spec.image = images.get("many:1").await.unwrap().unwrap().id;
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    assert_eq!(code(&exited(&pod, &id).await), 0);
    assert_eq!(log_text(&log), "stdout last\nstdout root only\nstdout 600\n");
    machine.finish().await;
}

fn unpacker(arguments: &[&str]) -> std::process::Child {
    std::process::Command::new(env!("CARGO_BIN_EXE_supervisor-for-tests"))
        .arg("unpack-layer")
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap()
}

/// The capabilities of a process, which also may not get more and is filtered.
fn check_rights(process: &std::process::Child, rights: u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
    };
    for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(u64::from_str_radix(&field(set), 16).unwrap(), rights, "{set}");
    }
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".into(), "2".into()));
}

#[test]
fn what_expands_can_only_read_and_write() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: needs root");
    }
    let mut expander = unpacker(&["", "gzip"]);
    let mut input = expander.stdin.take().unwrap();
    let mut output = expander.stdout.take().unwrap();
    let text: Vec<u8> = (0..200_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let packed = gzip(&text);
    input.write_all(&packed[..32 << 10]).unwrap();
    // Its first word comes when it is at work.
    let mut first = [0; 1];
    output.read_exact(&mut first).unwrap();
    check_rights(&expander, 0);
    let feeder = std::thread::spawn(move || input.write_all(&packed[32 << 10..]).unwrap());
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    feeder.join().unwrap();
    assert!(expander.wait().unwrap().success());
    assert!(first == text[..1] && rest == text[1..]);
}

/// What the process that unpacks a layer has left of the machine.
#[test]
fn the_unpacker_has_no_more_than_it_needs() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: needs root");
    }
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("fs");
    std::fs::create_dir(&target).unwrap();
    let mut unpacker = unpacker(&["seconds=77", "extract", target.to_str().unwrap()]);
    let mut input = unpacker.stdin.take().unwrap();
    let mut layer = Builder::new(Vec::new());
    add_file(&mut layer, "file", 0o644, &[b'x'; 512 << 10]);
    let layer = layer.into_inner().unwrap();
    // More than a pipe holds: once it is written, the unpacking is under way.
    input.write_all(&layer[..300 << 10]).unwrap();
    let of = |what: &str| format!("/proc/{}/{what}", unpacker.id());
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP.
    check_rights(&unpacker, 1 | (1 << 1) | (1 << 3) | (1 << 4) | (1 << 27) | (1 << 31));
    let limits = std::fs::read_to_string(of("limits")).unwrap();
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!((limit("Max cpu time"), limit("Max file size")), ("77".into(), (64u64 << 30).to_string()));
    let memory: u64 = limit("Max address space").parse().unwrap();
    assert!(memory < 1 << 30, "{memory}");
    for namespace in ["mnt", "net", "ipc"] {
        let own = std::fs::read_link(format!("/proc/self/ns/{namespace}")).unwrap();
        assert_ne!(std::fs::read_link(of("ns").to_owned() + "/" + namespace).unwrap(), own, "{namespace}");
    }
    let mounts = std::fs::read_to_string(of("mountinfo")).unwrap();
    assert_eq!(mounts.lines().count(), 1, "nothing but the layer: {mounts}");
    assert!(mounts.contains("nosuid,nodev,noexec"), "{mounts}");
    let names = std::fs::read_dir(of("root")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["file"]);
    input.write_all(&layer[300 << 10..]).unwrap();
    drop(input);
    assert!(unpacker.wait().unwrap().success());
    assert_eq!(std::fs::metadata(target.join("file")).unwrap().len(), 512 << 10);
}
