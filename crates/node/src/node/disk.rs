//! Whether the disk of the node's data is about to be full: the condition `DiskPressure`.

use std::path::Path;

/// Whether the node takes more on its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DiskPressure {
    /// It does.
    #[default]
    None,
    /// It is as good as full.
    Full,
}

/// What a file system has, and what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    blocks: u64,
    blocks_left: u64,
    /// 0 on file systems without a fixed number of files.
    files: u64,
    files_left: u64,
}

/// Percent that must be left: the kubelet's eviction thresholds `nodefs.available<10%` and `nodefs.inodesFree<5%`.
const BLOCKS: u64 = 10;
const FILES: u64 = 5;

/// Percent more that must be left before the condition ends, so that it does not come and go at the threshold. (The
/// kubelet waits five minutes instead.)
const MORE: u64 = 1;

impl DiskPressure {
    /// How the file system of `directory` is now. What cannot be read is as it was.
    pub(crate) fn look(self, directory: &Path) -> Self {
        match rustix::fs::statvfs(directory) {
            Ok(room) => self.with(Room {
                blocks: room.f_blocks,
                blocks_left: room.f_bavail,
                files: room.f_files,
                files_left: room.f_favail,
            }),
            Err(error) => {
                tracing::warn!(%error, path = %directory.display(), "the room on the node's disk cannot be read");
                self
            }
        }
    }

    fn with(self, room: Room) -> Self {
        let more = if self == Self::Full { MORE } else { 0 };
        let short = |left: u64, all: u64, percent: u64| {
            u128::from(left) * 100 < u128::from(all) * u128::from(percent + more)
        };
        if short(room.blocks_left, room.blocks, BLOCKS) || short(room.files_left, room.files, FILES) {
            Self::Full
        } else {
            Self::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_thresholds() {
        let check = |before: DiskPressure, blocks_left: u64, files: (u64, u64), after: DiskPressure| {
            let room = Room { blocks: 1000, blocks_left, files: files.0, files_left: files.1 };
            assert_eq!(before.with(room), after, "{before:?} {room:?}");
        };
        let many = (1000, 900);
        check(DiskPressure::None, 100, many, DiskPressure::None);
        check(DiskPressure::None, 99, many, DiskPressure::Full);
        check(DiskPressure::Full, 100, many, DiskPressure::Full);
        check(DiskPressure::Full, 110, many, DiskPressure::None);
        check(DiskPressure::None, 500, (1000, 49), DiskPressure::Full);
        check(DiskPressure::None, 500, (1000, 50), DiskPressure::None);
        check(DiskPressure::None, 500, (0, 0), DiskPressure::None);
    }
}
