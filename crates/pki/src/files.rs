//! Files that only their owner may read, replaced as a whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::PkiError;

/// Whether a file must survive a crash of the machine right after it was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// It is the only copy of something: synced, and its directory too.
    Kept,
    /// It can be made again; a crash may leave the old file, the new one, or a damaged one.
    Derived,
}

/// Makes the directory (mode 0700) with its parents, or takes the group's and others' rights away.
pub(super) fn private_dir(path: &Path) -> Result<(), PkiError> {
    let make = || {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
    };
    make().map_err(|source| PkiError::File { action: "create", path: path.to_owned(), source })
}

/// Waits until no other process changes the directory: a server and an agent share it. The lock is held until the
/// returned file is dropped, or the process ends.
pub(super) fn lock(path: &Path) -> Result<File, PkiError> {
    let lock = || {
        let directory = File::open(path)?;
        directory.lock()?;
        Ok(directory)
    };
    lock().map_err(|source| PkiError::File { action: "lock", path: path.to_owned(), source })
}

/// The file's text; `None` when it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::File { action: "read", path: path.to_owned(), source }),
    }
}

/// Replaces the file in one step, mode 0600.
pub(super) fn write(path: &Path, text: &str, durability: Durability) -> Result<(), PkiError> {
    replace(path, text, durability).map_err(|source| PkiError::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

fn replace(path: &Path, text: &str, durability: Durability) -> io::Result<()> {
    let temporary = temporary_name(path);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    if durability == Durability::Kept {
        file.sync_all()?;
    }
    drop(file);
    fs::rename(&temporary, path)?;
    match (durability, path.parent()) {
        (Durability::Kept, Some(parent)) => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// One fixed name per file: whoever writes holds the directory's [`lock`], and a left-over is overwritten.
fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}
