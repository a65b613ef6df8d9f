//! The user namespace of a pod that has one.
//!
//! The supervisor stays in the node's: it writes control groups and mounts, and whoever has entered a user namespace never
//! comes back. So children enter it. One makes it, together with the namespaces that it is to own (who owns the network's has
//! a say over it), writes nothing and ends; the supervisor then joins all but the user namespace, which is kept as a file
//! in the pod's directory for containers, commands and a successor.

use crate::ids::IdRange;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A pod's user namespace, held open.
#[derive(Debug)]
pub(super) struct Users {
    pub(super) range: IdRange,
    namespace: OwnedFd,
}

impl Users {
    /// Makes the user namespace and those of `owned` in it, moves this process into the latter, and keeps the former at
    /// `pin`.
    pub(super) fn make(range: IdRange, owned: UnshareFlags, pin: &Path) -> io::Result<()> {
        let enter = || unshare(UnshareFlags::NEWUSER);
        join_of_child(enter, owned, |child| {
            let map = format!("0 {} {}", range.first(), IdRange::LENGTH);
            for file in ["uid_map", "gid_map"] {
                fs::write(format!("/proc/{child}/{file}"), &map)?;
            }
            fs::OpenOptions::new().create(true).append(true).open(pin)?;
            Ok(rustix::mount::mount_bind(format!("/proc/{child}/ns/user"), pin)?)
        })
        .map_err(explain)
    }

    /// Opens the one that is kept at `pin`.
    pub(super) fn open(range: IdRange, pin: &Path) -> io::Result<Self> {
        Ok(Self { range, namespace: open(pin)? })
    }

    /// Makes namespaces of these kinds in it and moves this process into them.
    pub(super) fn make_more(&self, owned: UnshareFlags) -> io::Result<()> {
        join_of_child(|| self.enter(), owned, |_| Ok(()))
    }

    /// A path at which this process and its children find it, wherever their root is.
    pub(super) fn path(&self) -> PathBuf {
        held_path(&self.namespace)
    }

    /// Becomes its root, without any group of the node's; for a process that is to end in it.
    pub(super) fn enter(&self) -> io::Result<()> {
        move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::User))?;
        become_root()
    }

    /// Does something as its root, in a child.
    pub(super) fn as_root(&self, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        let done = in_child(
            || {
                self.enter().map_err(|error| format!("enter the user namespace: {error}"))?;
                work()
            },
            |_| Ok(()),
        );
        done.map_err(|error| error.to_string())
    }
}

impl AsFd for Users {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

/// Becomes user and group 0 of the user namespace that this process has entered.
pub(super) fn become_root() -> io::Result<()> {
    rustix::thread::set_thread_groups(&[])?;
    let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
    rustix::thread::set_thread_res_gid(group, group, group)?;
    Ok(rustix::thread::set_thread_res_uid(user, user, user)?)
}

/// Opens what stands for a namespace.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A path that leads to an open file in this process and its children. Nobody's rights but their own matter.
pub(super) fn held_path(file: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: one thread; none of the flags used here touches descriptors or memory.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// The kinds of namespaces that are made for pods.
const KINDS: [(UnshareFlags, &str, LinkNameSpaceType); 3] = [
    (UnshareFlags::NEWNET, "net", LinkNameSpaceType::Network),
    (UnshareFlags::NEWUTS, "uts", LinkNameSpaceType::HostNameAndNISDomainName),
    (UnshareFlags::NEWIPC, "ipc", LinkNameSpaceType::InterProcessCommunication),
];

/// Has a child `enter` a user namespace and make the namespaces `owned` there, does `meanwhile` with its ID, and moves this
/// process into them.
fn join_of_child(
    enter: impl FnOnce() -> io::Result<()>,
    owned: UnshareFlags,
    meanwhile: impl FnOnce(i32) -> io::Result<()>,
) -> io::Result<()> {
    let make = || enter().and_then(|()| unshare(owned)).map_err(|error| error.to_string());
    in_child(make, |child| {
        meanwhile(child)?;
        for (_, name, kind) in KINDS.into_iter().filter(|(flag, ..)| owned.contains(*flag)) {
            let namespace = open(Path::new(&format!("/proc/{child}/ns/{name}")))?;
            move_into_link_name_space(namespace.as_fd(), Some(kind))?;
        }
        Ok(())
    })
}

/// Does `work` in a child; if it succeeds, does `meanwhile` while the child is still there, with its ID.
fn in_child(
    work: impl FnOnce() -> Result<(), String>,
    meanwhile: impl FnOnce(i32) -> io::Result<()>,
) -> io::Result<()> {
    let (mut done, mut tell_done) = io::pipe()?;
    let (mut end, tell_end) = io::pipe()?;
    // SAFETY: this process has one thread, so the child is a full process.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop((done, tell_end));
            if let Err(reason) = work() {
                // Without a reader the supervisor is gone, and nobody waits.
                let _unread = tell_done.write_all(reason.as_bytes());
            }
            drop(tell_done);
            // Ends when the supervisor says so, or with it.
            let _end = end.read(&mut [0]);
            // SAFETY: ends the child without running the supervisor's destructors.
            unsafe { libc::_exit(0) }
        }
        child => {
            drop((tell_done, end));
            let mut reason = String::new();
            let outcome = match done.read_to_string(&mut reason) {
                Ok(_) if reason.is_empty() => meanwhile(child),
                Ok(_) => Err(io::Error::other(reason)),
                Err(error) => Err(error),
            };
            drop(tell_end);
            collect(child)?;
            outcome
        }
    }
}

/// Waits for the end of a child.
pub(super) fn collect(child: i32) -> io::Result<()> {
    let child = Pid::from_raw(child).ok_or(io::ErrorKind::InvalidInput)?;
    let wait = || rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
    rustix::io::retry_on_intr(wait)?;
    Ok(())
}

/// What to do where the node has user namespaces switched off.
pub(crate) fn explain(error: io::Error) -> io::Error {
    let none = fs::read_to_string("/proc/sys/user/max_user_namespaces");
    if none.is_ok_and(|text| text.trim() == "0") {
        return io::Error::other(format!(
            "{error}; user namespaces are switched off on this node (the kernel parameter user.max_user_namespaces is 0)"
        ));
    }
    if !Path::new("/proc/self/ns/user").exists() {
        return io::Error::other(format!("{error}; this node's kernel has no user namespaces"));
    }
    error
}
