//! The state file: what a successor needs to take over the pod, replaced atomically after every change.

use crate::state::{ContainerState, ContainerStatus};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;

/// Version of the file's format.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct File<C> {
    format: u32,
    containers: C,
}

/// One container as saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedContainer {
    pub(super) state: ContainerState,
    /// Start of its process in clock ticks after boot: tells it from a later process with the same ID.
    pub(super) birth: Option<u64>,
}

impl SavedContainer {
    pub(super) fn of(state: &ContainerState) -> Self {
        let birth = match state.status {
            ContainerStatus::Running { pid, .. } => birth(pid),
            _ => None,
        };
        Self { state: state.clone(), birth }
    }

    /// One whose process is about to become the program: from then on it has been started, whether or not anybody sees it run.
    pub(super) fn starting(state: &ContainerState, pid: i32) -> Self {
        let status = ContainerStatus::Running { pid, started_at: Timestamp::now() };
        Self::of(&ContainerState { status, ..state.clone() })
    }

    /// Its process, if it still runs.
    pub(super) fn living(&self) -> Option<i32> {
        match self.state.status {
            ContainerStatus::Running { pid, .. } if self.birth.is_some() && birth(pid) == self.birth => {
                Some(pid)
            }
            _ => None,
        }
    }
}

pub(super) fn save(path: &Path, containers: impl Iterator<Item = SavedContainer>) -> io::Result<()> {
    let containers: Vec<_> = containers.collect();
    crate::paths::write_atomically(path, &serde_json::to_vec(&File { format: FORMAT, containers })?)
}

/// What the last supervisor saved. Without the file there was none: whoever was to start it was killed first, and what
/// it would have made cannot be relied on.
pub(super) fn load(path: &Path) -> io::Result<Vec<SavedContainer>> {
    let file: File<Vec<SavedContainer>> = serde_json::from_slice(&fs::read(path)?)?;
    if file.format != FORMAT {
        return Err(io::Error::other(format!("format {} is not known, only {FORMAT}", file.format)));
    }
    Ok(file.containers)
}

/// A process that still runs in the pod's namespaces.
pub(super) fn survivor(saved: &[SavedContainer]) -> Option<i32> {
    saved.iter().find_map(SavedContainer::living)
}

fn birth(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may itself hold spaces and parentheses.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let zombie = fields.next() == Some("Z");
    if zombie { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one_birth() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(birth(own).is_some_and(|b| b > 0));
        assert_eq!(birth(own), birth(own));
        assert_eq!(birth(i32::MAX), None);
    }
}
