//! Unpacking one layer into a directory that overlayfs can use as it is.
//!
//! Deletions become overlayfs whiteouts (character device 0:0) and opaque directories, which are only reported: their
//! attribute needs more rights than unpacking has. Parents an archive does not mention are looked up in what lies below,
//! links included, as if the archive were unpacked on top of it. No entry can lead out of the layer, only regular files
//! are ever opened, and everything is bounded.

use super::limits::{Bound, ImageLimits};
use super::tarball::{Member, Members, Sparse};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
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

/// Owner, mode and time of an entry.
#[derive(Clone, Copy)]
struct Meta {
    mode: Mode,
    uid: Uid,
    gid: Gid,
    time: Timespec,
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

fn meta_of(status: &Stat) -> Meta {
    Meta {
        mode: Mode::from_raw_mode(status.st_mode & 0o7777),
        uid: Uid::from_raw(status.st_uid),
        gid: Gid::from_raw(status.st_gid),
        time: Timespec { tv_sec: status.st_mtime, tv_nsec: 0 },
    }
}

fn kind_of(status: &Stat) -> FileType {
    FileType::from_raw_mode(status.st_mode)
}

fn size_of_file(status: &Stat) -> u64 {
    u64::try_from(status.st_size).unwrap_or_default()
}

fn same(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

fn device(member: &Member) -> u64 {
    rustix::fs::makedev(member.device.0, member.device.1)
}

fn stat(parent: impl AsFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(status)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_whiteout(status: &Stat) -> bool {
    kind_of(status) == FileType::CharacterDevice && status.st_rdev == 0
}

/// A new file.
fn create(parent: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?))
}

fn write_pieces(file: &mut File, sparse: &Sparse, content: &mut impl Read) -> io::Result<()> {
    for (offset, length) in &sparse.pieces {
        file.seek(io::SeekFrom::Start(*offset))?;
        if io::copy(&mut Read::by_ref(content).take(*length), file)? < *length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    file.set_len(sparse.size)
}

/// Copies a file; what it has of holes stays holes.
fn copy_with_holes(from: &mut File, to: &mut File) -> io::Result<()> {
    let size = from.metadata()?.len();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(&*from, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(&*from, SeekFrom::Hole(start))?;
        from.seek(io::SeekFrom::Start(start))?;
        to.seek(io::SeekFrom::Start(start))?;
        io::copy(&mut Read::by_ref(from).take(end - start), to)?;
        at = end;
    }
    to.flush()?;
    to.set_len(size)
}

/// Removes whatever is there under a name.
fn remove(parent: impl AsFd, name: &OsStr) -> io::Result<()> {
    let parent = parent.as_fd();
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let names: Vec<_> = rustix::fs::Dir::read_from(&directory)?.collect::<Result<_, _>>()?;
    for entry in names.iter().map(|e| e.file_name().to_bytes()).filter(|n| !matches!(*n, b"." | b"..")) {
        remove(&directory, OsStr::from_bytes(entry))?;
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// Makes a device node, named pipe or socket, as containerd does: whether a pod may open it is said elsewhere.
fn add_node(parent: &OwnedFd, name: &OsStr, kind: FileType, device: u64, meta: Meta) -> io::Result<()> {
    remove(parent, name)?;
    rustix::fs::mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, device)?;
    // A number of zero is a deletion, which has neither owner nor time.
    if kind == FileType::CharacterDevice && device == 0 {
        return Ok(());
    }
    apply(parent, name, meta)?;
    set_time(parent, name, meta.time)
}

/// Sets owner, then mode, of something that is not a link.
fn apply(parent: impl AsFd, name: &OsStr, meta: Meta) -> io::Result<()> {
    let parent = parent.as_fd();
    rustix::fs::chownat(parent, name, Some(meta.uid), Some(meta.gid), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(rustix::fs::chmodat(parent, name, meta.mode, AtFlags::empty())?)
}

fn apply_link(parent: &OwnedFd, name: &OsStr, meta: Meta) -> io::Result<()> {
    rustix::fs::chownat(parent, name, Some(meta.uid), Some(meta.gid), AtFlags::SYMLINK_NOFOLLOW)?;
    set_time(parent, name, meta.time)
}

fn set_time(parent: &OwnedFd, name: &OsStr, time: Timespec) -> io::Result<()> {
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Whether a layer may bring an extended attribute: capabilities of programs, access lists, and what programs use among
/// themselves. The overlay's own and those of security modules say how the host treats a file.
fn is_taken(name: &[u8]) -> bool {
    name == b"security.capability" || name.starts_with(b"system.posix_acl_") || name.starts_with(b"user.")
}

/// Sets extended attributes, as far as the file system has them.
fn set_attributes(file: impl AsFd, attributes: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
    for (name, value) in attributes.iter().filter(|(name, _)| is_taken(name)) {
        match rustix::fs::fsetxattr(&file, OsStr::from_bytes(name), value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
    /// The kernel's own bound of a list of names and of a value.
    const LONGEST: usize = 64 << 10;
    let mut names = vec![0; LONGEST];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut attributes = Vec::new();
    let taken = names[..length].split(|byte| *byte == 0).filter(|name| is_taken(name));
    for name in taken {
        let mut value = vec![0; LONGEST];
        let length = rustix::fs::fgetxattr(from, OsStr::from_bytes(name), &mut value[..])?;
        value.truncate(length);
        attributes.push((name.to_vec(), value));
    }
    set_attributes(to, &attributes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
    use tar::{Builder, Header};

    /// Entries as (type, path, link target or content).
    fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (kind, path, text) in entries {
            let mut header = Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_mode(0o4755);
            header.set_uid(7);
            header.set_gid(8);
            header.set_mtime(1_000_000);
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            let link = matches!(kind, EntryType::Symlink | EntryType::Link);
            if link {
                header.set_link_name_literal(text).unwrap();
            }
            let content = if link { "" } else { text };
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    /// A layer of one sparse file: a byte at the end of `size`.
    fn sparse(size: u64) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNUSparse);
        header.set_path("sparse").unwrap();
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(1);
        // Base 256: what is beyond eight gigabytes does not fit into octal digits.
        let binary = |value: u64| {
            let mut field = [0; 12];
            field[0] = 0x80;
            field[4..].copy_from_slice(&value.to_be_bytes());
            field
        };
        let gnu = header.as_gnu_mut().unwrap();
        (gnu.sparse[0].offset, gnu.sparse[0].numbytes) = (binary(size - 1), binary(1));
        gnu.realsize = binary(size);
        header.set_cksum();
        let mut builder = Builder::new(Vec::new());
        builder.append(&header, &b"x"[..]).unwrap();
        builder.into_inner().unwrap()
    }

    struct Layers {
        directory: tempfile::TempDir,
        top: Option<PathBuf>,
        count: u32,
        limits: ImageLimits,
    }

    impl Layers {
        /// None without root, which owners and device nodes need.
        fn new() -> Option<Self> {
            if !rustix::process::geteuid().is_root() {
                println!("skipped: needs root");
                return None;
            }
            let directory = tempfile::tempdir().unwrap();
            Some(Self { directory, top: None, count: 0, limits: ImageLimits::default() })
        }

        fn add(&mut self, entries: &[(EntryType, &str, &str)]) -> io::Result<PathBuf> {
            let path = self.directory.path().join(self.count.to_string());
            fs::create_dir(&path).unwrap();
            self.count += 1;
            self.unpack(&archive(entries), &path)?;
            self.top = Some(path.clone());
            Ok(path)
        }

        fn unpack(&self, archive: &[u8], path: &Path) -> io::Result<Unpacked> {
            let below = self.top.as_deref().map(open_directory).transpose()?;
            let root = open_directory(path)?;
            let unpacked = unpack(archive, root.try_clone()?, below, &self.limits)?;
            mark_opaque(&root, &unpacked.opaque)?;
            Ok(unpacked)
        }
    }

    use EntryType::{Directory, Link, Regular, Symlink};

    #[test]
    fn owners_modes_and_links_are_kept() {
        let Some(mut layers) = Layers::new() else { return };
        let layer = layers
            .add(&[(Directory, "bin/", ""), (Regular, "bin/su", "x"), (Link, "bin/su2", "bin/su")])
            .unwrap();
        let found = fs::metadata(layer.join("bin/su")).unwrap();
        assert_eq!(
            (found.uid(), found.gid(), found.mode() & 0o7777, found.mtime()),
            (7, 8, 0o4755, 1_000_000)
        );
        assert_eq!(found.ino(), fs::metadata(layer.join("bin/su2")).unwrap().ino());
        assert_eq!(fs::metadata(layer.join("bin")).unwrap().mtime(), 1_000_000);
    }

    #[test]
    fn deletions_become_whiteouts() {
        let Some(mut layers) = Layers::new() else { return };
        layers.add(&[(Regular, "d/a", "1"), (Regular, "e/a", "1")]).unwrap();
        let upper = layers
            .add(&[(Regular, "d/.wh.a", ""), (Regular, "e/.wh..wh..opq", ""), (Regular, "e/b", "2")])
            .unwrap();
        let node = fs::symlink_metadata(upper.join("d/a")).unwrap();
        assert!(node.file_type().is_char_device() && node.rdev() == 0);
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(upper.join("e"), "trusted.overlay.opaque", &mut value).unwrap();
        assert_eq!(&value[..length], b"y");
    }

    #[test]
    fn links_in_lower_layers_are_followed() {
        let Some(mut layers) = Layers::new() else { return };
        layers
            .add(&[(Directory, "usr/lib", ""), (Symlink, "lib", "usr/lib"), (Symlink, "abs", "/usr")])
            .unwrap();
        let upper = layers.add(&[(Regular, "lib/x.so", "x"), (Regular, "abs/lib/y.so", "y")]).unwrap();
        assert!(upper.join("usr/lib/x.so").is_file() && upper.join("usr/lib/y.so").is_file());
        assert!(fs::symlink_metadata(upper.join("lib")).is_err());
        assert_eq!(
            fs::metadata(upper.join("usr/lib")).unwrap().uid(),
            7,
            "the owner is that of the layer below"
        );
    }

    #[test]
    fn nothing_leads_out() {
        let Some(mut layers) = Layers::new() else { return };
        assert!(layers.add(&[(Regular, "../x", "x")]).is_err());
        let outside = layers.directory.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let link = outside.display().to_string();
        let layer = layers.directory.path().join("evil");
        fs::create_dir(&layer).unwrap();
        let entries = [
            (Symlink, "a", link.as_str()),
            (Regular, "a/f", "x"),
            (Symlink, "b", "../../.."),
            (Regular, "b/g", "x"),
        ];
        layers.unpack(&archive(&entries), &layer).unwrap();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert!(layer.join("g").is_file());
        symlink("/", layer.join("root")).unwrap();
        let linked = layers.unpack(&archive(&[(Link, "h", "root/etc/passwd")]), &layer);
        assert!(linked.is_err());
    }

    #[test]
    fn a_later_entry_replaces_an_earlier_one() {
        let Some(mut layers) = Layers::new() else { return };
        let layer =
            layers.add(&[(Regular, "d/x/y", "1"), (Regular, "d/x", "2"), (Symlink, "d/x", "z")]).unwrap();
        assert_eq!(fs::read_link(layer.join("d/x")).unwrap(), Path::new("z"));
    }

    #[test]
    fn nodes_below_are_made_anew_and_never_opened() {
        let Some(mut layers) = Layers::new() else { return };
        layers
            .add(&[
                (EntryType::Fifo, "pipe", ""),
                (EntryType::Char, "device", ""),
                (Symlink, "link", "/etc/passwd"),
            ])
            .unwrap();
        let lower = layers.top.clone().unwrap();
        fs::remove_file(lower.join("device")).unwrap();
        let number = rustix::fs::makedev(1, 5);
        let kind = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, lower.join("device"), kind, Mode::RUSR, number).unwrap();
        let upper = layers.add(&[(Link, "p", "pipe"), (Link, "d", "device"), (Link, "l", "link")]).unwrap();
        assert!(fs::symlink_metadata(upper.join("p")).unwrap().file_type().is_fifo());
        let device = fs::symlink_metadata(upper.join("d")).unwrap();
        assert!(device.file_type().is_char_device() && device.rdev() == number);
        assert_eq!(fs::read_link(upper.join("l")).unwrap(), Path::new("/etc/passwd"));
    }

    #[test]
    fn what_is_deleted_below_cannot_be_linked() {
        let Some(mut layers) = Layers::new() else { return };
        layers.add(&[(Regular, ".wh.gone", ""), (Regular, "d/f", "content")]).unwrap();
        let error = layers.add(&[(Link, "x", "gone")]).unwrap_err().to_string();
        assert!(error.contains("link target gone is missing"), "{error}");
        let upper = layers.add(&[(Link, "x", "d/f")]).unwrap();
        assert_eq!(fs::read(upper.join("x")).unwrap(), b"content");
    }

    #[test]
    fn holes_stay_holes_and_count() {
        let Some(layers) = Layers::new() else { return };
        let path = layers.directory.path().join("sparse");
        fs::create_dir(&path).unwrap();
        let unpacked = layers.unpack(&sparse(16 << 30), &path).unwrap();
        assert_eq!(unpacked.size, 16 << 30);
        let found = fs::metadata(path.join("sparse")).unwrap();
        assert_eq!(found.size(), 16 << 30);
        assert!(found.blocks() < 100, "{} blocks of real zeros", found.blocks());
        let copy = path.with_file_name("copy");
        fs::create_dir(&copy).unwrap();
        let above = Layers { top: Some(path.clone()), ..layers };
        above.unpack(&archive(&[(Link, "linked", "sparse")]), &copy).unwrap();
        let found = fs::metadata(copy.join("linked")).unwrap();
        assert!(found.size() == 16 << 30 && found.blocks() < 100);
        let error = above.unpack(&sparse(8 << 40), &copy).unwrap_err().to_string();
        assert!(error.contains("image-bytes"), "{error}");
        assert!(!copy.join("sparse").exists(), "refused before anything is written");
    }

    #[test]
    fn depth_is_bounded_through_links_too() {
        let Some(mut layers) = Layers::new() else { return };
        layers.limits = "depth=8".parse().unwrap();
        let error = layers.add(&[(Directory, "1/2/3/4/5/6/7/8/9/10", "")]).unwrap_err().to_string();
        assert!(error.contains("8 directories within each other"), "{error}");
        let deeper =
            [(Directory, "1/2/3/4/5/6", ""), (Symlink, "l", "1/2/3/4/5/6"), (Directory, "l/7/8/9/10", "")];
        assert!(layers.add(&deeper).is_err());
    }

    #[test]
    fn an_opaque_directory_that_was_replaced_is_not_opaque() {
        let Some(mut layers) = Layers::new() else { return };
        let entries =
            [(Regular, "d/.wh..wh..opq", ""), (Regular, "d", "file"), (Regular, "e/.wh..wh..opq", "")];
        let path = layers.directory.path().join("x");
        fs::create_dir(&path).unwrap();
        assert_eq!(layers.unpack(&archive(&entries), &path).unwrap().opaque, [PathBuf::from("e")]);
        layers.limits = "image-bytes=3".parse().unwrap();
        assert!(layers.add(&[(Regular, "f", "four")]).is_err());
    }
}
