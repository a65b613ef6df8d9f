//! What holds the store's file: opened, and asked for room. Tests put one in its place that fails.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{BackendError, Database, DatabaseError, StorageBackend};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

/// Everything is in memory anyway, so the file needs little cache: half of it is for writes, in which the reserve has to lie
/// beside what a transaction writes, or it would be written too.
const CACHE_BYTES: usize = 6 << 20;

/// Where a store's file lives.
pub(super) trait Medium: fmt::Debug + Send + Sync {
    /// Opens the file of a database, or makes it.
    fn open(&self, path: &Path) -> Result<Database, DatabaseError>;

    /// Opens a file, or makes it.
    fn file(&self, path: &Path) -> Result<Box<dyn StorageBackend>, DatabaseError>;

    /// How many bytes a file at `path` could still grow by.
    fn available(&self, path: &Path) -> io::Result<u64>;
}

/// A directory of a file system.
#[derive(Debug)]
pub(super) struct FileSystem;

impl Medium for FileSystem {
    fn open(&self, path: &Path) -> Result<Database, DatabaseError> {
        database(Allocated::open(path)?)
    }

    fn file(&self, path: &Path) -> Result<Box<dyn StorageBackend>, DatabaseError> {
        Ok(Box::new(Allocated::open(path)?))
    }

    fn available(&self, path: &Path) -> io::Result<u64> {
        let directory = path.parent().unwrap_or(path);
        let room = statvfs(directory)?;
        Ok(room.f_bavail.saturating_mul(room.f_frsize))
    }
}

/// A database on a backend, with what every backend of ours has in common.
pub(super) fn database(backend: impl StorageBackend) -> Result<Database, DatabaseError> {
    Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend)
}

/// A file all of whose bytes are there: the file system refuses room when the file grows, which happens before
/// anything of a commit is written, and never for a write into what the file has already.
#[derive(Debug)]
pub(super) struct Allocated {
    /// The same open file as `locked` has.
    file: File,
    locked: FileBackend,
}

impl Allocated {
    pub(super) fn open(path: &Path) -> Result<Self, DatabaseError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let locked = FileBackend::new(file.try_clone()?)?;
        Ok(Self { file, locked })
    }

    /// Grows the file from `now` to `len` bytes, or leaves it as it is.
    fn grow(&self, now: u64, len: u64) -> io::Result<()> {
        match fallocate(&self.file, FallocateFlags::empty(), now, len - now) {
            Ok(()) => Ok(()),
            // A file system that cannot promise room (some network and copy-on-write ones) says so at the write.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.file.set_len(len),
            Err(error) => {
                self.file.set_len(now)?;
                Err(error.into())
            }
        }
    }
}

impl StorageBackend for Allocated {
    fn len(&self) -> io::Result<u64> {
        self.locked.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.locked.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let now = self.locked.len()?;
        if len > now { self.grow(now, len) } else { self.locked.set_len(len) }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.locked.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.locked.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.locked.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locked.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locked.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.locked.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.locked.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.locked.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locked.query_lock_range(start, end)
    }
}
