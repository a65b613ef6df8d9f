//! Mounts of a cluster that has ended, and what somebody else has mounted below its directories.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use rustix::mount::{UnmountFlags, unmount};

/// A mount as mountinfo tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    kind: String,
}

/// Unmounts what skiff has mounted below one of its directories, the deepest first: volumes and root file systems of
/// pods, and what a killed process left. The directory itself and mounts of others stay.
pub(crate) fn unmount_ours(directory: &Path) -> anyhow::Result<()> {
    for Mount { point, .. } in table()?.iter().rev().filter(|mount| is_ours(mount, directory)) {
        unmount(point, UnmountFlags::DETACH).with_context(|| format!("unmount {}", point.display()))?;
    }
    Ok(())
}

/// Deletes what is in a directory under names that are `ours`, with everything below, but nothing on a file system that
/// somebody else has mounted there; those are returned.
pub(crate) fn remove_tree(directory: &Path, ours: impl Fn(&OsStr) -> bool) -> anyhow::Result<Vec<PathBuf>> {
    let points = table()?.into_iter().map(|mount| mount.point);
    let foreign: BTreeSet<PathBuf> =
        points.filter(|point| point.starts_with(directory) && point != directory).collect();
    remove_content(directory, &foreign, &ours).with_context(|| format!("remove {}", directory.display()))?;
    Ok(foreign.into_iter().collect())
}

fn remove_content(
    directory: &Path,
    foreign: &BTreeSet<PathBuf>,
    ours: &dyn Fn(&OsStr) -> bool,
) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if foreign.contains(&path) || !ours(&entry.file_name()) {
            continue;
        }
        if foreign.iter().any(|point| point.starts_with(&path)) {
            remove_content(&path, foreign, &|_| true)?;
        } else if entry.file_type()?.is_dir() {
            fs::remove_dir_all(&path)?;
        } else {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Whether a mount is one of those that skiff makes: in a pod's own directories, and of the kinds made there
/// (`docs/files.md`). Volumes may have other things mounted on them by privileged pods or by hand: only memory is ours.
fn is_ours(mount: &Mount, directory: &Path) -> bool {
    let Ok(below) = mount.point.strip_prefix(directory) else { return false };
    let parts: Vec<&str> = below.components().filter_map(name).collect();
    match parts[..] {
        ["netns", _] => mount.kind == "nsfs",
        ["pods", _, "volumes", ..] => mount.kind == "tmpfs",
        ["staged", _] => true,
        ["pods" | "containers", _, _, ..] => true,
        _ => false,
    }
}

fn name(component: Component<'_>) -> Option<&str> {
    component.as_os_str().to_str()
}

fn table() -> anyhow::Result<Vec<Mount>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("read the list of mounts")?;
    Ok(parse(&text))
}

/// Mounts in the order of mounting (the format is described in proc_pid_mountinfo(5)).
fn parse(table: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let point = PathBuf::from(unescape(line.split(' ').nth(4)?));
        let kind = line.split(" - ").nth(1)?.split(' ').next()?.to_owned();
        Some(Mount { point, kind })
    };
    table.lines().filter_map(mount).collect()
}

/// The kernel writes space, tab, newline and backslash as `\ooo`.
fn unescape(path: &str) -> String {
    let mut out = path.replace("\\040", " ");
    for (code, character) in [("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        out = out.replace(code, character);
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn takes_its_own_for_its_own() {
        let line =
            |point: &str, kind: &str| format!("2 1 0:1 / {point} rw,relatime shared:1 - {kind} src rw\n");
        let check = |point: &str, kind: &str, ours: bool| {
            let mounts = parse(&line(point, kind));
            assert_eq!(mounts.len(), 1, "{point}");
            assert_eq!(is_ours(&mounts[0], Path::new("/data")), ours, "{point} {kind}");
        };
        check("/data", "ext4", false);
        check("/data/images", "ext4", false);
        check("/data/pods", "ext4", false);
        check("/data/other/a/b/c", "tmpfs", false);
        check("/database/pods/uid/shm", "tmpfs", false);
        check("/data/pods/uid/volumes/a\\040b", "tmpfs", true);
        check("/data/pods/uid/volumes/disk", "ext4", false);
        check("/data/staged/pvc-1", "ext4", true);
        check("/data/staged/pvc-1/by-hand", "tmpfs", false);
        check("/data/volumes/pvc-1/files/by-hand", "tmpfs", false);
        check("/data/pods/uid/shm", "tmpfs", true);
        check("/data/pods/uid/c/id/rootfs", "overlay", true);
        check("/data/netns/uid", "nsfs", true);
        check("/data/netns", "tmpfs", false);
    }

    #[test]
    fn leaves_what_others_mounted() {
        let dir = tempfile::tempdir().unwrap();
        let path = |below: &str| dir.path().join(below);
        for below in ["a/b/disk/kept", "a/b/gone", "c/gone"] {
            fs::create_dir_all(path(below)).unwrap();
        }
        fs::write(path("file"), "").unwrap();
        fs::write(path("command.lock"), "").unwrap();
        remove_content(dir.path(), &BTreeSet::from([path("a/b/disk")]), &|name| name != "command.lock")
            .unwrap();
        assert!(path("a/b/disk/kept").exists() && path("command.lock").exists());
        assert!(!path("a/b/gone").exists() && !path("c").exists() && !path("file").exists());
    }
}
