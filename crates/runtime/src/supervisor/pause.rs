//! The first process of a process namespace that the containers of a pod share: it does nothing but be there, and collect
//! what its adopted children leave.
//!
//! Containers see it, and one with `CAP_SYS_PTRACE` may look through it. So it has nothing to show: an empty read-only
//! root, no descriptors, no privileges, and our executable as the read-only view that [`super::seal`] made.

use super::serve::Supervisor;
use super::users::{self, Users};
use rustix::fs::{Gid, Uid};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use std::ffi::CStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

/// Its name and its command line.
const NAME: &CStr = c"/pause";

/// Whom it runs as: nobody in particular, as the pause image does.
const USER: u32 = 65_535;

impl Supervisor {
    /// The first process of the shared namespace; started when there is none. Its group tells, so that the successor of
    /// a supervisor finds it too.
    pub(super) fn pause(&mut self) -> io::Result<i32> {
        let group = self.groups.pause();
        if let Some(pid) = self.cgroups.processes(&group)?.first() {
            return Ok(*pid);
        }
        self.cgroups.make_plain(&group).map_err(io::Error::other)?;
        self.start_pause(&group).map_err(|error| {
            io::Error::new(error.kind(), format!("make a shared process namespace: {error}"))
        })
    }

    fn start_pause(&self, group: &str) -> io::Result<i32> {
        let (mut reader, mut writer) = io::pipe()?;
        let join = || self.cgroups.join(group).map_err(io::Error::other);
        match &self.users {
            None => begin(0, join, &mut writer)?,
            Some(users) => begin_in(users, join, &mut writer)?,
        }
        drop(writer);
        let mut reason = String::new();
        // Ends when the process has given everything up, or has died.
        reader.read_to_string(&mut reason)?;
        match self.cgroups.processes(group)?.first() {
            Some(pid) if reason.is_empty() => Ok(*pid),
            _ => Err(io::Error::other(reason)),
        }
    }
}

/// Starts the process from within the user namespace that is to own its namespaces. Groups have to be joined before: in there
/// nobody may.
fn begin_in(
    users: &Users,
    join: impl FnOnce() -> io::Result<()>,
    writer: &mut io::PipeWriter,
) -> io::Result<()> {
    // SAFETY: this process has one thread, so the child is a full process.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let entered = join().and_then(|()| users.enter());
            if let Err(error) = entered.and_then(|()| begin(libc::CLONE_PARENT, || Ok(()), writer)) {
                // Without a reader the supervisor is gone, and the process ends either way.
                let _unread = writer.write_all(error.to_string().as_bytes());
            }
            // SAFETY: ends the child without running the supervisor's destructors.
            unsafe { libc::_exit(0) }
        }
        child => users::collect(child),
    }
}

/// Starts the process, as a child or, with `CLONE_PARENT`, as a sibling; there, never returns.
fn begin(
    relation: libc::c_int,
    prepare: impl FnOnce() -> io::Result<()>,
    writer: &mut io::PipeWriter,
) -> io::Result<()> {
    let flags = libc::CLONE_NEWPID | libc::CLONE_NEWNS | relation | libc::SIGCHLD;
    // SAFETY: one thread. Like fork, but the new process is the first process of a new namespace.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            if let Err(error) = prepare().and_then(|()| give_everything_up(writer.as_raw_fd())) {
                // Without a reader the supervisor is gone, and the process ends either way.
                let _unread = writer.write_all(error.to_string().as_bytes());
                // SAFETY: ends the child without running the supervisor's destructors.
                unsafe { libc::_exit(1) }
            }
            // SAFETY: nothing owns the descriptor any more: the child never returns.
            unsafe { libc::close(writer.as_raw_fd()) };
            loop {
                // SAFETY: waits for a signal; there is no handler that could run.
                unsafe { libc::pause() };
            }
        }
        _ => Ok(()),
    }
}

/// Keeps only the descriptor `last`, which the caller closes.
fn give_everything_up(last: RawFd) -> io::Result<()> {
    // Whatever this process is the parent of leaves nothing behind when it ends.
    // SAFETY: changes how one signal is treated, in a process with one thread.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    rename()?;
    empty_root(Path::new("/proc"))?;
    let last = u32::try_from(last).map_err(io::Error::other)?;
    for (first, end) in [(0, last - 1), (last + 1, u32::MAX)] {
        // SAFETY: the child uses none of the descriptors it closes, and ends without their owners' destructors.
        if unsafe { libc::syscall(libc::SYS_close_range, first, end, 0) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    rustix::thread::set_thread_groups(&[])?;
    let (user, group) = (Uid::from_raw(USER), Gid::from_raw(USER));
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?)
}

/// Replaces the root by an empty file system, mounted over a directory that exists and that everybody may enter.
fn empty_root(anywhere: &Path) -> io::Result<()> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("pause", anywhere, "tmpfs", flags, Some(c"size=4k,mode=555"))?;
    rustix::process::chdir(anywhere)?;
    // The old root is stacked on the new one, and taken away from there.
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

/// Gives the process a name and a command line of its own.
fn rename() -> io::Result<()> {
    rustix::thread::set_name(c"pause")?;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may itself hold spaces; counted from behind it, these are the fields 48 and 49.
    let fields: Vec<&str> =
        stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let address = |at: usize| fields.get(at).and_then(|text| text.parse::<usize>().ok());
    let (Some(start), Some(end)) = (address(45), address(46)) else {
        return Err(io::Error::other("the kernel does not tell where the command line is"));
    };
    let name = NAME.to_bytes();
    let length = end.saturating_sub(start);
    if start != 0 && length > name.len() {
        // SAFETY: the kernel put the arguments there, writable; this copy of the process does not read them any more.
        unsafe {
            let arguments = std::ptr::with_exposed_provenance_mut::<u8>(start);
            std::ptr::write_bytes(arguments, 0, length);
            std::ptr::copy_nonoverlapping(name.as_ptr(), arguments, name.len());
        }
    }
    Ok(())
}
