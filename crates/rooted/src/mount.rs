//! Mounts made and attached by descriptor.

use crate::find::{Follow, Root, plain};
use crate::handle::Handle;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Whether mounts made later below a mount are seen in its copies, and the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Neither way.
    Private,
    /// Those at the original are seen in the copy.
    Receive,
    /// As the original: both ways where that is shared.
    Keep,
}

/// What a mount forbids, or leaves undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// No writing.
    ReadOnly,
    /// Set-user-ID bits mean nothing.
    NoSetUserId,
    /// Device nodes cannot be opened.
    NoDevices,
    /// Programs cannot be run.
    NoPrograms,
    /// Reading leaves access times.
    NoAccessTimes,
    /// Reading leaves access times of directories.
    NoAccessTimesOfDirectories,
    /// Each reading changes access times.
    StrictAccessTimes,
}

impl Restriction {
    fn bit(self) -> u64 {
        match self {
            Self::ReadOnly => libc::MOUNT_ATTR_RDONLY,
            Self::NoSetUserId => libc::MOUNT_ATTR_NOSUID,
            Self::NoDevices => libc::MOUNT_ATTR_NODEV,
            Self::NoPrograms => libc::MOUNT_ATTR_NOEXEC,
            Self::NoAccessTimes => libc::MOUNT_ATTR_NOATIME,
            Self::NoAccessTimesOfDirectories => libc::MOUNT_ATTR_NODIRATIME,
            Self::StrictAccessTimes => libc::MOUNT_ATTR_STRICTATIME,
        }
    }

    fn is_of_times(self) -> bool {
        matches!(self, Self::NoAccessTimes | Self::StrictAccessTimes)
    }
}

/// A mount that is attached nowhere yet; gone when dropped.
#[derive(Debug)]
pub struct Detached {
    fd: OwnedFd,
}

impl Detached {
    /// A copy of what `handle` holds, with the mounts below it: what a bind mount shows.
    pub fn copy_of(handle: &Handle) -> io::Result<Self> {
        Self::copy(handle, OpenTreeFlags::AT_RECURSIVE)
    }

    /// A copy of what `handle` holds, without the mounts below it.
    pub fn plain_copy_of(handle: &Handle) -> io::Result<Self> {
        Self::copy(handle, OpenTreeFlags::empty())
    }

