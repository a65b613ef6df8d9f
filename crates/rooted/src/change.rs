//! Making and changing things in a directory.

use crate::find::{Follow, Root, plain};
use crate::handle::Kind;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Component, Path};

/// How often something is looked for and made that others keep making and removing.
const TRIES: usize = 16;

/// Whom something new belongs to; `None` leaves what the kernel gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// User ID.
    pub user: Option<u32>,
    /// Group ID.
    pub group: Option<u32>,
}

impl Owner {
    /// Whatever the kernel gives.
    pub const AS_MADE: Self = Self { user: None, group: None };

    fn ids(self) -> (Option<Uid>, Option<Gid>) {
        (self.user.map(Uid::from_raw), self.group.map(Gid::from_raw))
    }
}

impl Root {
    /// Makes a file that is not there yet, open for writing, with exactly these permission bits.
    pub fn create(&self, name: impl AsRef<OsStr>, mode: u32, owner: Owner) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, plain(name.as_ref())?, flags, Mode::from_raw_mode(0o600))?;
        settle(&file, mode, owner)?;
        Ok(File::from(file))
    }

    /// Makes a file that is not there yet with this content.
    pub fn write(&self, name: impl AsRef<OsStr>, bytes: &[u8], mode: u32, owner: Owner) -> io::Result<()> {
        self.create(name, mode, owner)?.write_all(bytes)
    }

    /// Gives a name this content at once: a reader sees the old or the new, whole. What had the name is replaced.
    pub fn replace(&self, name: impl AsRef<OsStr>, bytes: &[u8], mode: u32, owner: Owner) -> io::Result<()> {
        let name = plain(name.as_ref())?;
        let new = temporary();
        self.write(&new, bytes, mode, owner)?;
        let renamed = self.rename(&new, self, name);
        if renamed.is_err() {
            self.remove_file(&new)?;
        }
        renamed
    }

    /// Opens a regular file for writing at its end; makes it when missing.
    pub fn append(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<File> {
        self.open_or_create(name.as_ref(), OFlags::WRONLY | OFlags::APPEND, mode)
    }

    /// Opens a regular file for writing and empties it, so that it stays the same file for whoever has it mounted; makes
    /// it when missing.
    pub fn rewrite(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<File> {
        let file = self.open_or_create(name.as_ref(), OFlags::WRONLY, mode)?;
        file.set_len(0)?;
        Ok(file)
    }

    /// Opens a regular file that is there for reading and writing.
    pub fn edit(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        self.find(plain(name.as_ref())?, Follow::Nothing)?.reopen(OFlags::RDWR)
    }

    fn open_or_create(&self, name: &OsStr, flags: OFlags, mode: u32) -> io::Result<File> {
        let name = plain(name)?;
        let new = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..TRIES {
            match self.find(name, Follow::Nothing) {
                Ok(found) => return found.reopen(flags),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            match rustix::fs::openat(&self.fd, name, new, Mode::from_raw_mode(0o600)) {
                Ok(file) => {
                    settle(&file, mode, Owner::AS_MADE)?;
                    return Ok(File::from(file));
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Makes a directory that is not there yet, with exactly these permission bits.
    pub fn make_directory(&self, name: impl AsRef<OsStr>, mode: u32, owner: Owner) -> io::Result<Self> {
        let name = plain(name.as_ref())?;
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o700))?;
        let made = self.directory(name, Follow::Nothing)?;
        settle(&made.fd, mode, owner)?;
        Ok(made)
    }

    /// Opens a directory; makes it when missing. One that is there stays as it is.
    pub fn ensure_directory(&self, name: impl AsRef<OsStr>, mode: u32, owner: Owner) -> io::Result<Self> {
        let name = name.as_ref();
        for _ in 0..TRIES {
            match self.directory(plain(name)?, Follow::Nothing) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => return found,
            }
            match self.make_directory(name, mode, owner) {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {}
                made => return made,
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Opens the directory at `path`; makes it and the parents it lacks, as in [`Root::ensure_directory`]. Links among
    /// those that are there are treated as `follow` says; `..` is only allowed where it says [`Follow::InRoot`].
    pub fn ensure_directories(
        &self,
        path: impl AsRef<Path>,
        follow: Follow,
        mode: u32,
        owner: Owner,
    ) -> io::Result<Self> {
        let mut here = self.try_clone()?;
        let mut so_far = std::path::PathBuf::new();
        for component in path.as_ref().components() {
            match component {
                Component::CurDir => continue,
                Component::RootDir if follow == Follow::InRoot => continue,
                Component::ParentDir if follow == Follow::InRoot => so_far.push(".."),
                Component::Normal(name) => so_far.push(name),
                _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is not relative")),
            }
            // From the top each time: a link's target is resolved from there.
            here = match (self.directory(&so_far, follow), component) {
                (Err(error), Component::Normal(name)) if error.kind() == io::ErrorKind::NotFound => {
                    here.ensure_directory(name, mode, owner)?
                }
                (found, _) => found?,
            };
        }
        Ok(here)
    }

    /// Makes a symbolic link that is not there yet. Its target is only text.
    pub fn symlink(&self, target: impl AsRef<Path>, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target.as_ref(), &self.fd, plain(name.as_ref())?)?)
    }

    /// Renames something, into another directory of the same mount or within this one. What had the new name is replaced,
    /// unless it is a directory that is not empty.
    pub fn rename(&self, name: impl AsRef<OsStr>, to: &Self, new: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, plain(name.as_ref())?, &to.fd, plain(new.as_ref())?)?)
    }

    /// Changes whom something in this directory belongs to; a link itself, not its target.
    pub fn chown(&self, name: impl AsRef<OsStr>, owner: Owner) -> io::Result<()> {
        let (user, group) = owner.ids();
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::chownat(&self.fd, plain(name.as_ref())?, user, group, flags)?)
    }

    /// Changes the permission bits of a file or directory in this directory. Anything else, links above all, is refused.
    pub fn chmod(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<()> {
        let found = self.find(plain(name.as_ref())?, Follow::Nothing)?;
        match found.kind() {
            Kind::Directory => found.directory()?.set_mode(mode),
            _ => Ok(rustix::fs::fchmod(found.reopen(OFlags::RDONLY)?, Mode::from_raw_mode(mode))?),
        }
    }

    /// Changes whom the directory itself belongs to.
    pub fn chown_itself(&self, owner: Owner) -> io::Result<()> {
        let (user, group) = owner.ids();
        Ok(rustix::fs::fchown(&self.fd, user, group)?)
    }

    /// Changes the permission bits of the directory itself.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode))?)
    }
}

/// Owner first: changing it takes set-user-ID bits away.
fn settle(fd: impl AsFd, mode: u32, owner: Owner) -> io::Result<()> {
    let (user, group) = owner.ids();
    if owner != Owner::AS_MADE {
        rustix::fs::fchown(&fd, user, group)?;
    }
    Ok(rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?)
}

/// A name that nobody has or can guess. Two dots: programs that list a volume leave it out.
pub(crate) fn temporary() -> OsString {
    format!("..{:016x}.new", rand::random::<u64>()).into()
}
