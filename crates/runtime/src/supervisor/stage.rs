//! A root directory for the process that becomes a container, with nothing in it but what the container is made of.
//!
//! The job leaves the node's tree of mounts for one of its own, in which every part has the path that it has on the node: the
//! container's directories, devices, `/sys` and `/proc`, and whatever the process does on its way, nothing else of the node is
//! in reach. Two reasons:
//!
//! * libcontainer reads the table of mounts once for each controller of v1, and the kernel copies it for each mount
//!   namespace. The node's grows with its pods, so that a hundred pods took each other's time; this one is always as short.
//! * In a user namespace the process is nobody on the node, and has no way through directories that only root may enter. There
//!   image layers belong to it, with the owners of their files mapped to the pod's IDs.

use super::sources::private_view;
use super::users::Users;
use crate::paths::{ContainerPaths, PodPaths};
use crate::wire::RootfsSource;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive};
use skiff_rooted::{Detached, Handle, Root};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Moves this process into a mount namespace and a root directory of its own, with the container's root file system, which is
/// mounted, and these directories.
pub(super) fn enter<'a>(
    container: &ContainerPaths,
    directories: impl IntoIterator<Item = &'a Path>,
) -> Result<(), String> {
    private_view().map_err(|error| format!("make a mount namespace: {error}"))?;
    let stage = Stage::new(container.stage()).map_err(named(&container.stage()))?;
    for path in [&container.dir, &container.rootfs()] {
        stage.bind(path).map_err(named(path))?;
    }
    for path in directories {
        stage.bind(path).map_err(named(path))?;
    }
    for path in ["/dev", "/sys", "/proc"].map(Path::new) {
        stage.bind_with_all_below(path).map_err(named(path))?;
    }
    stage.become_root().map_err(|error| format!("change the root directory: {error}"))
}

/// The same for a pod with a user namespace, before the root file system is mounted.
pub(super) fn enter_mapped(
    users: &Users,
    pod: &PodPaths,
    container: &ContainerPaths,
    rootfs: &RootfsSource,
) -> Result<(), String> {
    let layers = mapped(users, &rootfs.directory).map_err(|error| {
        format!(
            "the image layers in {} cannot be shown in a user namespace: {error}",
            rootfs.directory.display()
        )
    })?;
    private_view().map_err(|error| format!("make a mount namespace: {error}"))?;
    let stage = Stage::new(container.stage()).map_err(named(&container.stage()))?;
    let attach = |(parent, name): (Root, String)| layers.attach(&parent, name);
    stage.place(&rootfs.directory).and_then(attach).map_err(named(&rootfs.directory))?;
    for path in [&container.dir, &container.data, &pod.shm()] {
        stage.bind(path).map_err(named(path))?;
    }
    for path in ["/dev", "/sys"].map(Path::new) {
        stage.bind_with_all_below(path).map_err(named(path))?;
    }
    // A new one: the kernel lets a user namespace have its own only where one is seen that hides nothing.
    stage.processes().map_err(|error| format!("/proc: {error}"))?;
    stage.become_root().map_err(|error| format!("change the root directory: {error}"))
}

/// Names the path that something went wrong at.
fn named(path: &Path) -> impl FnOnce(io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

/// A copy of a directory of the node, to be seen from the user namespace.
fn mapped(users: &Users, directory: &Path) -> io::Result<Detached> {
    let copy = Detached::plain_copy_of(&Handle::open(directory)?)?;
    copy.map_ids(std::os::fd::AsFd::as_fd(users))?;
    Ok(copy)
}

/// The root directory to be: memory, mounted where only this mount namespace sees it.
struct Stage {
    root: PathBuf,
}

impl Stage {
    fn new(root: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&root)?;
        mount("stage", &root, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=755,size=1m"))?;
        Ok(Self { root })
    }

    /// Where `path` will be, made as a directory that everybody may enter.
    fn below(&self, path: &Path) -> io::Result<PathBuf> {
        let target = self.root.join(path.strip_prefix("/").unwrap_or(path));
        fs::create_dir_all(&target)?;
        Ok(target)
    }

    /// The same, as a name in its directory.
    fn place(&self, path: &Path) -> io::Result<(Root, String)> {
        let target = self.below(path)?;
        let (parent, name) = (target.parent(), target.file_name().and_then(|name| name.to_str()));
        let (Some(parent), Some(name)) = (parent, name) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        Ok((Root::open(parent)?, name.to_owned()))
    }

    fn bind(&self, path: &Path) -> io::Result<()> {
        Ok(mount_bind(path, self.below(path)?)?)
    }

    fn bind_with_all_below(&self, path: &Path) -> io::Result<()> {
        Ok(mount_bind_recursive(path, self.below(path)?)?)
    }

    fn processes(&self) -> io::Result<()> {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        Ok(mount("proc", self.below(Path::new("/proc"))?, "proc", flags, None)?)
    }

    /// Makes it the root directory; the node's is no longer there.
    fn become_root(self) -> io::Result<()> {
        rustix::process::chdir(&self.root)?;
        // The old root is stacked on the new one, and taken away from there.
        rustix::process::pivot_root(".", ".")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        Ok(rustix::process::chdir("/")?)
    }
}
