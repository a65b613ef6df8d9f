//! Something in a file system, held without being opened.

use crate::find::Root;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What something in a file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl Kind {
    pub(crate) fn of(file_type: FileType) -> Self {
        match file_type {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Link,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::CharDevice,
            FileType::BlockDevice => Self::BlockDevice,
            // The kernel knows no other that a path can name.
            FileType::RegularFile | FileType::Unknown => Self::File,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Link => "a symbolic link",
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket file",
            Self::CharDevice => "a character device",
            Self::BlockDevice => "a block device",
        })
    }
}

/// A file, directory or anything else, held without being opened (`O_PATH`): looking at a pipe does not wait, looking at
/// a device does not wake it, and what it is cannot change any more.
#[derive(Debug)]
pub struct Handle {
    fd: OwnedFd,
    status: Stat,
}

impl Handle {
    /// Finds something by a path that nobody but root can change, or that may lead anywhere; links are followed.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::new(rustix::fs::open(path.as_ref(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
    }

    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let status = rustix::fs::fstat(&fd)?;
        Ok(Self { fd, status })
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::of(FileType::from_raw_mode(self.status.st_mode))
    }

    /// Its permission bits, as far as they were known when it was found.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.status.st_mode & 0o7777
    }

    /// User and group it belonged to when it was found.
    #[must_use]
    pub fn owner(&self) -> (u32, u32) {
        (self.status.st_uid, self.status.st_gid)
    }

    /// Bytes it had when it was found.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::try_from(self.status.st_size).unwrap_or(0)
    }

    /// Device and inode: the same for two handles of one object.
    #[must_use]
    pub fn identity(&self) -> (u64, u64) {
        (self.status.st_dev, self.status.st_ino)
    }

    /// Opens the regular file for reading; anything else is an error.
    pub fn read(&self) -> io::Result<File> {
        self.reopen(OFlags::RDONLY)
    }

    /// Opens the directory; anything else is an error.
    pub fn directory(&self) -> io::Result<Root> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Root { fd: rustix::fs::openat(&self.fd, c".", flags, Mode::empty())? })
    }

    /// Opens exactly this object, if it is a regular file.
    pub(crate) fn reopen(&self, flags: OFlags) -> io::Result<File> {
        if self.kind() != Kind::File {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let own = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
        Ok(File::from(rustix::fs::open(own, flags, Mode::empty())?))
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
