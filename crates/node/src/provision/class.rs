//! The parameters of StorageClasses of this provisioner.

use std::collections::BTreeMap;

/// The parameter that says what holds a volume.
const BACKING: &str = "backing";

/// What holds a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backing {
    /// A file of its size, or a directory on a machine that cannot mount files.
    FileIfPossible,
    /// A file of its size.
    File,
    /// A directory: nobody enforces the size.
    Directory,
}

/// A class that the provisioner does not understand.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum BadClass {
    #[error(
        "the class has the unknown parameters {0}; this provisioner knows backing=file and backing=directory"
    )]
    Unknown(String),
    #[error("the class has the parameter backing={0}; it can be file or directory")]
    Backing(String),
}

/// What the parameters of a class say.
pub(super) fn backing(parameters: Option<&BTreeMap<String, String>>) -> Result<Backing, BadClass> {
    let Some(parameters) = parameters else { return Ok(Backing::FileIfPossible) };
    let unknown: Vec<&str> = parameters.keys().map(String::as_str).filter(|name| *name != BACKING).collect();
    if !unknown.is_empty() {
        return Err(BadClass::Unknown(unknown.join(", ")));
    }
    match parameters.get(BACKING).map(String::as_str) {
        None => Ok(Backing::FileIfPossible),
        Some("file") => Ok(Backing::File),
        Some("directory") => Ok(Backing::Directory),
        Some(other) => Err(BadClass::Backing(other.to_owned())),
    }
}
