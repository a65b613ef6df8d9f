//! Unpacking one layer into a directory that overlayfs can use as it is.
//!
//! Deletions become overlayfs whiteouts (character device 0:0) and opaque directories, which are only reported: their
//! attribute needs more rights than unpacking has. Parents an archive does not mention are looked up in what lies below,
//! links included, as if the archive were unpacked on top of it. No entry can lead out of the layer, only regular files
//! are ever opened, and everything is bounded.

mod nodes;
#[cfg(test)]
mod tests;

use super::limits::{Bound, ImageLimits};
use super::tarball::{Member, Members};
use nodes::{
    Meta, add_node, apply, apply_link, copy_attributes, copy_with_holes, create, device, is_whiteout,
    kind_of, meta_of, remove, same, set_attributes, set_time, size_of_file, stat, write_pieces,
};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use tar::EntryType;

/// Most symbolic links followed in one path.
const MAX_LINKS: u32 = 40;

/// Prefix of names that stand for deletions.
const WHITEOUT: &[u8] = b".wh.";
/// Name that hides everything below in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// What was unpacked.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unpacked {
    /// Bytes of its files.
    pub(super) size: u64,
    /// Directories, from the layer's root, that hide what lies below them.
    pub(super) opaque: Vec<PathBuf>,
}

/// Unpacks an uncompressed archive into `root` (an empty directory), on top of the directory `below`, if there is one.
pub(super) fn unpack(
    archive: impl Read,
    root: OwnedFd,
    below: Option<OwnedFd>,
    limits: &ImageLimits,
) -> io::Result<Unpacked> {
    let mut layer = Layer { root, below, limits, times: BTreeMap::new(), opaque: BTreeMap::new(), size: 0 };
    let mut members = Members::new(archive, limits);
    while let Some(member) = members.next()? {
        layer.add(&member, &mut members).map_err(|error| {
            let path: String = String::from_utf8_lossy(&member.path).chars().take(200).collect();
            io::Error::new(error.kind(), Entry { path, error })
        })?;
    }
    // Whoever sends the archive digests all of it.
    io::copy(&mut members.into_rest(), &mut io::sink())?;
    layer.finish()
}

/// Opens a directory for [`unpack`].
pub(super) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, DIRECTORY, Mode::empty())?)
}

/// Marks the directories of an unpacked layer that hide what lies below them.
pub(super) fn mark_opaque(root: &OwnedFd, directories: &[PathBuf]) -> io::Result<()> {
    for path in directories {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat2(root, path, flags, Mode::empty(), BENEATH)?;
        rustix::fs::fsetxattr(&directory, "trusted.overlay.opaque", b"y", XattrFlags::empty())?;
    }
    Ok(())
}

/// Which entry failed.
#[derive(Debug, thiserror::Error)]
#[error("entry {path:?}: {error}")]
struct Entry {
    path: String,
    #[source]
    error: io::Error,
}

/// The number of the operating system's error, if that is what went wrong.
pub(super) fn errno(error: &io::Error) -> Option<Errno> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Entry>());
    Errno::from_io_error(inner.map_or(error, |entry| &entry.error))
}

struct Layer<'a> {
    root: OwnedFd,
    below: Option<OwnedFd>,
    limits: &'a ImageLimits,
    /// Directories and their times, set last because adding entries changes them.
    times: BTreeMap<PathBuf, Timespec>,
    /// Opaque directories and their inode numbers: a later entry may replace one.
    opaque: BTreeMap<PathBuf, u64>,
    size: u64,
}

