//! Removing, whatever lies there.

use crate::change::temporary;
use crate::find::{Entry, Root, openat2, plain};
use crate::handle::Kind;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

/// How often a directory is emptied that others fill at the same time.
const TRIES: usize = 64;

impl Root {
    /// Removes a file, link, pipe or whatever else is no directory. Not there is a success.
    pub fn remove_file(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        absent_is_fine(rustix::fs::unlinkat(&self.fd, plain(name.as_ref())?, AtFlags::empty()))
    }

    /// Removes something with everything below it, without following links. Not there is a success; a mount below is an
    /// error, and what is mounted stays untouched.
    ///
    /// However deep the tree, a handful of descriptors is enough: a directory found further down is moved up to the top of
    /// the tree before it is looked into. After an error the rest is still below `name`, for another try.
    pub fn remove_tree(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = plain(name.as_ref())?;
        self.remove_with(name, |tree| tree.remove_listed())
    }

    /// Removes everything in this directory, as [`Root::remove_tree`] does.
    pub fn remove_entries(&self) -> io::Result<()> {
        for _ in 0..TRIES {
            self.remove_listed()?;
            if self.entries()?.next().is_none() {
                return Ok(());
            }
        }
        Err(Errno::NOTEMPTY.into())
    }

    /// Goes over the entries of this directory once and removes them.
    fn remove_listed(&self) -> io::Result<()> {
        for entry in self.entries()? {
            // Directories that wait here are names in this directory, too.
            let mut waiting = vec![entry?.name];
            while let Some(name) = waiting.pop() {
                self.remove_with(&name, |directory| directory.move_up(self, &mut waiting))?;
            }
        }
        Ok(())
    }

    /// Removes `name`. While it is a directory that is not empty, `empty` is asked to do something about that.
    fn remove_with(&self, name: &OsStr, mut empty: impl FnMut(&Self) -> io::Result<()>) -> io::Result<()> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", name.display()));
        for _ in 0..TRIES {
            match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTDIR) => match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
                    // A directory has taken its place.
                    Err(Errno::ISDIR) => continue,
                    result => return absent_is_fine(result).map_err(named),
                },
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                result => return absent_is_fine(result).map_err(named),
            }
            match self.directory_of_this_mount(name) {
                Ok(directory) => empty(&directory).map_err(named)?,
                // Something else has taken its place.
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {}
                Err(Errno::XDEV) => return Err(named(Errno::BUSY.into())),
                Err(error) => return Err(named(error.into())),
            }
        }
        Err(named(Errno::NOTEMPTY.into()))
    }

    /// Removes what is in this directory, except for directories that are not empty: they move to `top`, and their new
    /// names are added to `moved`.
    fn move_up(&self, top: &Self, moved: &mut Vec<OsString>) -> io::Result<()> {
        for entry in self.entries()? {
            let Entry { name, kind } = entry?;
            let flags = if kind == Kind::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            match rustix::fs::unlinkat(&self.fd, &name, flags) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    let aside = temporary();
                    match rustix::fs::renameat(&self.fd, &name, &top.fd, &aside) {
                        Ok(()) => moved.push(aside),
                        result => absent_is_fine(result)?,
                    }
                }
                // Something else has taken its place: the next look finds it.
                Err(Errno::NOTDIR | Errno::ISDIR) => {}
                result => absent_is_fine(result)?,
            }
        }
        Ok(())
    }

    /// Opens the directory `name` unless something is mounted on it.
    fn directory_of_this_mount(&self, name: &OsStr) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        Ok(Self { fd: openat2(&self.fd, Path::new(name), flags, Mode::empty(), resolve)? })
    }
}

fn absent_is_fine(result: Result<(), Errno>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
