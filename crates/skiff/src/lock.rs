//! One command at a time starts or stops a cluster.
//!
//! The lock is a file in the cluster's directories, locked with flock(2): it goes with the process, however that ends.
//! It is taken before anything is read and held until the command has ended. Who finds it taken touches nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind::{DirectoryNotEmpty, ResourceBusy};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::layout::Layout;

/// Name of the file, in both directories of a cluster.
pub(crate) const NAME: &str = "command.lock";

/// The right to start or stop a cluster.
#[derive(Debug)]
pub(crate) struct CommandLock {
    /// Of the run directory, then of the data directory.
    _held: [Held; 2],
}

/// The right was not given; nothing was changed.
#[derive(Debug, Error)]
pub(crate) enum LockError {
    #[error("`skiff {command}` (process {pid}) is at work on this cluster; try again when it has ended")]
    Taken { command: String, pid: String },
    #[error("cannot lock {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl CommandLock {
    /// Takes the lock for `skiff <command>`.
    pub(crate) fn take(layout: &Layout, command: &str) -> Result<Self, LockError> {
        Ok(Self { _held: [Held::take(layout.run(), command)?, Held::take(layout.data(), command)?] })
    }
}

/// One locked file.
#[derive(Debug)]
struct Held {
    directory: PathBuf,
    file: File,
}

impl Held {
    fn take(directory: &Path, command: &str) -> Result<Self, LockError> {
        let path = directory.join(NAME);
        let failed = |source| LockError::Io { path: path.clone(), source };
        loop {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let mut file = match options.open(&path) {
                // The one who held it has just removed the directory.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(failed)?,
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(taken(&mut file)),
                Err(error) => return Err(failed(error.into())),
            }
            // A file that its holder removed before it let go of the lock guards nothing.
            if is_same(&file, &path).map_err(failed)? {
                let text = format!("{} {command}\n", std::process::id());
                file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(failed)?;
                return Ok(Self { directory: directory.to_owned(), file });
            }
        }
    }

    /// Removes the file, and the directory with it, when there is nothing else: what is left of a cluster that was
    /// never started, or has been removed.
    fn remove_if_alone(&self) -> io::Result<()> {
        let others =
            fs::read_dir(&self.directory)?.filter(|entry| !matches!(entry, Ok(e) if e.file_name() == NAME));
        if others.count() > 0 {
            return self.file.set_len(0);
        }
        fs::remove_file(self.directory.join(NAME))?;
        match fs::remove_dir(&self.directory) {
            // A file system of its own, or the next command is here already.
            Err(error) if !matches!(error.kind(), DirectoryNotEmpty | ResourceBusy) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = self.remove_if_alone() {
            tracing::debug!(%error, directory = %self.directory.display(), "the lock's file stays");
        }
    }
}

/// Whether a path still leads to an open file.
fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
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
        fs::write(layout.data().join("other"), "").unwrap();
        drop(lock);
        assert!(!layout.run().exists() && layout.data().join("other").exists());
        CommandLock::take(&layout, "down").unwrap();
    }
}
