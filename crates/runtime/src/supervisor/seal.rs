//! Running from a read-only view of our own executable.
//!
//! A process on its way into a container can be seen there as `/proc/<pid>/exe`. A program of the container that opened
//! that file for writing could replace skiff on the host. The supervisor therefore executes itself once more through a
//! detached read-only mount of the executable, which it and everything it forks keep.

use rustix::mount::OpenTreeFlags;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Argument that says it is done.
pub(super) const SEALED: &str = "--sealed";

/// Executes this program again, with the same arguments. Returns only the reason why not.
pub(super) fn execute_read_only(arguments: &[OsString]) -> String {
    let view = match read_only_view() {
        Ok(view) => view,
        Err(error) => return format!("make a read-only view of the executable: {error}"),
    };
    let own = [super::NAME, super::SUBCOMMAND, SEALED].map(str::as_bytes);
    let words = own.into_iter().chain(arguments.iter().map(|a| a.as_bytes()));
    match words.map(CString::new).collect::<Result<Vec<_>, _>>() {
        Ok(words) => match nix::unistd::fexecve(&view, &words, &[] as &[CString]) {
            Ok(never) => match never {},
            Err(error) => format!("execute the read-only view of the executable: {error}"),
        },
        Err(error) => format!("arguments: {error}"),
    }
}

fn read_only_view() -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let view = rustix::mount::open_tree(rustix::fs::CWD, "/proc/self/exe", flags)?;
    let attributes = Attributes { set: libc::MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: the path and the attributes live through the call; the size is theirs.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            view.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(view) }
}
