//! The file: two redb tables, described in `docs/store-format.md`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition, TableHandle,
};

use super::OpenError;
use super::medium::Medium;
use crate::history::Commit;
use crate::state::State;
use crate::types::{Entry, EventKind, Key, Revision, Terms};
use crate::value::Value;

/// Written into every file; grows when the meaning of the bytes changes.
const FORMAT: u64 = 1;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
const BALLAST: TableDefinition<&str, &[u8]> = TableDefinition::new("ballast");
const GUARD: TableDefinition<&str, &[u8]> = TableDefinition::new("guard");

/// Bytes of `created` and `modified` before each value.
const HEADER: usize = 16;

/// Bytes that the file keeps free for the time when its disk is full, so that deletions still find pages. A little less
/// than a power of two, which is what the file gives out in one piece.
pub(super) const RESERVE: usize = (1 << 20) - 512;

/// Bytes that nobody uses, which keep the file so large that the reserve is a small part of it: a file that is half
/// empty gives room back after each commit.
const BALLAST_BYTES: usize = (2 << 20) - 512;

/// After so many bytes of writes the reserve is looked at again: it cannot shrink by more in between.
const GUARD_EVERY: usize = RESERVE / 4;

/// What a write may take beside its bytes: the page that they are put into.
const PAGE: usize = 4096;

/// Room that must be there, beside a doubling of the file, before a full store is taken for one that is not.
const MARGIN: u64 = 8 << 20;

#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
    medium: Arc<dyn Medium>,
    path: PathBuf,
    /// Bytes written since the reserve was last known to be whole.
    unguarded: usize,
}

impl Disk {
    /// Opens or makes the file and reads it whole.
    pub(super) fn open(
        medium: Arc<dyn Medium>,
        path: &Path,
        terms: &Terms,
    ) -> Result<(Self, State), OpenError> {
        // Made aside, so that a crash meanwhile leaves no file rather than half of one.
        let disk = if path.exists() {
            Self::reopen(medium, path)?
        } else {
            Self::anew(medium, path, &State::default())?
        };
        let state = disk.read(path, terms)?;
        Ok((disk, state))
    }

    /// Opens or makes the file.
    fn reopen(medium: Arc<dyn Medium>, path: &Path) -> Result<Self, OpenError> {
        let database = medium.open(path).map_err(|error| open_error(path, error))?;
        // The first write looks at the reserve.
        let disk = Self { database, medium, path: path.to_owned(), unguarded: GUARD_EVERY };
        disk.initialise().map_err(|error| broken(path, error))?;
        let format = disk.meta("format").map_err(|error| broken(path, error))?;
        if format != FORMAT {
            return Err(OpenError::Format { path: path.to_owned(), found: format, expected: FORMAT });
        }
        Ok(disk)
    }

    /// Where it is.
    pub(super) fn place(&self) -> (Arc<dyn Medium>, PathBuf) {
        (Arc::clone(&self.medium), self.path.clone())
    }

    /// Opens the file again after a write that failed for want of room: the file shows what it was before. When it
    /// shows anything else, it is written anew.
    pub(super) fn after_full(medium: Arc<dyn Medium>, path: &Path, state: &State) -> Result<Self, OpenError> {
        let disk = Self::reopen(Arc::clone(&medium), path)?;
        let revision = disk.meta("revision").map_err(|error| broken(path, error))?;
        if revision == state.revision.get() {
            return Ok(disk);
        }
        drop(disk);
        Self::anew(medium, path, state)
    }

