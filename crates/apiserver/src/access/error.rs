//! Why nobody can come in, or decide, as is asked for.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Nobody can come in, or decide, as is asked for.
#[derive(Debug, Error)]
pub enum AccessError {
    /// Options do not go together.
    #[error("{0}")]
    Options(String),
    /// A file cannot be read.
    #[error("cannot read {what} {}", file.display())]
    Unreadable {
        /// What it is.
        what: &'static str,
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not say what it should.
    #[error("{}: {why}", file.display())]
    Wrong {
        /// Which.
        file: PathBuf,
        /// What is wrong, by field.
        why: String,
    },
}

pub(super) fn options(why: impl Into<String>) -> AccessError {
    AccessError::Options(why.into())
}

pub(super) fn wrong(file: &Path, why: String) -> AccessError {
    AccessError::Wrong { file: file.to_owned(), why }
}
