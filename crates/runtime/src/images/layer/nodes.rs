//! Single files, directories and nodes of a layer, by a descriptor of their directory and their name in it.

use crate::images::tarball::{Member, Sparse};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Owner, mode and time of an entry.
#[derive(Clone, Copy)]
pub(super) struct Meta {
    pub(super) mode: Mode,
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) time: Timespec,
}

pub(super) fn meta_of(status: &Stat) -> Meta {
    Meta {
        mode: Mode::from_raw_mode(status.st_mode & 0o7777),
        uid: Uid::from_raw(status.st_uid),
        gid: Gid::from_raw(status.st_gid),
        time: Timespec { tv_sec: status.st_mtime, tv_nsec: 0 },
    }
}

pub(super) fn kind_of(status: &Stat) -> FileType {
    FileType::from_raw_mode(status.st_mode)
}

pub(super) fn size_of_file(status: &Stat) -> u64 {
    u64::try_from(status.st_size).unwrap_or_default()
}

pub(super) fn same(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

pub(super) fn device(member: &Member) -> u64 {
    rustix::fs::makedev(member.device.0, member.device.1)
}

pub(super) fn stat(parent: impl AsFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(status)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn is_whiteout(status: &Stat) -> bool {
    kind_of(status) == FileType::CharacterDevice && status.st_rdev == 0
}

/// A new file.
pub(super) fn create(parent: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?))
}

pub(super) fn write_pieces(file: &mut File, sparse: &Sparse, content: &mut impl Read) -> io::Result<()> {
    for (offset, length) in &sparse.pieces {
        file.seek(io::SeekFrom::Start(*offset))?;
        if io::copy(&mut Read::by_ref(content).take(*length), file)? < *length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    file.set_len(sparse.size)
}

/// Copies a file; what it has of holes stays holes.
pub(super) fn copy_with_holes(from: &mut File, to: &mut File) -> io::Result<()> {
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
pub(super) fn remove(parent: impl AsFd, name: &OsStr) -> io::Result<()> {
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
pub(super) fn add_node(
    parent: &OwnedFd,
    name: &OsStr,
    kind: FileType,
    device: u64,
    meta: Meta,
) -> io::Result<()> {
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
pub(super) fn apply(parent: impl AsFd, name: &OsStr, meta: Meta) -> io::Result<()> {
    let parent = parent.as_fd();
    rustix::fs::chownat(parent, name, Some(meta.uid), Some(meta.gid), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(rustix::fs::chmodat(parent, name, meta.mode, AtFlags::empty())?)
}

pub(super) fn apply_link(parent: &OwnedFd, name: &OsStr, meta: Meta) -> io::Result<()> {
    rustix::fs::chownat(parent, name, Some(meta.uid), Some(meta.gid), AtFlags::SYMLINK_NOFOLLOW)?;
    set_time(parent, name, meta.time)
}

pub(super) fn set_time(parent: &OwnedFd, name: &OsStr, time: Timespec) -> io::Result<()> {
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Whether a layer may bring an extended attribute: capabilities of programs, access lists, and what programs use among
/// themselves. The overlay's own and those of security modules say how the host treats a file.
pub(super) fn is_taken(name: &[u8]) -> bool {
    name == b"security.capability" || name.starts_with(b"system.posix_acl_") || name.starts_with(b"user.")
}

/// Sets extended attributes, as far as the file system has them.
pub(super) fn set_attributes(file: impl AsFd, attributes: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
    for (name, value) in attributes.iter().filter(|(name, _)| is_taken(name)) {
        match rustix::fs::fsetxattr(&file, OsStr::from_bytes(name), value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub(super) fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
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
