//! Why a volume cannot be had.

use super::content::ContentError;
use std::io;
use std::path::{Path, PathBuf};

/// A volume cannot be made, shown or taken down; the text follows `MountVolume.SetUp failed for volume "x" : `. All may be
/// tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("hostPath type check failed: {path} {problem}")]
    HostPath { path: String, problem: String },
    #[error("no volume plugin matched: volumes of the source {kind} are not supported on this node")]
    Unsupported { kind: String },
    #[error("emptyDir medium {medium:?} is not supported on this node")]
    Medium { medium: String },
    #[error("path {path:?} does not exist")]
    NoPath { path: String },
    #[error("path {path:?} is {found}, and can be no persistent volume of mode {mode}")]
    WrongKind { path: String, found: skiff_rooted::Kind, mode: &'static str },
    #[error("mount option {option:?} is not supported for {what}")]
    MountOption { option: String, what: &'static str },
    #[error("mount of {what} failed: {source}")]
    Mount { what: String, source: io::Error },
    #[error("applyFSGroup failed for vol {volume}: {source}")]
    FsGroup { volume: String, source: io::Error },
    #[error("{program} failed: {text}")]
    Program { program: &'static str, text: String },
    #[error("{program} is not installed on this node (it is part of e2fsprogs)")]
    NoProgram { program: &'static str },
    #[error("a volume of this kind cannot grow")]
    CannotGrow,
    #[error("{action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl VolumeError {
    /// A failure of `action` at `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
