//! Directories held open, and finding things below them.

use crate::handle::{Handle, Kind};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How often a resolution is tried that somebody's renaming disturbed. The kernel gives up on `..` then; a single try
/// takes microseconds.
const TRIES: usize = 256;

/// What symbolic links may do while a path is resolved. Magic links (`/proc/<pid>/root` and the like) are always refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Nothing: each is an error.
    Nothing,
    /// Lead to places below the directory; one that leads out is an error. What a path in a volume means.
    Inside,
    /// Start over at the directory, which counts as `/`; `..` stops there. What a path in a container means.
    InRoot,
}

impl Follow {
    fn flags(self) -> ResolveFlags {
        ResolveFlags::NO_MAGICLINKS
            | match self {
                Self::Nothing => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
                Self::Inside => ResolveFlags::BENEATH,
                Self::InRoot => ResolveFlags::IN_ROOT,
            }
    }
}

/// A directory held open. What happens to its name afterwards does not matter.
#[derive(Debug)]
pub struct Root {
    pub(crate) fd: OwnedFd,
}

/// What a directory lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, one component.
    pub name: OsString,
    /// What it was when it was listed. It may be something else by now.
    pub kind: Kind,
}

impl Root {
    /// Opens a directory by a path that nobody but root can change, or that may lead anywhere; links are followed.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { fd: rustix::fs::open(path.as_ref(), flags, Mode::empty())? })
    }

    /// Opens a directory below this one. The empty path is this one.
    pub fn directory(&self, path: impl AsRef<Path>, follow: Follow) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Ok(Self { fd: self.resolve(path.as_ref(), flags, follow)? })
    }

    /// Finds something below this directory, without opening it for anything. With [`Follow::Nothing`] a link as the last
    /// component is found itself.
    pub fn find(&self, path: impl AsRef<Path>, follow: Follow) -> io::Result<Handle> {
        let mut flags = OFlags::PATH;
        flags.set(OFlags::NOFOLLOW, follow == Follow::Nothing);
        Handle::new(self.resolve(path.as_ref(), flags, follow)?)
    }

    /// Opens a regular file for reading. Anything else is an error, and does not make the caller wait.
    pub fn file(&self, path: impl AsRef<Path>, follow: Follow) -> io::Result<File> {
        self.find(path, follow)?.reopen(OFlags::RDONLY)
    }

    /// Reads a regular file whole; more than `limit` bytes are an error.
    pub fn read(&self, path: impl AsRef<Path>, follow: Follow, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = self.read_start(path, follow, limit.saturating_add(1))?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
            Ok(bytes)
        } else {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("the file has more than {limit} bytes")))
        }
    }

    /// Reads the first bytes of a regular file, at most `limit`.
    pub fn read_start(&self, path: impl AsRef<Path>, follow: Follow, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(path, follow)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Where the link called `name` in this directory points.
    pub fn read_link(&self, name: impl AsRef<OsStr>) -> io::Result<PathBuf> {
        let target = rustix::fs::readlinkat(&self.fd, plain(name.as_ref())?, Vec::new())?;
        Ok(PathBuf::from(OsString::from(OsStr::from_bytes(target.as_bytes()))))
    }

    /// What this directory holds, without `.` and `..`, in no order.
    pub fn entries(&self) -> io::Result<Entries> {
        Ok(Entries { listing: Dir::read_from(&self.fd)? })
    }

    /// Whether something is mounted on `name` in this directory.
    pub fn is_mount_point(&self, name: impl AsRef<OsStr>) -> io::Result<bool> {
        let resolve = Follow::Nothing.flags() | ResolveFlags::NO_XDEV;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat2(&self.fd, Path::new(plain(name.as_ref())?), flags, Mode::empty(), resolve) {
            Ok(_) => Ok(false),
            Err(Errno::XDEV) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Another descriptor of the same directory.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()? })
    }

    fn resolve(&self, path: &Path, flags: OFlags, follow: Follow) -> io::Result<OwnedFd> {
        let path = match follow {
            Follow::InRoot => path.strip_prefix("/").unwrap_or(path),
            Follow::Nothing | Follow::Inside => path,
        };
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), follow.flags()).map_err(explain)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The entries of a directory, read as they are asked for.
#[derive(Debug)]
pub struct Entries {
    listing: Dir,
}

impl Iterator for Entries {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.listing.read()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error.into())),
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if matches!(name.as_bytes(), b"." | b"..") {
                continue;
            }
            match self.file_type(name, entry.file_type()) {
                Ok(kind) => return Some(Ok(Entry { name: name.to_owned(), kind: Kind::of(kind) })),
                Err(Errno::NOENT) => {}
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}

impl Entries {
    /// The type of an entry; some file systems do not list it.
    fn file_type(&self, name: &OsStr, listed: FileType) -> Result<FileType, Errno> {
        if listed != FileType::Unknown {
            return Ok(listed);
        }
        let status = rustix::fs::statat(self.listing.fd()?, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(status.st_mode))
    }
}

/// `openat2`, again while concurrent renaming makes the kernel unsure.
pub(crate) fn openat2(
    directory: &OwnedFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let mut result = Err(Errno::AGAIN);
    for _ in 0..TRIES {
        result = rustix::fs::openat2(directory, path, flags, mode, resolve);
        if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    result
}

/// A name that stays in its directory: one component, not `.` or `..`.
pub(crate) fn plain(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') || bytes.contains(&0) {
        let text = format!("{name:?} is not the name of something in a directory");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(name)
}

/// The kernel's two answers that mean a link went where it may not, in words.
fn explain(error: Errno) -> io::Error {
    match error {
        Errno::XDEV => io::Error::new(io::ErrorKind::PermissionDenied, "the path leads out of its directory"),
        Errno::LOOP => io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the path leads over a symbolic link that must not be followed",
        ),
        error => error.into(),
    }
}
