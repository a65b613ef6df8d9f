//! Whether this machine can mount the root file system of a container: it is tried.
//!
//! Lists of file systems do not tell: a module is listed only once it is loaded, and the kernel loads it at the first
//! mount. So one overlay is mounted, in a mount namespace that ends with the trial; for pods with user namespaces another one,
//! of a layer with other IDs, which not every kernel and file system can have.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

use skiff_rooted::{Detached, Handle, Root};

use crate::error::CheckError;
use crate::ids::IdRange;
use crate::supervisor::explain_no_users;

/// `OVERLAYFS_SUPER_MAGIC`.
const OVERLAYFS: i64 = 0x794c_7630;

/// Mounts an overlay as containers get it, with its writable layer below `data_dir`, and leaves nothing behind. Blocks for a
/// moment; the kernel may load a module. A full disk tells nothing, and a cluster must start on one: how else would its
/// objects be deleted?
pub(crate) fn overlay(data_dir: &Path) -> Result<(), CheckError> {
    match try_overlay(data_dir) {
        Err(TrialError::Full) => Ok(()),
        Err(TrialError::Refused(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

/// Why the trial did not succeed.
enum TrialError {
    Full,
    Refused(CheckError),
}

fn try_overlay(data_dir: &Path) -> Result<(), TrialError> {
    let refused =
        |reason: String| TrialError::Refused(CheckError::DataDir { path: data_dir.to_owned(), reason });
    let place = tempfile::Builder::new().prefix(".trial-").tempdir_in(data_dir);
    let place = place.map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull => TrialError::Full,
        _ => refused(format!("it cannot be written: {error}")),
    })?;
    let mounted = in_own_thread(|| {
        own_namespace(place.path())?;
        mount_overlay("lower")
    });
    mounted.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NOSPC) => TrialError::Full,
        Some(Errno::NODEV) => TrialError::Refused(CheckError::NoOverlay),
        _ => refused(reason(data_dir, &error)),
    })
}

fn reason(data_dir: &Path, error: &io::Error) -> String {
    let on_overlay = rustix::fs::statfs(data_dir).is_ok_and(|found| found.f_type == OVERLAYFS);
    let cause = if on_overlay {
        "it lies on an overlay file system itself (a container's own root, say)".to_owned()
    } else {
        format!("an overlay with its writable layer there cannot be mounted: {error}")
    };
    format!("{cause}; put it on a disk or volume with --data-dir")
}

/// A mount namespace belongs to the thread that asks for one, for good.
fn in_own_thread(work: impl FnOnce() -> io::Result<()> + Send) -> io::Result<()> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("mount-trial".to_owned()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_panic| Err(io::Error::other("the trial panicked")))
    })
}

/// Changes the thread's namespace, directory and mounts, so the thread has to end with it.
fn own_namespace(place: &Path) -> io::Result<()> {
    // SAFETY: mounts and the working directory, which goes with them; neither descriptors nor memory.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    std::env::set_current_dir(place)?;
    ["lower", "mapped", "upper", "work", "merged"].iter().try_for_each(fs::create_dir)
}

fn mount_overlay(lower: &str) -> io::Result<()> {
    let options = std::ffi::CString::new(format!("volatile,lowerdir={lower},upperdir=upper,workdir=work"))?;
    mount("overlay", "merged", "overlay", MountFlags::empty(), Some(options.as_c_str()))?;
    // Some file systems take the mount and then no file.
    fs::write("merged/file", "written")
}

/// Makes a user namespace and mounts a layer of `data_dir` as a container in it gets it; leaves nothing behind. A full disk
/// tells nothing.
pub(crate) fn users(data_dir: &Path) -> Result<(), CheckError> {
    let place = tempfile::Builder::new().prefix(".trial-").tempdir_in(data_dir);
    let tried = place.and_then(|place| {
        let users =
            user_namespace().map_err(|error| named("make a user namespace", explain_no_users(error)))?;
        in_own_thread(|| {
            own_namespace(place.path())?;
            let layer = Detached::plain_copy_of(&Handle::open("lower")?)?;
            let shown = layer.map_ids(users.as_fd()).and_then(|()| layer.attach(&Root::open(".")?, "mapped"));
            shown.map_err(|error| named(&format!("image layers in {}", data_dir.display()), error))?;
            mount_overlay("mapped").map_err(|error| {
                named("an overlay of layers with other user IDs, which needs Linux 5.19", error)
            })
        })
    });
    match tried {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
        tried => tried.map_err(|error| CheckError::NoUsers { reason: error.to_string() }),
    }
}

fn named(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// A user namespace with the IDs of a pod's. The child that makes it does nothing else, since other threads of this process
/// may hold locks, and ends before this returns.
fn user_namespace() -> io::Result<OwnedFd> {
    let (wait, go_on) = io::pipe()?;
    // SAFETY: like fork; the child only makes the three system calls below, which touch nothing of this process.
    match unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_NEWUSER | libc::SIGCHLD, 0, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let mut byte = 0u8;
            // SAFETY: the descriptors are the child's own copies; it reads into its own frame until the other end is closed, also
            // by this process' death, and ends without any destructor.
            unsafe {
                libc::close(go_on.as_raw_fd());
                libc::read(wait.as_raw_fd(), (&raw mut byte).cast(), 1);
                libc::_exit(0)
            }
        }
        child => {
            let opened = map_and_open(child);
            drop(go_on);
            let child = i32::try_from(child).ok().and_then(rustix::process::Pid::from_raw);
            let child = child.ok_or(io::ErrorKind::InvalidInput)?;
            let end = || rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
            rustix::io::retry_on_intr(end)?;
            opened
        }
    }
}

fn map_and_open(child: libc::c_long) -> io::Result<OwnedFd> {
    let range = IdRange::nth(0).ok_or(io::ErrorKind::InvalidInput)?;
    for file in ["uid_map", "gid_map"] {
        let mut map = fs::OpenOptions::new().write(true).open(format!("/proc/{child}/{file}"))?;
        map.write_all(format!("0 {} {}", range.first(), IdRange::LENGTH).as_bytes())?;
    }
    Ok(fs::File::open(format!("/proc/{child}/ns/user"))?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts() -> String {
        fs::read_to_string("/proc/self/mountinfo").unwrap()
    }

    #[test]
    fn a_trial_leaves_nothing_behind() {
        let (directory, before) = (tempfile::tempdir().unwrap(), mounts());
        overlay(directory.path()).unwrap();
        users(directory.path()).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        assert_eq!(mounts(), before);
        assert!(std::env::current_dir().unwrap().exists());
    }

    #[test]
    fn a_directory_that_cannot_hold_layers_is_named() {
        // The process file system has no place for files.
        let error = overlay(Path::new("/proc/self")).unwrap_err();
        assert!(
            matches!(&error, CheckError::DataDir { path, .. } if path == Path::new("/proc/self")),
            "{error}"
        );
    }

    #[test]
    fn an_overlay_on_an_overlay_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let outer = directory.path().to_owned();
        let error = std::thread::spawn(move || {
            own_namespace(&outer).and_then(|()| mount_overlay("lower")).unwrap();
            let merged = outer.join("merged");
            let errors = [overlay(&merged).unwrap_err(), users(&merged).unwrap_err()];
            errors.map(|error| error.to_string())
        });
        let [error, of_users] = error.join().unwrap();
        assert!(error.contains("overlay file system itself") && error.contains("--data-dir"), "{error}");
        assert!(
            of_users.contains("merged: the file system (overlay) cannot be mounted with other user IDs"),
            "{of_users}"
        );
    }
}
