//! How much room a tree takes on its file system.

use crate::find::{Follow, Root};
use rustix::fs::{AtFlags, FileType, Stat};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

/// Bytes of the blocks that `st_blocks` counts, whatever those of the file system are.
const BLOCK: u64 = 512;

impl Root {
    /// Bytes that this directory and everything below it take, a file with several names once. What is mounted below is
    /// left out, and so is what is gone when it is looked at, or lies deeper than a path can say.
    ///
    /// Takes a moment for each file, and two descriptors however deep the tree.
    pub fn usage(&self) -> io::Result<u64> {
        let own = rustix::fs::fstat(&self.fd)?;
        let (mut bytes, mut several_names) = (taken(&own), BTreeSet::new());
        let mut waiting = vec![PathBuf::new()];
        while let Some(path) = waiting.pop() {
            let Some(directory) = absent_is_none(self.directory(&path, Follow::Nothing))? else { continue };
            for entry in directory.entries()? {
                let name = entry?.name;
                let status = rustix::fs::statat(&directory.fd, &*name, AtFlags::SYMLINK_NOFOLLOW);
                let Some(status) = absent_is_none(status.map_err(io::Error::from))? else { continue };
                if status.st_dev != own.st_dev
                    || status.st_nlink > 1 && !is_directory(&status) && !several_names.insert(status.st_ino)
                {
                    continue;
                }
                bytes += taken(&status);
                if is_directory(&status) {
                    waiting.push(path.join(name));
                }
            }
        }
        Ok(bytes)
    }
}

fn is_directory(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::Directory
}

fn taken(status: &Stat) -> u64 {
    u64::try_from(status.st_blocks).unwrap_or(0).saturating_mul(BLOCK)
}

/// What has gone, was replaced by something else or cannot be named is nothing to count.
fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound, PermissionDenied};
    match result {
        Ok(found) => Ok(Some(found)),
        // Permission is denied where a link or another file system has taken a directory's place.
        Err(error)
            if [NotFound, NotADirectory, PermissionDenied, InvalidFilename].contains(&error.kind()) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_tree_takes_what_its_files_take() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let usage = || Root::open(directory.path()).unwrap().usage().unwrap();
        let empty = usage();
        fs::create_dir_all(at("a/b")).unwrap();
        let directories = usage();
        fs::write(at("a/b/file"), vec![1; 100_000]).unwrap();
        let one = usage();
        assert!((100_000..300_000).contains(&(one - directories)), "{directories} {one}");
        fs::hard_link(at("a/b/file"), at("a/again")).unwrap();
        std::os::unix::fs::symlink("/", at("everything")).unwrap();
        fs::File::create(at("hole")).unwrap().set_len(1 << 40).unwrap();
        assert!(usage() - one < 50_000, "neither names nor holes take much");
        assert!(empty <= directories);
        // Deeper than a path can say.
        let mut deep = Root::open(directory.path()).unwrap();
        for _ in 0..60 {
            deep = deep.make_directory("d".repeat(200), 0o755, crate::Owner::AS_MADE).unwrap();
        }
        usage();
    }
}
