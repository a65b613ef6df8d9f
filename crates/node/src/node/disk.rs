//! Whether the disk of the node's data is about to be full: the condition `DiskPressure`.

use crate::eviction::{EvictionHard, Threshold};
use rustix::fs::StatVfs;
use std::io;
use std::os::fd::AsFd;
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) bytes: u64,
    /// Without what is kept for root.
    pub(crate) bytes_left: u64,
    pub(crate) bytes_used: u64,
    /// 0 on file systems without a fixed number of files.
    pub(crate) files: u64,
    pub(crate) files_left: u64,
}

impl Room {
    /// The room on the file system of `directory`.
    pub(crate) fn at(directory: &Path) -> io::Result<Self> {
        Ok(Self::of(&rustix::fs::statvfs(directory)?))
    }

    /// The room on the file system of something that is open.
    pub(crate) fn around(open: impl AsFd) -> io::Result<Self> {
        Ok(Self::of(&rustix::fs::fstatvfs(open)?))
    }

    fn of(stat: &StatVfs) -> Self {
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Self {
            bytes: bytes(stat.f_blocks),
            bytes_left: bytes(stat.f_bavail),
            bytes_used: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
            files: stat.f_files,
            files_left: stat.f_favail,
        }
    }
}

/// Percent that must be left: the kubelet's eviction thresholds `nodefs.available<10%` and `nodefs.inodesFree<5%`.
const SPACE: u64 = 10;
const FILES: Threshold = Threshold::Percent(5);

/// Bytes that are always enough. Where the kubelet has a machine to itself, skiff shares people's own: a tenth of a
/// large disk is no shortage, and a cluster that refuses pods for it would be of no use there. (`--eviction-hard` says otherwise.)
const ENOUGH: u64 = 1 << 30;

/// A tenth more must be left before the condition ends, so that it does not come and go at the threshold. (The kubelet
/// waits five minutes instead.)
const MORE: u64 = 10;

impl DiskPressure {
    /// How the file system of `directory` is now. What cannot be read is as it was.
    pub(crate) fn look(self, directory: &Path, thresholds: EvictionHard) -> Self {
        match Room::at(directory) {
            Ok(room) => self.with(room, thresholds),
            Err(error) => {
                tracing::warn!(%error, path = %directory.display(), "the room on the node's disk cannot be read");
                self
            }
        }
    }

    fn with(self, room: Room, thresholds: EvictionHard) -> Self {
        let percent = if self == Self::Full { 100 + MORE } else { 100 };
        let short =
            |left: u64, needed: u64| u128::from(left) * 100 < u128::from(needed) * u128::from(percent);
        let space = match thresholds.available {
            Some(threshold) => threshold.of(room.bytes),
            None => (room.bytes / 100 * SPACE).min(ENOUGH),
        };
        let files = thresholds.inodes_free.unwrap_or(FILES).of(room.files);
        if short(room.bytes_left, space) || short(room.files_left, files) { Self::Full } else { Self::None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_thresholds() {
        let check = |before: DiskPressure, (bytes, bytes_left), (files, files_left), after: DiskPressure| {
            let room = Room { bytes, bytes_left, files, files_left, ..Room::default() };
            assert_eq!(before.with(room, EvictionHard::default()), after, "{before:?} {room:?}");
        };
        let (none, full) = (DiskPressure::None, DiskPressure::Full);
        let many = (1000, 900);
        check(none, (1000, 100), many, none);
        check(none, (1000, 99), many, full);
        check(full, (1000, 109), many, full);
        check(full, (1000, 110), many, none);
        check(none, (1000, 500), (1000, 49), full);
        check(none, (1000, 500), (1000, 50), none);
        check(none, (1000, 500), (0, 0), none);
        check(none, (1 << 40, 1 << 30), many, none);
        check(none, (1 << 40, (1 << 30) - 1), many, full);
    }

    #[test]
    fn thresholds_of_the_administrators_come_first() {
        let check = |thresholds: &str, (bytes, bytes_left), (files, files_left), after: DiskPressure| {
            let room = Room { bytes, bytes_left, files, files_left, ..Room::default() };
            let seen = DiskPressure::None.with(room, thresholds.parse().unwrap());
            assert_eq!(seen, after, "{thresholds} {room:?}");
        };
        let (none, full, many) = (DiskPressure::None, DiskPressure::Full, (1000, 900));
        check("nodefs.available<10%", (1 << 40, 1 << 30), many, full);
        check("nodefs.available<10%", (1000, 100), many, none);
        check("nodefs.available<0%", (1000, 0), many, none);
        check("nodefs.available<2Gi", (1 << 40, 1 << 30), many, full);
        check("nodefs.inodesFree<50%", (1000, 900), (1000, 499), full);
        check("nodefs.inodesFree<10", (1000, 900), (1000, 49), none);
    }
}
