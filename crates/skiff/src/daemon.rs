//! The server (or agent) as a process: who it is, how it is started, how it is stopped.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Who the server is, kept in `server.json`; for an agent beside it, in `agent.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Process id of the server.
    pub(crate) pid: i32,
    /// Address of the API, e.g. `https://192.0.2.1:6443`.
    pub(crate) server: String,
    /// Name of the kubeconfig context.
    pub(crate) context: String,
    /// Whether a keeper should be there to start it again.
    #[serde(default)]
    pub(crate) kept: bool,
}

/// What every record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Process id of the record's holder.
    pub(crate) pid: i32,
}

impl Process {
    /// The one that asks.
    pub(crate) fn this() -> Self {
        Self { pid: rustix::process::getpid().as_raw_nonzero().get() }
    }
}

/// The record, held locked for as long as the server lives: the lock goes with the process, so a record
/// without a lock is left over from one that was killed.
#[derive(Debug)]
pub(crate) struct Running {
    _file: File,
}

/// The record cannot be taken or read.
#[derive(Debug, Error)]
pub(crate) enum DaemonError {
    #[error(
        "another skiff (process {pid}) runs with this run directory; `skiff down` stops it, --run-dir chooses another"
    )]
    AlreadyRunning { pid: i32 },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("process {pid} did not end within {seconds} s of SIGKILL", seconds = KILL_WAIT.as_secs())]
    WillNotEnd { pid: i32 },
}

/// How long a server may take to end by itself.
const TERM_WAIT: Duration = Duration::from_secs(15);
/// How long the kernel may take to end it.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// How long a killed process may need to be gone.
const LAST_MOMENT: Duration = Duration::from_millis(200);

/// Takes the record for this process.
pub(crate) fn claim(path: &Path, record: &impl Serialize) -> Result<Running, DaemonError> {
    let io_error = |source| DaemonError::Io { path: path.to_owned(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(io_error)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let pid = serde_json::from_reader(&file).map_or(0, |Process { pid }| pid);
        return Err(DaemonError::AlreadyRunning { pid });
    }
    let write = |file: &mut File| -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&serde_json::to_vec(record)?)
    };
    write(&mut file).map_err(io_error)?;
    Ok(Running { _file: file })
}

/// The record of a running process, if there is one.
pub(crate) fn running<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, DaemonError> {
    let io_error = |source| DaemonError::Io { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(error)),
    };
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return Ok(None);
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(io_error)?;
    // Locked and empty: who holds it is about to say who it is, and does not serve yet.
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&text).map(Some).map_err(|error| io_error(error.into()))
}

/// The running server, if there is one and it does not end at once: one that was just killed holds its lock for a
/// moment longer.
pub(crate) fn running_on(path: &Path) -> Result<Option<Record>, DaemonError> {
    let Some(record) = running::<Record>(path)? else { return Ok(None) };
    let process = Pid::from_raw(record.pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
    let io_error =
        |source: rustix::io::Errno| DaemonError::Io { path: path.to_owned(), source: source.into() };
    match process {
        Some(Ok(process)) if ended(&process, LAST_MOMENT).map_err(io_error)? => Ok(None),
        Some(Err(rustix::io::Errno::SRCH)) => Ok(None),
        _ => Ok(Some(record)),
    }
}

/// Waits until a process that holds a record at `path` has let go of it, or has ended.
pub(crate) fn wait_until_free(path: &Path) -> Result<(), DaemonError> {
    let io_error = |source| DaemonError::Io { path: path.to_owned(), source };
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(error)),
        Ok(file) => flock(&file, FlockOperation::LockShared).map_err(|error| io_error(error.into())),
    }
}

/// Ends the holder of a record: SIGTERM, and SIGKILL when it takes too long. Waits until it is gone.
pub(crate) fn stop(path: &Path) -> Result<bool, DaemonError> {
    let Some(record) = running::<Process>(path)? else { return Ok(false) };
    let io_error =
        |source: rustix::io::Errno| DaemonError::Io { path: path.to_owned(), source: source.into() };
    let Some(pid) = Pid::from_raw(record.pid) else { return Ok(false) };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(false),
        Err(error) => return Err(io_error(error)),
    };
    // The lock was still held a moment ago, so this process id is the server's and not a reused one; should it
    // end just now, the pidfd makes sure that the signal goes to no other.
    for (signal, wait) in [(Signal::TERM, TERM_WAIT), (Signal::KILL, KILL_WAIT)] {
        match pidfd_send_signal(&process, signal) {
            Ok(()) => {}
            Err(rustix::io::Errno::SRCH) => return Ok(true),
            Err(error) => return Err(io_error(error)),
        }
        if ended(&process, wait).map_err(io_error)? {
            return Ok(true);
        }
    }
    Err(DaemonError::WillNotEnd { pid: record.pid })
}

fn ended(process: &OwnedFd, wait: Duration) -> rustix::io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    let timeout = wait.try_into().map_err(|_| rustix::io::Errno::INVAL)?;
    Ok(poll(&mut fds, Some(&timeout))? > 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_held_by_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.json");
        let record =
            Record { pid: 4, server: "https://192.0.2.1:6443".into(), context: "skiff".into(), kept: true };
        assert_eq!(running::<Record>(&path).unwrap(), None);
        let held = claim(&path, &record).unwrap();
        assert!(matches!(claim(&path, &record), Err(DaemonError::AlreadyRunning { pid: 4 })));
        assert_eq!(running(&path).unwrap(), Some(record.clone()));
        drop(held);
        assert_eq!(
            running::<Record>(&path).unwrap(),
            None,
            "a record whose holder is gone counts for nothing"
        );
        claim(&path, &record).unwrap();
    }
}