/// A directory of the layer: its real path from the root and a descriptor.
struct Place {
    path: PathBuf,
    fd: OwnedFd,
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

impl Layer<'_> {
    fn add(&mut self, member: &Member, content: &mut impl Read) -> io::Result<()> {
        let mut names = components(path_of(&member.path))?;
        let Some(name) = names.pop() else {
            // The root itself.
            let meta = meta(member);
            apply(&self.root, OsStr::new("."), meta)?;
            self.times.insert(PathBuf::from("."), meta.time);
            return Ok(());
        };
        let parent = self.directory(&names)?;
        if let Some(deleted) = name.as_bytes().strip_prefix(WHITEOUT) {
            return self.whiteout(&parent, name.as_bytes(), OsStr::from_bytes(deleted));
        }
        match member.kind {
            EntryType::Directory => self.add_directory(parent, &name, member),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.add_file(&parent.fd, &name, member, content)
            }
            EntryType::Symlink => {
                if member.link.is_empty() {
                    return Err(invalid("link without a target"));
                }
                remove(&parent.fd, &name)?;
                rustix::fs::symlinkat(path_of(&member.link), &parent.fd, &*name)?;
                apply_link(&parent.fd, &name, meta(member))
            }
            EntryType::Link => self.add_hard_link(&parent.fd, &name, path_of(&member.link)),
            EntryType::Char => {
                add_node(&parent.fd, &name, FileType::CharacterDevice, device(member), meta(member))
            }
            EntryType::Block => {
                add_node(&parent.fd, &name, FileType::BlockDevice, device(member), meta(member))
            }
            EntryType::Fifo => add_node(&parent.fd, &name, FileType::Fifo, 0, meta(member)),
            other => Err(invalid(format!("entry type {other:?} is not supported"))),
        }
    }

    /// Counts bytes before they are written.
    fn grow(&mut self, bytes: u64) -> io::Result<()> {
        let size = self.size.saturating_add(bytes);
        self.limits.check(Bound::ImageBytes, size)?;
        self.size = size;
        Ok(())
    }

    fn add_directory(&mut self, parent: Place, name: &OsStr, member: &Member) -> io::Result<()> {
        let found = stat(&parent.fd, name)?;
        let replaces_whiteout = found.as_ref().is_some_and(is_whiteout);
        let path = parent.path.join(name);
        if !found.is_some_and(|f| kind_of(&f) == FileType::Directory) {
            remove(&parent.fd, name)?;
            rustix::fs::mkdirat(&parent.fd, name, Mode::RWXU)?;
        }
        let readable = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&parent.fd, name, readable, Mode::empty())?;
        if replaces_whiteout {
            self.set_opaque(path.clone(), directory.as_fd())?;
        }
        set_attributes(&directory, &member.attributes)?;
        let meta = meta(member);
        apply(&parent.fd, name, meta)?;
        self.times.insert(path, meta.time);
        Ok(())
    }

    fn add_file(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        member: &Member,
        content: &mut impl Read,
    ) -> io::Result<()> {
        self.grow(member.sparse.as_ref().map_or(member.size, |sparse| sparse.size))?;
        remove(parent, name)?;
        let mut file = create(parent, name)?;
        match &member.sparse {
            Some(sparse) => write_pieces(&mut file, sparse, content)?,
            None => drop(io::copy(content, &mut file)?),
        }
        let meta = meta(member);
        // Changing the owner drops capabilities and set-user-ID: owner first, then mode and attributes.
        apply(parent, name, meta)?;
        set_attributes(&file, &member.attributes)?;
        set_time(parent, name, meta.time)
    }

    fn add_hard_link(&mut self, parent: &OwnedFd, name: &OsStr, target: &Path) -> io::Result<()> {
        let mut names = components(target)?;
        let last = names.pop().ok_or_else(|| invalid("link without a target"))?;
        let place = self.directory(&names)?;
        let present = stat(&place.fd, &last)?.filter(|found| !is_whiteout(found));
        // A link to itself would remove what it names.
        if present.as_ref().is_some_and(|p| stat(parent, name).is_ok_and(|n| n.is_some_and(|n| same(p, &n))))
        {
            return Ok(());
        }
        remove(parent, name)?;
        if present.is_some() {
            return Ok(rustix::fs::linkat(&place.fd, &*last, parent, name, AtFlags::empty())?);
        }
        // The file is in a layer below: a copy is all a layer of its own can have.
        self.copy_from_below(&place.path.join(last), parent, name)
    }

    /// Makes what lies below anew. Files are copied; nodes are never opened, only made like the ones they stand for.
    fn copy_from_below(&mut self, path: &Path, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let missing =
            || io::Error::new(io::ErrorKind::NotFound, format!("link target {} is missing", path.display()));
        let below = self.below.as_ref().ok_or_else(missing)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match rustix::fs::openat2(below, path, flags, Mode::empty(), BENEATH) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(missing()),
            Err(error) => return Err(error.into()),
        };
        let status = rustix::fs::fstat(&found)?;
        let meta = meta_of(&status);
        match kind_of(&status) {
            FileType::RegularFile => {
                // Only now that it is known to be a file; should it block all the same, it does not.
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let from = rustix::fs::openat2(below, path, flags, Mode::empty(), BENEATH)?;
                let mut from = File::from(from);
                self.grow(size_of_file(&status))?;
                let mut to = create(parent, name)?;
                copy_with_holes(&mut from, &mut to)?;
                apply(parent, name, meta)?;
                copy_attributes(&from, &to)?;
                set_time(parent, name, meta.time)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&found, "", Vec::new())?;
                rustix::fs::symlinkat(&*target, parent, name)?;
                apply_link(parent, name, meta)
            }
            FileType::CharacterDevice if is_whiteout(&status) => Err(missing()),
            FileType::Directory | FileType::Unknown => Err(invalid("a hard link to a directory")),
            node => add_node(parent, name, node, status.st_rdev, meta),
        }
    }

    fn open(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        Ok(rustix::fs::openat2(&self.root, path, DIRECTORY, Mode::empty(), BENEATH)?)
    }

    /// Opens a directory of this layer, made as needed, following links of this layer and those below.
    fn directory(&mut self, names: &[OsString]) -> io::Result<Place> {
        let mut rest: VecDeque<OsString> = names.iter().cloned().collect();
        let mut place = Place { path: PathBuf::new(), fd: self.root.try_clone()? };
        let (mut links, mut depth) = (0, 0);
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                depth = u64::saturating_sub(depth, 1);
                place.path.pop();
                place.fd = self.open(&place.path)?;
                continue;
            }
            let Some(link) = self.step(&mut place, name)? else {
                depth += 1;
                self.limits.check(Bound::Depth, depth)?;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(invalid("too many levels of symbolic links"));
            }
            let target = path_of(&link);
            if target.is_absolute() {
                depth = 0;
                place = Place { path: PathBuf::new(), fd: self.root.try_clone()? };
            }
            for component in target.components().rev() {
                match component {
                    Component::Normal(name) => rest.push_front(name.to_owned()),
                    Component::ParentDir => rest.push_front("..".into()),
                    _ => {}
                }
            }
        }
        Ok(place)
    }

    /// Goes into a directory, made as needed, or returns the link that is there instead.
    fn step(&mut self, place: &mut Place, name: OsString) -> io::Result<Option<Vec<u8>>> {
        let found = stat(&place.fd, &name)?.filter(|found| !is_whiteout(found));
        let link = match found.as_ref().map(kind_of) {
            Some(FileType::Directory) => None,
            Some(FileType::Symlink) => {
                Some(rustix::fs::readlinkat(&place.fd, &*name, Vec::new())?.into_bytes())
            }
            Some(_) => {
                return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{name:?} is a file")));
            }
            None => self.make_like_below(place, &name)?,
        };
        if link.is_none() {
            place.fd = rustix::fs::openat(&place.fd, &*name, DIRECTORY, Mode::empty())?;
            place.path.push(name);
        }
        Ok(link)
    }

    /// Makes a directory with the owner and mode it has below, or returns the link that is there instead.
    fn make_like_below(&mut self, place: &Place, name: &OsStr) -> io::Result<Option<Vec<u8>>> {
        // A deletion of this very layer hides what is below, and the directory goes on doing so.
        let deleted = stat(&place.fd, name)?.is_some();
        let like = if deleted { None } else { self.look_below(&place.path.join(name))? };
        let meta = match like {
            Some(Below::Link(target)) => return Ok(Some(target)),
            Some(Below::Directory(meta)) => Some(meta),
            None => None,
        };
        if deleted {
            remove(&place.fd, name)?;
        }
        rustix::fs::mkdirat(&place.fd, name, Mode::from_raw_mode(0o755))?;
        if deleted {
            let directory = rustix::fs::openat(&place.fd, name, DIRECTORY, Mode::empty())?;
            self.set_opaque(place.path.join(name), directory.as_fd())?;
        }
        if let Some(meta) = meta {
            apply(&place.fd, name, meta)?;
        }
        Ok(None)
    }

    fn look_below(&self, path: &Path) -> io::Result<Option<Below>> {
        let Some(below) = &self.below else { return Ok(None) };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match rustix::fs::openat2(below, path, flags, Mode::empty(), BENEATH) {
            Ok(found) => found,
            // Not there, or hidden by something else than a directory.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let status = rustix::fs::fstat(&found)?;
        Ok(match kind_of(&status) {
            FileType::Symlink => {
                Some(Below::Link(rustix::fs::readlinkat(&found, "", Vec::new())?.into_bytes()))
            }
            FileType::Directory => Some(Below::Directory(meta_of(&status))),
            _ => None,
        })
    }

    fn whiteout(&mut self, parent: &Place, name: &[u8], deleted: &OsStr) -> io::Result<()> {
        if name == OPAQUE {
            return self.set_opaque(parent.path.clone(), parent.fd.as_fd());
        }
        // Others of this form are notes of an old union file system to itself.
        if name.starts_with(b".wh..wh.") || deleted.is_empty() || deleted == "." || deleted == ".." {
            return Ok(());
        }
        match rustix::fs::mknodat(&parent.fd, deleted, FileType::CharacterDevice, Mode::empty(), 0) {
            // The layer has both: what it adds wins over what it deletes.
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set_opaque(&mut self, path: PathBuf, directory: BorrowedFd<'_>) -> io::Result<()> {
        let path = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path };
        self.opaque.insert(path, rustix::fs::fstat(directory)?.st_ino);
        Ok(())
    }

    /// Sets the times of directories and tells which of them hide what is below.
    fn finish(self) -> io::Result<Unpacked> {
        for (path, time) in self.times.iter().rev() {
            let parent = path.parent().unwrap_or(Path::new(""));
            // A later entry may have replaced the directory.
            let Ok(parent) = self.open(parent) else { continue };
            match set_time(&parent, path.file_name().unwrap_or(OsStr::new(".")), *time) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let still_there = |(path, inode): &(PathBuf, u64)| {
            let found = self.open(path).and_then(|fd| Ok(rustix::fs::fstat(&fd)?));
            found.is_ok_and(|found| found.st_ino == *inode)
        };
        let opaque: Vec<(PathBuf, u64)> = self.opaque.clone().into_iter().filter(still_there).collect();
        Ok(Unpacked { size: self.size, opaque: opaque.into_iter().map(|(path, _)| path).collect() })
    }
}

/// What lies below under a name, as far as it matters to a directory of that name.
enum Below {
    Link(Vec<u8>),
    Directory(Meta),
}

/// The names of a path; `..` is refused, for no layer needs it.
fn components(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::ParentDir => return Err(invalid("the path leads out of the layer")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(names)
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn meta(member: &Member) -> Meta {
    Meta {
        mode: Mode::from_raw_mode(member.mode),
        uid: Uid::from_raw(member.uid),
        gid: Gid::from_raw(member.gid),
        time: Timespec { tv_sec: member.time.0, tv_nsec: i64::from(member.time.1) },
    }
}
