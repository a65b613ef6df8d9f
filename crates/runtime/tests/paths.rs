//! What an image puts where root works by path before a container is entered, on this machine's kernel, as root.

#![allow(clippy::disallowed_methods, reason = "tests prepare what is attacked by path")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use common::{Machine, PATIENCE, add_file, busybox_layer, code, configuration, exited, log_text};
use skiff_runtime::{FileIds, Mount, MountKind, Propagation, PullPolicy};
use std::path::Path;

/// The test image with one more entry, under a name of its own.
async fn load(machine: &Machine, name: &str, entry: impl FnOnce(&mut tar::Builder<Vec<u8>>)) {
    // Entries before the others; the end of the archive is the other layer's.
    let mut layer = tar::Builder::new(Vec::new());
    entry(&mut layer);
    let mut layer = layer.into_inner().unwrap();
    layer.truncate(layer.len() - 1024);
    layer.extend(busybox_layer());
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["l/layer.tar"]}]);
    let mut archive = tar::Builder::new(Vec::new());
    add_file(&mut archive, "manifest.json", 0o644, &serde_json::to_vec(&manifest).unwrap());
    add_file(&mut archive, "config.json", 0o644, &configuration(&layer));
    add_file(&mut archive, "l/layer.tar", 0o644, &layer);
    let path = machine.directory.path().join("image.tar");
    std::fs::write(&path, archive.into_inner().unwrap()).unwrap();
    machine.runtime.images().load(&path).await.unwrap();
}

fn link(layer: &mut tar::Builder<Vec<u8>>, path: &str, target: &Path) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000);
    layer.append_link(&mut header, path, target).unwrap();
}

#[tokio::test]
async fn a_link_in_place_of_dev_leads_nowhere() {
    let Some(machine) = Machine::new().await else { return };
    let host = machine.directory.path().join("host");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("ptmx"), "the host's").unwrap();
    let image = "example.test/linked:1";
    load(&machine, image, |layer| {
        link(layer, "dev", &host);
        // Where it leads as seen from inside is there, too.
        let inside = host.strip_prefix("/").unwrap().join("file");
        add_file(layer, inside.to_str().unwrap(), 0o644, b"");
    })
    .await;
    let pod = machine.pod("linked").await;
    let mut spec = machine.shell(&pod, "c", "test -c /dev/null && test -e /dev/fd/0 && echo own").await;
    spec.image = machine.runtime.images().resolve(image, PullPolicy::IfNotPresent, &[]).await.unwrap().id;
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    let ended = exited(&pod, &id).await;
    let names: Vec<_> = std::fs::read_dir(&host).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["ptmx"], "nothing is made in, or taken from, a directory of the host");
    assert_eq!((code(&ended), log_text(&log).as_str()), (0, "stdout own\n"));
    machine.finish().await;
}

#[tokio::test]
async fn a_source_is_what_it_was_expected_to_be_and_inside_its_volume() {
    let Some(machine) = Machine::new().await else { return };
    let volume = machine.directory.path().join("volume");
    std::fs::create_dir_all(volume.join("dir")).unwrap();
    std::fs::write(volume.join("dir/file"), "inside\n").unwrap();
    std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
    std::os::unix::fs::symlink("dir", volume.join("near")).unwrap();
    let pod = machine.pod("sources").await;
    let start = async |name: &str, below: &str, expected: Option<skiff_rooted::Kind>| {
        let mut spec = machine.shell(&pod, name, "cat /m/file; echo x > /m/new && echo written").await;
        spec.mounts.push(Mount {
            kind: MountKind::Bind {
                source: volume.clone(),
                below: below.into(),
                expected,
                ids: FileIds::Container,
            },
            destination: "/m".into(),
            readonly: true,
            recursive: true,
            propagation: Propagation::Private,
        });
        let log = spec.log_path.clone();
        let id = tokio::time::timeout(PATIENCE, pod.start_container(spec)).await.expect("in time");
        let id = id.map_err(|error| error.to_string())?;
        exited(&pod, &id).await;
        Ok::<String, String>(log_text(&log))
    };
    let text = start("a", "near", Some(skiff_rooted::Kind::Directory)).await.unwrap();
    assert!(
        text.contains("stdout inside") && text.contains("Read-only") && !text.contains("written"),
        "{text}"
    );
    assert!(start("b", "out", None).await.unwrap_err().contains("leads out of its directory"));
    let refused = start("c", "dir", Some(skiff_rooted::Kind::Socket)).await.unwrap_err();
    assert!(refused.contains("is not a socket file"), "{refused}");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("/sources/"), "attached for the container alone");
    machine.finish().await;
}
