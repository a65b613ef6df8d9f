//! The home directory of a container's user, by the container's own `/etc/passwd`.
//!
//! Looked up by our own code and given to libcontainer: it would ask the C library, which loads the name services that the
//! container's files name, code of the image in a process that still has every privilege.

use skiff_rooted::{Follow, Root};
use std::path::Path;

/// Bytes of the file that are looked at.
const LONGEST: u64 = 1 << 20;

/// The home directory of user `uid` in the file system at `root`; `/` when nothing says.
pub(super) fn find(root: &Path, uid: u32) -> String {
    let read = || Root::open(root)?.read_start("etc/passwd", Follow::InRoot, LONGEST);
    // An image need not have the file, and may have anything in its place.
    let passwd = read().unwrap_or_default();
    home_of(&String::from_utf8_lossy(&passwd), uid).unwrap_or("/").to_owned()
}

fn home_of(passwd: &str, uid: u32) -> Option<&str> {
    let uid = uid.to_string();
    let entry = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid))?;
    entry.split(':').nth(5).filter(|home| !home.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_comes_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:101::/srv:/bin/false\nno:x:102:102:::\n";
        assert_eq!(home_of(passwd, 101), Some("/srv"));
        assert_eq!(home_of(passwd, 102), None);
        assert_eq!(home_of(passwd, 7), None);
    }

    #[test]
    fn a_pipe_or_a_link_out_is_no_user_database() {
        let directory = tempfile::tempdir().unwrap();
        let etc = directory.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        assert_eq!(find(directory.path(), 0), "/");
        std::os::unix::fs::symlink("/etc/passwd", etc.join("passwd")).unwrap();
        assert_eq!(
            find(directory.path(), 0),
            "/",
            "the link starts over at the root, where it leads to itself"
        );
        std::fs::remove_file(etc.join("passwd")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        rustix::fs::mkfifoat(rustix::fs::CWD, etc.join("passwd"), mode).unwrap();
        assert_eq!(find(directory.path(), 0), "/");
    }
}
