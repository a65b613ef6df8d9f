//! Gives a persistent volume to the group that the pod names as `fsGroup`, as the kubelet does: its files are the group's, which
//! may read and write them, and what is made in it later is the group's, too.

use skiff_rooted::{Entry, Follow, Kind, Owner, Root};
use std::io;
use std::path::PathBuf;

/// Permissions that the group gets of everything, and of directories besides.
const SHARED: u32 = 0o660;
const OF_DIRECTORIES: u32 = 0o2110;

/// When the files of a volume change hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Always,
    /// Only when the directory at the top is not the group's already.
    OnRootMismatch,
}

/// Gives everything in `volume` to the group. A link itself, never what it points to; what is swapped meanwhile stays
/// within the volume. Directories deeper than a path can say are an error.
pub(super) fn give(volume: &Root, group: u32, policy: Policy) -> io::Result<()> {
    if policy == Policy::OnRootMismatch && is_given(volume, group)? {
        return Ok(());
    }
    let owner = Owner { user: None, group: Some(group) };
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let directory = match volume.directory(&path, Follow::Nothing) {
            // It has gone, or become something else.
            Err(error) if !path.as_os_str().is_empty() && is_gone(&error) => continue,
            found => found?,
        };
        for entry in directory.entries()? {
            let Entry { name, kind } = entry?;
            match give_one(&directory, &name, kind, owner) {
                Err(error) if !is_gone(&error) => return Err(error),
                _ if kind == Kind::Directory => waiting.push(path.join(&name)),
                _ => {}
            }
        }
    }
    // The top last: a volume that was left half done is not taken for a whole one.
    volume.chown_itself(owner)?;
    volume.set_mode(volume.find("", Follow::Nothing)?.mode() | SHARED | OF_DIRECTORIES)
}

fn give_one(directory: &Root, name: &std::ffi::OsStr, kind: Kind, owner: Owner) -> io::Result<()> {
    directory.chown(name, owner)?;
    let mode = directory.find(name, Follow::Nothing)?.mode();
    match kind {
        Kind::Directory => directory.chmod(name, mode | SHARED | OF_DIRECTORIES),
        Kind::File => directory.chmod(name, mode | SHARED),
        // A link's mode means nothing; the others have nothing to read.
        _ => Ok(()),
    }
}

/// Whether the top is as [`give`] leaves it.
fn is_given(volume: &Root, group: u32) -> io::Result<bool> {
    let top = volume.find("", Follow::Nothing)?;
    let wanted = SHARED | OF_DIRECTORIES;
    Ok(top.owner().1 == group && top.mode() & wanted == wanted)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn everything_below_is_the_groups() {
        if !rustix::process::geteuid().is_root() {
            return println!("skipped: owners need root");
        }
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        fs::create_dir_all(at("volume/a/b")).unwrap();
        fs::write(at("volume/a/b/file"), "").unwrap();
        fs::set_permissions(at("volume/a/b/file"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(at("host"), "").unwrap();
        fs::set_permissions(at("host"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink(at("host"), at("volume/a/link")).unwrap();
        let volume = Root::open(at("volume")).unwrap();
        give(&volume, 7, Policy::OnRootMismatch).unwrap();
        let is = |path: &str| {
            let found = fs::symlink_metadata(at(path)).unwrap();
            (found.gid(), found.mode() & 0o7777)
        };
        assert_eq!(is("volume"), (7, 0o2775));
        assert_eq!(is("volume/a/b"), (7, 0o2775));
        assert_eq!(is("volume/a/b/file"), (7, 0o660));
        assert_eq!(is("volume/a/link").0, 7);
        assert_eq!(is("host"), (0, 0o600), "what a link points to is not the volume's");
        fs::write(at("volume/new"), "").unwrap();
        std::os::unix::fs::chown(at("volume/new"), None, Some(0)).unwrap();
        give(&volume, 7, Policy::OnRootMismatch).unwrap();
        assert_eq!(is("volume/new").0, 0, "the top is right");
        give(&volume, 7, Policy::Always).unwrap();
        assert_eq!(is("volume/new").0, 7);
    }
}
