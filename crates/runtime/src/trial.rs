//! Whether this machine can mount the root file system of a container: it is tried.
//!
//! Lists of file systems do not tell: a module is listed only once it is loaded, and the kernel loads it at the first
//! mount. So one overlay is mounted, in a mount namespace that ends with the trial.

use std::fs;
use std::io;
use std::path::Path;

use nix::sched::CloneFlags;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::error::CheckError;

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
    // A thread of its own, because a mount namespace belongs to the thread that asks for one, for good.
    let mounted = std::thread::scope(|scope| {
        let work = || mount_in_own_namespace(place.path());
        let thread = std::thread::Builder::new().name("mount-trial".to_owned()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_panic| Err(io::Error::other("the trial panicked")))
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

/// Changes the thread's namespace, directory and mounts, so the thread has to end with it.
fn mount_in_own_namespace(place: &Path) -> io::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)?; // and the working directory, which goes with it
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    std::env::set_current_dir(place)?;
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(name)?;
    }
    let options = Some(c"volatile,lowerdir=lower,upperdir=upper,workdir=work");
    mount("overlay", "merged", "overlay", MountFlags::empty(), options)?;
    // Some file systems take the mount and then no file.
    fs::write("merged/file", "written")
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
            mount_in_own_namespace(&outer).unwrap();
            overlay(&outer.join("merged")).unwrap_err().to_string()
        });
        let error = error.join().unwrap();
        assert!(error.contains("overlay file system itself") && error.contains("--data-dir"), "{error}");
    }
}
