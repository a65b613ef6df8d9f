//! Mounts of a cluster that has ended.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::mount::{UnmountFlags, unmount};

/// Unmounts everything below a directory, the deepest first: volumes of pods, and what a killed process left.
pub(crate) fn unmount_below(directory: &Path) -> anyhow::Result<()> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").context("read the list of mounts")?;
    for point in mount_points(&table, directory) {
        unmount(&point, UnmountFlags::DETACH).with_context(|| format!("unmount {}", point.display()))?;
    }
    Ok(())
}

/// Mount points below a directory, in reverse order of mounting (the format is described in proc_pid_mountinfo(5)).
fn mount_points(table: &str, directory: &Path) -> Vec<PathBuf> {
    let point = |line: &str| line.split(' ').nth(4).map(|path| PathBuf::from(unescape(path)));
    let mut points: Vec<PathBuf> =
        table.lines().filter_map(point).filter(|path| path.starts_with(directory)).collect();
    points.reverse();
    points
}

/// The kernel writes space, tab, newline and backslash as `\ooo`.
fn unescape(path: &str) -> String {
    let mut out = path.replace("\\040", " ");
    for (code, character) in [("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        out = out.replace(code, character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_deepest_first() {
        let table = "1 0 8:1 / / rw - ext4 d rw\n2 1 0:1 / /data/a rw - tmpfs t rw\n3 2 0:2 / /data/a/b\\040c rw - tmpfs t rw\n4 1 0:3 / /database rw - tmpfs t rw\n";
        let points = mount_points(table, Path::new("/data"));
        assert_eq!(points, [PathBuf::from("/data/a/b c"), PathBuf::from("/data/a")]);
    }
}
