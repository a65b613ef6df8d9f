//! The sources of a container's mounts: found by descriptor, attached where only this process sees them.
//!
//! libcontainer mounts by path, and a path in a volume is the container's to change: a directory swapped for a link
//! between a look and the mount would show the host. So each source is resolved once, below its volume, and what was found
//! is copied by descriptor. The copies are attached in the container's own directory, which nobody but root can write, in
//! a mount namespace of the job's own: from there libcontainer takes them, and they end with the job. The node's namespace
//! has never seen them, so there is nothing to unmount later, whoever dies.

use super::users::Users;
use crate::spec::{ContainerSpec, FileIds, Mount, MountKind, Propagation};
use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;
use skiff_rooted::{Detached, Follow, Handle, Kind, Owner, Root, Spread};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// Sources that were found, each with its place among the container's mounts.
pub(super) struct Sources(Vec<(usize, Kind, Detached)>);

/// Finds the sources of all bind mounts, to be seen from a user namespace if there is one. To be called in the node's mount
/// namespace: a copy made there belongs to the original's peers, as `Bidirectional` means it.
pub(super) fn find(spec: &ContainerSpec, users: Option<&Users>) -> Result<Sources, String> {
    let mut found = Vec::new();
    for (index, mount) in spec.mounts.iter().enumerate() {
        if let MountKind::Bind { source, below, expected, ids } = &mount.kind {
            let failed = |error: io::Error| format!("mount {}: {error}", source.join(below).display());
            let handle = resolve(source, below).map_err(failed)?;
            if let Some(expected) = expected.filter(|expected| *expected != handle.kind()) {
                return Err(format!("mount {}: is not {expected}", source.join(below).display()));
            }
            let copy = copy(&handle, mount).map_err(failed)?;
            if let Some(users) = users {
                map(&copy, mount, *ids, users).map_err(failed)?;
            }
            found.push((index, handle.kind(), copy));
        }
    }
    Ok(Sources(found))
}

fn resolve(source: &Path, below: &Path) -> io::Result<Handle> {
    if below.as_os_str().is_empty() {
        Handle::open(source)
    } else {
        Root::open(source)?.find(below, Follow::Inside)
    }
}

/// What is read-only is so from here on, in the node's user namespace: a container with one of its own and
/// `CAP_SYS_ADMIN` there could undo what was done within it, and nothing that came from outside.
fn copy(handle: &Handle, mount: &Mount) -> io::Result<Detached> {
    let copy = Detached::copy_of(handle)?;
    copy.spread(match mount.propagation {
        Propagation::Private => Spread::Private,
        Propagation::HostToContainer => Spread::Receive,
        Propagation::Bidirectional => Spread::Keep,
    })?;
    match (mount.readonly, mount.recursive) {
        (false, _) => {}
        (true, false) => copy.read_only_itself()?,
        (true, true) => copy.read_only()?,
    }
    Ok(copy)
}

/// Shows the files of a volume with the owners that they are stored with, as far as its own mount goes: what is mounted
/// below belongs to others.
fn map(copy: &Detached, mount: &Mount, ids: FileIds, users: &Users) -> io::Result<()> {
    if mount.propagation == Propagation::Bidirectional {
        // The kernel lets nothing out of a mount namespace of less privilege.
        let reason = "Bidirectional mount propagation cannot be had together with a user namespace";
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    match ids {
        FileIds::Container => copy.map_ids(users.as_fd()),
        FileIds::Node => Ok(()),
    }
}

/// Moves this process into a mount namespace of its own.
pub(super) fn private_view() -> io::Result<()> {
    // SAFETY: one thread; only the view of mounts changes.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
    // What is mounted from now on stays here; what the node mounts still arrives.
    Ok(rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?)
}

impl Sources {
    /// Attaches every source in `directory`, under its number; to be called in a mount namespace of this process' own.
    pub(super) fn attach(self, directory: &Path) -> io::Result<()> {
        fs::create_dir(directory)?;
        let directory = Root::open(directory)?;
        for (index, kind, copy) in self.0 {
            let name = index.to_string();
            match kind {
                Kind::Directory => drop(directory.make_directory(&name, 0o700, Owner::AS_MADE)?),
                _ => drop(directory.create(&name, 0o600, Owner::AS_MADE)?),
            }
            copy.attach(&directory, &name)?;
        }
        Ok(())
    }
}