    fn copy(handle: &Handle, depth: OpenTreeFlags) -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | depth;
        Ok(Self { fd: open_tree(handle.as_fd(), c"", flags)? })
    }

    /// Memory of its own, without devices and set-user-ID programs. `options` are those of tmpfs (`size`, `mode`, `gid`, …).
    pub fn memory(options: &[(&str, &str)]) -> io::Result<Self> {
        let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(context.as_fd(), c"source", c"tmpfs")?;
        for (key, value) in options {
            fsconfig_set_string(context.as_fd(), *key, *value)?;
        }
        fsconfig_create(context.as_fd())?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        Ok(Self { fd: fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)? })
    }

    /// The file system on a block device. `options` are those of the file system, each a name and perhaps a value. What the
    /// kernel says of a failure is in the error.
    pub fn file_system(kind: &str, device: &Path, options: &[(&str, Option<&str>)]) -> io::Result<Self> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        let explained = |error: Errno| explain(error, &context);
        fsconfig_set_string(context.as_fd(), c"source", device).map_err(explained)?;
        for (name, value) in options {
            match value {
                Some(value) => fsconfig_set_string(context.as_fd(), *name, *value),
                None => fsconfig_set_flag(context.as_fd(), *name),
            }
            .map_err(|error| {
                let error = explain(error, &context);
                io::Error::new(error.kind(), format!("mount option {name:?}: {error}"))
            })?;
        }
        fsconfig_create(context.as_fd()).map_err(explained)?;
        let made = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty());
        Ok(Self { fd: made.map_err(explained)? })
    }

    /// Restricts it, itself alone.
    pub fn restrict(&self, restrictions: &[Restriction]) -> io::Result<()> {
        if restrictions.is_empty() {
            return Ok(());
        }
        let set = restrictions.iter().fold(0, |bits, restriction| bits | restriction.bit());
        // How access times are kept is one number, not bits.
        let times = restrictions.iter().any(|restriction| restriction.is_of_times());
        let clear = if times { libc::MOUNT_ATTR__ATIME } else { 0 };
        set_attributes(&self.fd, &Attributes { set, clear, ..Attributes::default() }, 0)
    }

    /// Opens the directory that is mounted, before it is attached anywhere.
    pub fn directory(&self) -> io::Result<Root> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Root { fd: rustix::fs::openat(&self.fd, c".", flags, Mode::empty())? })
    }

    /// Says how it and the mounts below it spread.
    pub fn spread(&self, spread: Spread) -> io::Result<()> {
        let propagation = match spread {
            Spread::Private => libc::MS_PRIVATE,
            Spread::Receive => libc::MS_SLAVE,
            Spread::Keep => return Ok(()),
        };
        set_attributes(&self.fd, &Attributes { propagation, ..Attributes::default() }, libc::AT_RECURSIVE)
    }

    /// Forbids writing to it and the mounts below it. Where it is copied to a mount namespace of another user namespace,
    /// that stays so: there nobody may allow it again.
    pub fn read_only(&self) -> io::Result<()> {
        self.forbid_writing(libc::AT_RECURSIVE)
    }

    /// The same for itself alone, not for the mounts below it.
    pub fn read_only_itself(&self) -> io::Result<()> {
        self.forbid_writing(0)
    }

    fn forbid_writing(&self, depth: i32) -> io::Result<()> {
        let set = libc::MOUNT_ATTR_RDONLY;
        set_attributes(&self.fd, &Attributes { set, ..Attributes::default() }, depth)
    }

    /// Shows the files of ID 0 as those of the user namespace's ID 0, and so on, and stores new ones the other way round.
    /// Mounts below it stay as they are. Not every file system can do it, and none that is shown so already: both are
    /// [`io::ErrorKind::Unsupported`], with the file system's name.
    pub fn map_ids(&self, user_namespace: BorrowedFd<'_>) -> io::Result<()> {
        let user_namespace = u64::try_from(user_namespace.as_raw_fd()).map_err(io::Error::other)?;
        let attributes = Attributes { set: libc::MOUNT_ATTR_IDMAP, user_namespace, ..Attributes::default() };
        set_attributes(&self.fd, &attributes, 0).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::INVAL) => self.unmappable("cannot be mounted with other user IDs by this kernel"),
            Some(Errno::PERM) => self.unmappable("is mounted with other user IDs already"),
            _ => error,
        })
    }

    fn unmappable(&self, why: &str) -> io::Error {
        let kind = rustix::fs::fstatfs(&self.fd).map(|found| found.f_type);
        let name = kind.map_or_else(|_| "its file system".to_owned(), file_system);
        io::Error::new(io::ErrorKind::Unsupported, format!("{name} {why}"))
    }

    /// Attaches it at `name`, which must be there: a directory for a directory, anything else for a file.
    pub fn attach(&self, directory: &Root, name: impl AsRef<OsStr>) -> io::Result<()> {
        let target = directory.find(plain(name.as_ref())?, Follow::Nothing)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(move_mount(self.fd.as_fd(), c"", target.as_fd(), c"", flags)?)
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Root {
    /// Unmounts what is mounted on `name`, however often; whoever uses it keeps it until then. Not mounted is a success.
    pub fn unmount(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let own = Path::new("/proc/self/fd").join(self.fd.as_raw_fd().to_string());
        let target = own.join(plain(name.as_ref())?);
        loop {
            match unmount(&target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                Ok(()) => {}
                Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Unmounts everything that is mounted below this directory, at any depth.
    pub fn unmount_below(&self) -> io::Result<()> {
        let own = rustix::fs::readlinkat(CWD, format!("/proc/self/fd/{}", self.fd.as_raw_fd()), Vec::new())?;
        let own = OsString::from_vec(own.into_bytes());
        let table = std::fs::read("/proc/thread-self/mountinfo")?;
        // A mount is listed after the one it is on.
        for mount in mounts_below(&table, Path::new(&own)).iter().rev() {
            let (Some(parent), Some(name)) = (mount.parent(), mount.file_name()) else { continue };
            match self.directory(parent, Follow::Nothing) {
                Ok(parent) => parent.unmount(name)?,
                // It was mounted below one that is gone by now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Where something is mounted below `directory`, relative to it, in the order of the table (`/proc/thread-self/mountinfo`).
fn mounts_below(table: &[u8], directory: &Path) -> Vec<PathBuf> {
    let points =
        table.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    let below = points.filter_map(|point| {
        let point = PathBuf::from(unescape(point));
        let below = point.strip_prefix(directory).ok()?;
        (!below.as_os_str().is_empty()).then(|| below.to_owned())
    });
    below.collect()
}

/// The kernel writes blanks and backslashes as three octal digits.
fn unescape(text: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, others)) = rest.split_first() {
        let digits = others.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                plain.push(byte);
                rest = &others[3..];
            }
            _ => {
                plain.push(*first);
                rest = others;
            }
        }
    }
    OsStr::from_bytes(&plain).to_owned()
}

/// A failure with what the kernel has to say of it, which is read from what the mount is made with.
fn explain(error: Errno, context: &OwnedFd) -> io::Error {
    let error = io::Error::from(error);
    let mut text = [0; 512];
    let mut said = Vec::new();
    while let Ok(length @ 1..) = rustix::io::read(context, &mut text) {
        let line = String::from_utf8_lossy(&text[..length]);
        // A line begins with a letter for its weight.
        said.push(line.trim().trim_start_matches(['e', 'w', 'i']).trim_start().to_owned());
    }
    if said.is_empty() {
        error
    } else {
        io::Error::new(error.kind(), format!("{error}: {}", said.join("; ")))
    }
}

/// The file system of this magic number, as `statfs` gives it.
fn file_system(magic: rustix::fs::FsWord) -> String {
    let name = match magic {
        0x0102_1994 => "tmpfs",
        0x6969 => "nfs",
        0x794c_7630 => "overlay",
        0x9fa0 => "proc",
        0x6265_6572 => "sysfs",
        0x6573_5546 => "fuse",
        0x0102_1997 => "9p",
        0x2fc1_2fc1 => "zfs",
        0xff53_4d42 => "cifs",
        other => return format!("the file system (type {other:#x})"),
    };
    format!("the file system ({name})")
}

/// What `mount_setattr` takes: `set` and `clear` are `MOUNT_ATTR_…`, `propagation` is `MS_PRIVATE` or the like, or 0.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// `mount_setattr` on the mount itself and, if `depth` is `AT_RECURSIVE`, those below it.
#[allow(unsafe_code, reason = "the system call has no wrapper")]
fn set_attributes(mount: &OwnedFd, attributes: &Attributes, depth: libc::c_int) -> io::Result<()> {
    // SAFETY: the path and the attributes live through the call; the size is theirs.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | depth,
            std::ptr::from_ref(attributes),
            size_of::<Attributes>(),
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_in_the_table() {
        let table = b"22 1 8:1 / / rw - ext4 /dev/sda rw\n\
            30 22 0:40 / /d/a rw,relatime - tmpfs tmpfs rw\n\
            31 30 0:41 / /d/a/b\\040c\\134 rw - tmpfs tmpfs rw\n\
            32 22 0:42 / /de rw - tmpfs tmpfs rw\n\
            33 22 0:42 / /d rw - tmpfs tmpfs rw\n";
        assert_eq!(mounts_below(table, Path::new("/d")), [PathBuf::from("a"), PathBuf::from("a/b c\\")]);
        assert!(mounts_below(table, Path::new("/none")).is_empty());
    }
}
