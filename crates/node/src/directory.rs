//! A pod's directory on disk: opened once from the top, then worked in by descriptor. Blocking file work.
//!
//! Parts of it are mounted into containers, and somebody may have been given more of it by a hostPath volume: no link in it
//! is followed, and only regular files are read.

use crate::ids::ContainerName;
use crate::paths::{CONTAINERS, LOGS, PodPaths, SIZES, log_name, message_file, pods_dir};
use skiff_rooted::{Follow, Owner, Root};
use skiff_runtime::PodUid;
use std::io::{self, Write};
use std::path::Path;

/// Most bytes of a termination message.
const MESSAGE_LIMIT: u64 = 4096;

/// Most bytes of what is kept of a pod's resources.
const SIZES_LIMIT: u64 = 4 << 20;

/// Makes the directory of all pods.
#[allow(clippy::disallowed_methods, reason = "skiff's own directory, which nobody else can enter")]
pub(crate) fn prepare(data_dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(pods_dir(data_dir))
}

/// The pods that have a directory.
pub(crate) fn known(data_dir: &Path) -> io::Result<Vec<PodUid>> {
    let Some(pods) = absent_is_none(Root::open(pods_dir(data_dir)))? else { return Ok(Vec::new()) };
    let names = pods.entries()?.map(|entry| entry.map(|entry| entry.name.into_string().ok()));
    names.filter_map(|name| name.map(|name| PodUid::new(name?).ok()).transpose()).collect()
}

/// Opens a pod's directory; `None` when it has none.
pub(crate) fn open(paths: &PodPaths) -> io::Result<Option<Root>> {
    let Some(pods) = absent_is_none(Root::open(paths.pods()))? else { return Ok(None) };
    absent_is_none(pods.directory(paths.name(), Follow::Nothing))
}

/// Opens a pod's directory; makes it when missing.
pub(crate) fn make(paths: &PodPaths) -> io::Result<Root> {
    Root::open(paths.pods())?.ensure_directory(paths.name(), 0o755, Owner::AS_MADE)
}

/// Removes a pod's directory with everything in it.
pub(crate) fn remove(paths: &PodPaths) -> io::Result<()> {
    match absent_is_none(Root::open(paths.pods()))? {
        Some(pods) => pods.remove_tree(paths.name()),
        None => Ok(()),
    }
}

/// Writes one of the files that are mounted into every container. Containers that run see the new text.
pub(crate) fn write_managed(directory: &Root, name: &str, text: &str) -> io::Result<()> {
    directory.rewrite(name, 0o644)?.write_all(text.as_bytes())
}

/// Replaces what a later agent has to know of the pod's resources.
pub(crate) fn write_sizes(paths: &PodPaths, text: &[u8]) -> io::Result<()> {
    make(paths)?.replace(SIZES, text, 0o600, Owner::AS_MADE)
}

/// What an agent wrote of the pod's resources; `None` when none did.
pub(crate) fn read_sizes(paths: &PodPaths) -> io::Result<Option<Vec<u8>>> {
    let Some(pod) = open(paths)? else { return Ok(None) };
    match pod.read_start(SIZES, Follow::Nothing, SIZES_LIMIT) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the empty file that takes a container's termination message; any user of the container may write it.
pub(crate) fn new_message(paths: &PodPaths, container: &ContainerName, attempt: u32) -> io::Result<()> {
    let containers = make(paths)?.ensure_directory(CONTAINERS, 0o755, Owner::AS_MADE)?;
    let own = containers.ensure_directory(container.as_str(), 0o755, Owner::AS_MADE)?;
    own.replace(attempt.to_string(), b"", 0o666, Owner::AS_MADE)
}

/// What a container left as its termination message, the first 4096 bytes; empty when there is no regular file.
pub(crate) fn message(paths: &PodPaths, container: &ContainerName, attempt: u32) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let Some(pod) = open(paths)? else { return Ok(Vec::new()) };
        pod.read_start(message_file(container, attempt), Follow::Nothing, MESSAGE_LIMIT)
    };
    let bytes = read().unwrap_or_else(|error| {
        tracing::warn!(pod = %paths.root().display(), %container, attempt, %error, "no termination message");
        Vec::new()
    });
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Removes what an attempt of a container left: its log, rotated files included, and its message.
pub(crate) fn remove_attempt(paths: &PodPaths, container: &ContainerName, attempt: u32) -> io::Result<()> {
    let Some(pod) = open(paths)? else { return Ok(()) };
    let below =
        |part: &str| absent_is_none(pod.directory(Path::new(part).join(container.as_str()), Follow::Nothing));
    if let Some(messages) = below(CONTAINERS)? {
        messages.remove_file(attempt.to_string())?;
    }
    let Some(logs) = below(LOGS)? else { return Ok(()) };
    let log = log_name(attempt);
    for entry in logs.entries()? {
        let name = entry?.name;
        if name.to_str().is_some_and(|name| name == log || name.starts_with(&format!("{log}."))) {
            logs.remove_file(name)?;
        }
    }
    Ok(())
}

fn absent_is_none(opened: io::Result<Root>) -> io::Result<Option<Root>> {
    match opened {
        Ok(directory) => Ok(Some(directory)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn pod() -> (tempfile::TempDir, PodPaths, ContainerName) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("pods")).unwrap();
        let paths = PodPaths::new(directory.path(), &PodUid::new("u").unwrap());
        (directory, paths, "c".into())
    }

    #[test]
    fn a_message_is_a_regular_file() {
        let (directory, paths, container) = pod();
        new_message(&paths, &container, 0).unwrap();
        let file = paths.termination_message(&container, 0);
        assert_eq!(message(&paths, &container, 0), "");
        fs::write(&file, "x".repeat(5000)).unwrap();
        assert_eq!(message(&paths, &container, 0).len(), 4096);
        let secret = directory.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        fs::remove_file(&file).unwrap();
        symlink(&secret, &file).unwrap();
        assert_eq!(message(&paths, &container, 0), "");
        fs::remove_file(&file).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, rustix::fs::Mode::from_raw_mode(0o666)).unwrap();
        assert_eq!(message(&paths, &container, 0), "", "and does not wait for a writer");
        new_message(&paths, &container, 0).unwrap();
        assert!(fs::metadata(&file).unwrap().is_file());
        assert_eq!(fs::read(&secret).unwrap(), b"secret");
    }

    #[test]
    fn an_attempt_goes_with_its_rotated_logs() {
        let (_directory, paths, container) = pod();
        new_message(&paths, &container, 1).unwrap();
        let logs = paths.container_logs(&container);
        fs::create_dir_all(&logs).unwrap();
        for name in ["1.log", "1.log.1", "1.log.2", "10.log", "2.log"] {
            fs::write(logs.join(name), "").unwrap();
        }
        remove_attempt(&paths, &container, 1).unwrap();
        let mut left: Vec<_> = fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["10.log", "2.log"]);
        assert!(!paths.termination_message(&container, 1).exists());
    }
}
