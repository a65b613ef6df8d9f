//! File operations that never leave a directory, whatever symbolic links lie in it.

use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

/// A directory treated as the root: absolute links and `..` stay inside.
pub(crate) struct Root {
    fd: OwnedFd,
}

impl Root {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { fd: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// Opens something below the root, following links inside of it.
    pub(crate) fn open_below(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let path = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
    }

    /// Makes a directory and the parents it lacks; new ones belong to the given user and group.
    pub(crate) fn make_directory(&self, path: &Path, uid: u32, gid: u32) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut so_far = std::path::PathBuf::new();
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let parent = self.open_below(&so_far, flags)?;
            so_far.push(name);
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => {
                    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                    rustix::fs::chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
                }
                Err(rustix::io::Errno::EXIST) => drop(self.open_below(&so_far, flags)?),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_cannot_lead_outside() {
        let directory = tempfile::tempdir().unwrap();
        let root_path = directory.path().join("root");
        std::fs::create_dir_all(root_path.join("real")).unwrap();
        symlink("/real", root_path.join("absolute")).unwrap();
        symlink("../../..", root_path.join("up")).unwrap();
        let root = Root::open(&root_path).unwrap();
        let own = rustix::process::getuid().as_raw();
        root.make_directory(Path::new("/absolute/a"), own, own).unwrap();
        root.make_directory(Path::new("/up/b/c"), own, own).unwrap();
        assert!(root_path.join("real/a").is_dir());
        assert!(root_path.join("b/c").is_dir());
        assert!(!directory.path().join("b").exists());
    }
}
