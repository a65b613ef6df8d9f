//! Removing what a pod left in the kernel and on disk. Used by the supervisor for its own pod and by the agent for
//! pods whose supervisor is dead; every step may be repeated.

use crate::cgroup::{Cgroups, PodGroups};
use crate::paths::{ContainerPaths, PodPaths, remove_tree};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use std::fs;
use std::io;
use std::path::Path;

/// Collects everything that stayed behind instead of stopping at the first.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(Vec<String>);

impl Leftovers {
    pub(crate) fn note(&mut self, what: &str, path: &Path, result: io::Result<()>) {
        if let Err(error) = result
            && error.kind() != io::ErrorKind::NotFound
        {
            self.0.push(format!("{what} {}: {error}", path.display()));
        }
    }

    /// All reasons in one line, or success.
    pub(crate) fn into_result(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0.join("; ")) }
    }
}

/// Unmounts, however often something was mounted there. Not mounted is a success.
pub(crate) fn unmount(path: &Path) -> io::Result<()> {
    loop {
        match rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes what one ended container has in the kernel, and its files in the run directory.
pub(crate) fn container(cgroups: &Cgroups, cgroup: &str, paths: &ContainerPaths, left: &mut Leftovers) {
    left.note("unmount", &paths.rootfs(), unmount(&paths.rootfs()));
    left.note("cgroup", Path::new(cgroup), cgroups.remove(cgroup));
    left.note("remove", &paths.dir, remove_tree(&paths.dir));
}

/// Removes what a pod without processes has in the kernel, and its run directory.
pub(crate) fn pod(cgroups: &Cgroups, groups: &PodGroups, paths: &PodPaths, left: &mut Leftovers) {
    if let Ok(entries) = fs::read_dir(paths.containers()) {
        for entry in entries.flatten() {
            let rootfs = entry.path().join("rootfs");
            left.note("unmount", &rootfs, unmount(&rootfs));
        }
    }
    left.note("unmount", &paths.shm(), unmount(&paths.shm()));
    left.note("unmount", &paths.userns(), unmount(&paths.userns()));
    left.note("unmount", &paths.netns, unmount(&paths.netns));
    left.note("remove", &paths.netns, fs::remove_file(&paths.netns));
    for group in groups.both() {
        left.note("cgroup", Path::new(group), cgroups.remove(group));
    }
    // Nothing may be mounted below when files are removed: volumes of others could be.
    match mounted_below(&paths.dir) {
        Ok(false) => left.note("remove", &paths.dir, remove_tree(&paths.dir)),
        Ok(true) => {
            left.note("remove", &paths.dir, Err(io::Error::other("something is still mounted below")))
        }
        Err(error) => left.note("read mounts for", &paths.dir, Err(error)),
    }
}

fn mounted_below(path: &Path) -> io::Result<bool> {
    let prefix = format!("{}/", path.display());
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mounts.lines().filter_map(|line| line.split(' ').nth(4)).any(|mount| mount.starts_with(&prefix)))
}
