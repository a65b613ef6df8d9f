//! One command at a time starts or stops a cluster.
//!
//! Locked with flock(2), which goes with the process, however that ends, are a file in the run directory, which says who
//! holds it, and the data directory itself, which needs no room on a full disk. The lock is taken before anything is read
//! and held until the command has ended. Who finds it taken touches nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind::{DirectoryNotEmpty, NotFound, ResourceBusy};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::layout::Layout;

/// Name of the file in the run directory.
pub(crate) const NAME: &str = "command.lock";

/// The right to start or stop a cluster.
#[derive(Debug)]
pub(crate) struct CommandLock {
    run: PathBuf,
    data: PathBuf,
    _held: [File; 2],
}

/// The right was not given; nothing was changed.
#[derive(Debug, Error)]
pub(crate) enum LockError {
    #[error("`skiff {command}` (process {pid}) is at work on this cluster; try again when it has ended")]
    Taken { command: String, pid: String },
    #[error("another skiff, with another --run-dir, is at work on this cluster in {}", path.display())]
    DataTaken { path: PathBuf },
    #[error("cannot lock {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl CommandLock {
    /// Takes the lock for `skiff <command>`.
    pub(crate) fn take(layout: &Layout, command: &str) -> Result<Self, LockError> {
        let (run, data) = (layout.run().to_owned(), layout.data().to_owned());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = locked(&run, &run.join(NAME), &options, taken)?;
        let text = format!("{} {command}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(|source| LockError::Io { path: run.join(NAME), source })?;
        let directory = locked(&data, &data, OpenOptions::new().read(true), |_| LockError::DataTaken {
            path: data.clone(),
        })?;
        Ok(Self { run, data, _held: [file, directory] })
    }
}

impl Drop for CommandLock {
    /// Removes directories that hold nothing else: what is left of a cluster that was never started, or has been
    /// removed.
    fn drop(&mut self) {
        for (directory, file) in [(&self.run, Some(self.run.join(NAME))), (&self.data, None)] {
            if let Err(error) = remove_if_empty(directory, file.as_deref()) {
                tracing::debug!(%error, directory = %directory.display(), "an empty directory stays");
            }
        }
    }
}

/// Opens and locks a file in a directory, or the directory itself; makes the directory.
fn locked(
    directory: &Path,
    path: &Path,
    options: &OpenOptions,
    taken: impl Fn(&mut File) -> LockError,
) -> Result<File, LockError> {
    let failed = |source| LockError::Io { path: path.to_owned(), source };
    loop {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let mut file = match options.open(path) {
            // The one who held it has just removed the directory.
            Err(error) if error.kind() == NotFound => continue,
            opened => opened.map_err(failed)?,
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(taken(&mut file)),
            Err(error) => return Err(failed(error.into())),
        }
        // What its holder removed before it let go of the lock guards nothing.
        if is_same(&file, path).map_err(failed)? {
            return Ok(file);
        }
    }
}

/// Removes a directory in which there is nothing, or only `file`.
fn remove_if_empty(directory: &Path, file: Option<&Path>) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == NotFound => return Ok(()),
        entries => entries?.collect::<io::Result<Vec<_>>>()?,
    };
    if entries.iter().any(|entry| Some(&*entry.path()) != file) {
        return Ok(());
    }
    if let Some(file) = file {
        fs::remove_file(file)?;
    }
    match fs::remove_dir(directory) {
        // A file system of its own, or the next command is here already.
        Err(error) if !matches!(error.kind(), DirectoryNotEmpty | ResourceBusy) => Err(error),
        _ => Ok(()),
    }
}

/// Whether a path still leads to an open file.
fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Who holds a file's lock, in its own words.
fn taken(file: &mut File) -> LockError {
    let mut text = String::new();
    // Between taking the lock and writing it may be empty, which says as little as a file that cannot be read.
    let read = file.read_to_string(&mut text).is_ok();
    let (pid, command) = text.trim().split_once(' ').filter(|_| read).unwrap_or(("unknown", "…"));
    LockError::Taken { command: command.to_owned(), pid: pid.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("data"), dir.path().join("run"));
        let lock = CommandLock::take(&layout, "up").unwrap();
        let refused = CommandLock::take(&layout, "down").unwrap_err().to_string();
        let wanted = format!("`skiff up` (process {}) is at work", std::process::id());
        assert!(refused.starts_with(&wanted), "{refused}");
        let other_run = Layout::new(dir.path().join("data"), dir.path().join("other"));
        let refused = CommandLock::take(&other_run, "down").unwrap_err();
        assert!(matches!(refused, LockError::DataTaken { .. }), "{refused}");
        fs::write(layout.data().join("other"), "").unwrap();
        drop(lock);
        assert!(!layout.run().exists() && layout.data().join("other").exists());
        CommandLock::take(&layout, "down").unwrap();
    }
}
