//! Running from a read-only view of our own executable.
//!
//! A process on its way into a container can be seen there as `/proc/<pid>/exe`. A program of the container that opened
//! that file for writing could replace skiff on the host. The supervisor therefore executes itself once more through a
//! detached read-only mount of the executable, which it and everything it forks keep.

use skiff_rooted::{Detached, Handle};
use std::ffi::{CString, OsString};
use std::io;
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

fn read_only_view() -> io::Result<Detached> {
    let view = Detached::copy_of(&Handle::open("/proc/self/exe")?)?;
    view.read_only()?;
    Ok(view)
}