    /// Puts a new file with this state in the place of the one that failed. After an error of the disk nobody knows
    /// which of the old file's bytes are really there: the kernel reports a lost page once and then takes it for clean.
    pub(super) fn anew(medium: Arc<dyn Medium>, path: &Path, state: &State) -> Result<Self, OpenError> {
        let io_error = |source| OpenError::Io { path: path.to_owned(), source };
        let next = path.with_extension("new");
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(error)),
            _ => {}
        }
        let disk = Self::reopen(Arc::clone(&medium), &next)?;
        disk.fill(state).map_err(|error| broken(&next, error))?;
        drop(disk);
        fs::rename(&next, path).map_err(io_error)?;
        let directory = path.parent().unwrap_or(path);
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(io_error)?;
        Self::reopen(medium, path)
    }

    /// Makes the tables of a new file, and what an older program's file lacks.
    fn initialise(&self) -> Result<(), redb::Error> {
        let reading = self.database.begin_read()?;
        let tables: Vec<String> = reading.list_tables()?.map(|table| table.name().to_owned()).collect();
        if tables.iter().any(|name| name == BALLAST.name()) || (!tables.is_empty() && !self.has_room()) {
            return Ok(());
        }
        let transaction = self.database.begin_write()?;
        if tables.is_empty() {
            let mut meta = transaction.open_table(META)?;
            meta.insert("format", FORMAT)?;
            meta.insert("revision", 0)?;
            transaction.open_table(OBJECTS)?;
        }
        transaction.open_table(BALLAST)?.insert_reserve("", BALLAST_BYTES)?.as_mut().fill(0);
        transaction.commit()?;
        Ok(())
    }

    /// Writes a whole state into a new file.
    fn fill(&self, state: &State) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut objects = transaction.open_table(OBJECTS)?;
            let mut buffer = Vec::new();
            for entry in state.entries() {
                encode(entry, &mut buffer);
                objects.insert(entry.key.as_str(), buffer.as_slice())?;
            }
            transaction.open_table(META)?.insert("revision", state.revision.get())?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Whether the file could grow to twice its size, which is how it grows.
    pub(super) fn has_room(&self) -> bool {
        let length = fs::metadata(&self.path).map(|metadata| metadata.len());
        match (length, self.medium.available(&self.path)) {
            (Ok(length), Ok(available)) => available >= length.saturating_add(MARGIN),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, path = %self.path.display(), "the room for the store cannot be read");
                false
            }
        }
    }

    /// Makes the reserve whole, growing the file if need be.
    pub(super) fn refill(&mut self) -> Result<(), redb::Error> {
        self.unguarded = GUARD_EVERY;
        self.transact(true, |_| Ok(()))
    }

    fn meta(&self, name: &str) -> Result<u64, redb::Error> {
        let table = self.database.begin_read()?.open_table(META)?;
        let value = table.get(name)?.map(|guard| guard.value());
        value.ok_or_else(|| redb::Error::Corrupted(format!("no {name:?} in table meta")))
    }

    fn read(&self, path: &Path, terms: &Terms) -> Result<State, OpenError> {
        let damaged = |reason: String| OpenError::Damaged { path: path.to_owned(), reason };
        let revision = Revision::new(self.meta("revision").map_err(|e| damaged(e.to_string()))?);
        let entries = self.entries().map_err(|e| damaged(e.to_string()))?;
        if let Some(entry) = entries.iter().find(|entry| entry.modified > revision) {
            return Err(damaged(format!("key {} is newer than the store's revision {revision}", entry.key)));
        }
        Ok(State::new(revision, entries, terms))
    }

    fn entries(&self) -> Result<Vec<Entry>, redb::Error> {
        let table = self.database.begin_read()?.open_table(OBJECTS)?;
        let mut entries = Vec::new();
        for row in table.iter()? {
            let (key, value) = row?;
            let entry = decode(key.value(), value.value());
            entries.push(
                entry.ok_or_else(|| redb::Error::Corrupted(format!("short value of {}", key.value())))?,
            );
        }
        Ok(entries)
    }

    /// Writes a group of commits; returns after fsync. With `guarded`, fails rather than using the reserve.
    pub(super) fn write(
        &mut self,
        revision: Revision,
        commits: &[Commit],
        guarded: bool,
    ) -> Result<(), redb::Error> {
        let events = || commits.iter().flat_map(|commit| &commit.changes).map(|change| &change.event);
        self.unguarded += events().map(|event| event.entry.value.len() + PAGE).sum::<usize>();
        self.transact(guarded, |transaction| {
            let mut objects = transaction.open_table(OBJECTS)?;
            let mut buffer = Vec::new();
            for event in events() {
                let key = event.entry.key.as_str();
                match event.kind {
                    EventKind::Put => {
                        encode(&event.entry, &mut buffer);
                        objects.insert(key, buffer.as_slice())?;
                    }
                    EventKind::Delete => {
                        objects.remove(key)?;
                    }
                }
            }
            transaction.open_table(META)?.insert("revision", revision.get())?;
            Ok(())
        })
    }

    /// Runs one durable transaction. When the reserve is to be looked at, its bytes are taken before anything else and
    /// given back before the end: what the file needs for the rest is beside them, and they are never written.
    fn transact(
        &mut self,
        guarded: bool,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        let guarded = guarded && self.unguarded >= GUARD_EVERY;
        let transaction = self.database.begin_write()?;
        if guarded {
            drop(transaction.open_table(GUARD)?.insert_reserve("", RESERVE)?);
        }
        work(&transaction)?;
        if guarded {
            transaction.open_table(GUARD)?.remove("")?;
        }
        transaction.commit()?;
        if guarded {
            self.unguarded = 0;
        }
        Ok(())
    }
}

/// Whether a write failed because there is no room for it.
pub(super) fn is_full(error: &redb::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error, redb::Error::Io(error) if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge))
}

fn encode(entry: &Entry, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(&entry.created.get().to_le_bytes());
    buffer.extend_from_slice(&entry.modified.get().to_le_bytes());
    buffer.extend_from_slice(&entry.value.bytes());
}

fn decode(key: &str, bytes: &[u8]) -> Option<Entry> {
    let (created, rest) = bytes.split_first_chunk::<8>()?;
    let (modified, _) = rest.split_first_chunk::<8>()?;
    Some(Entry {
        key: Key::from(key),
        value: Value::pack(&Bytes::copy_from_slice(&bytes[HEADER..])),
        created: Revision::new(u64::from_le_bytes(*created)),
        modified: Revision::new(u64::from_le_bytes(*modified)),
    })
}

fn broken(path: &Path, error: redb::Error) -> OpenError {
    let path = path.to_owned();
    match error {
        redb::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => {
            OpenError::Io { path, source }
        }
        other => OpenError::Damaged { path, reason: other.to_string() },
    }
}

fn open_error(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path },
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() != io::ErrorKind::InvalidData => {
            OpenError::Io { path, source }
        }
        other => OpenError::Damaged { path, reason: other.to_string() },
    }
}
