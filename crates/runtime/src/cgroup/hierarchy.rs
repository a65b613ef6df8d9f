//! One mounted tree, and the groups in it.

use super::error::{CgroupError, write};
use super::limits::Setting;
use super::room;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A mounted tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hierarchy {
    pub(super) mount: PathBuf,
    pub(super) kind: Kind,
}

/// Which controllers it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// v2 with all controllers.
    Unified,
    /// v2 beside v1: none of the controllers we need.
    Beside,
    /// v1 with these controllers; a named one has `name=…` instead.
    V1(Vec<String>),
}

impl Hierarchy {
    pub(super) fn directory(&self, path: &str) -> PathBuf {
        self.mount.join(path.trim_start_matches('/'))
    }

    pub(super) fn has(&self, controller: &str) -> bool {
        match &self.kind {
            Kind::Unified => true,
            Kind::Beside => false,
            Kind::V1(controllers) => controllers.iter().any(|c| c == controller),
        }
    }

    /// Makes the group and its parents, passing on what a child needs from each parent.
    pub(super) fn make(&self, path: &str) -> Result<PathBuf, CgroupError> {
        let mut directory = self.mount.clone();
        for name in path.split('/').filter(|n| !n.is_empty()) {
            let parent = directory.clone();
            if self.kind == Kind::Unified {
                room::pass_on(&parent)?;
            }
            directory.push(name);
            match fs::create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(CgroupError { action: "create", path: directory, source: error });
                }
                _ => {}
            }
            if matches!(self.kind, Kind::V1(_)) && self.has("cpuset") {
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    inherit(&parent.join(file), &directory.join(file))?;
                }
            }
        }
        Ok(directory)
    }

    /// Writes the settings whose controllers are in this tree.
    pub(super) fn apply(&self, directory: &Path, settings: &[Setting]) -> Result<(), CgroupError> {
        for Setting { controller, file, value, optional } in settings {
            let file = directory.join(file);
            if self.has(controller) && (!*optional || file.exists()) {
                write(&file, value)?;
            }
        }
        Ok(())
    }
}

fn inherit(from: &Path, to: &Path) -> Result<(), CgroupError> {
    let current = fs::read_to_string(to).unwrap_or_default();
    if current.trim().is_empty()
        && let Ok(value) = fs::read_to_string(from)
    {
        write(to, value.trim())?;
    }
    Ok(())
}
