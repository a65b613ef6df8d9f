//! Standard streams of containers without a terminal: named pipes in the container's directory.
//!
//! The container holds its outputs open for reading *and* writing, so a dead supervisor neither breaks nor loses them:
//! output waits in the pipe until the next supervisor opens it by name.

use crate::paths::ContainerPaths;
use crate::spec::ContainerSpec;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// What becomes the container's descriptors 0, 1 and 2.
pub(super) enum ContainerSide {
    Terminal,
    Streams { stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd },
}

/// The supervisor's ends.
#[derive(Debug, Default)]
pub(super) struct SupervisorSide {
    /// Keeps the container's input open; cloned for attached clients.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
}

/// Makes the pipes of a new container, for a user and group of the node.
pub(super) fn make(
    paths: &ContainerPaths,
    spec: &ContainerSpec,
    owner: (u32, u32),
) -> io::Result<(ContainerSide, SupervisorSide)> {
    if spec.tty {
        return Ok((ContainerSide::Terminal, SupervisorSide::default()));
    }
    let output = |name: &str| -> io::Result<OwnedFd> {
        make_fifo(&paths.fifo(name), owner)?;
        // Opened for both: what the container's processes inherit.
        open(&paths.fifo(name), OFlags::RDWR)
    };
    let (stdout, stderr) = (output("stdout")?, output("stderr")?);
    let stdin = if spec.stdin {
        make_fifo(&paths.fifo("stdin"), owner)?;
        // Without a writer, opening for reading would wait.
        let both = open(&paths.fifo("stdin"), OFlags::RDWR)?;
        // A container that is to see the end of its input must not hold the other end itself; any other does, so that
        // it sees no end when the supervisor dies.
        if spec.stdin_once { open(&paths.fifo("stdin"), OFlags::RDONLY)? } else { both }
    } else {
        open(Path::new("/dev/null"), OFlags::RDONLY)?
    };
    let ours = reopen(paths, spec)?;
    Ok((ContainerSide::Streams { stdin, stdout, stderr }, ours))
}

/// Opens the supervisor's ends of an existing container's pipes.
pub(super) fn reopen(paths: &ContainerPaths, spec: &ContainerSpec) -> io::Result<SupervisorSide> {
    if spec.tty {
        return Ok(SupervisorSide::default());
    }
    // Both directions: the pipe never reports that its writers are gone while they are not there yet.
    let output = |name: &str| open(&paths.fifo(name), OFlags::RDWR | OFlags::NONBLOCK);
    let stdin = match spec.stdin {
        true => match open(&paths.fifo("stdin"), OFlags::WRONLY | OFlags::NONBLOCK) {
            Ok(fd) => Some(fd),
            // The container has closed its input.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => None,
            Err(error) => return Err(error),
        },
        false => None,
    };
    Ok(SupervisorSide { stdin, stdout: Some(output("stdout")?), stderr: Some(output("stderr")?) })
}

/// The container's user owns the pipe, so that it may open `/dev/stdout` by name.
fn make_fifo(path: &Path, (user, group): (u32, u32)) -> io::Result<()> {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::from_raw_mode(0o600))?;
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(group));
    Ok(rustix::fs::chown(path, Some(uid), Some(gid))?)
}

fn open(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?)
}
