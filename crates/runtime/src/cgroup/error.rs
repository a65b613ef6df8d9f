//! What fails at control groups.

use rustix::io::Errno;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A control group that could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("control group: {action} {}: {source}", path.display())]
pub(crate) struct CgroupError {
    pub(super) action: &'static str,
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

/// Writes a file of a control group.
pub(super) fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    fs::write(path, value).map_err(|source| CgroupError { action: "write", path: path.to_owned(), source })
}

impl CgroupError {
    /// Whether it failed with this.
    pub(super) fn is(&self, errno: Errno) -> bool {
        self.source.raw_os_error() == Some(errno.raw_os_error())
    }
}
