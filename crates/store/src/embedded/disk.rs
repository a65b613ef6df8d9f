//! The file: two redb tables, described in `docs/store-format.md`.

use std::io;
use std::path::Path;

use bytes::Bytes;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use super::OpenError;
use crate::log::Commit;
use crate::state::State;
use crate::types::{Entry, EventKind, Key, Revision};

/// Written into every file; grows when the meaning of the bytes changes.
const FORMAT: u64 = 1;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");

/// Bytes of `created` and `modified` before each value.
const HEADER: usize = 16;

/// Everything is in memory anyway, so the file needs little cache.
const CACHE_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
}

impl Disk {
    /// Opens or makes the file and reads it whole.
    pub(super) fn open(path: &Path) -> Result<(Self, State), OpenError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|error| open_error(path, error))?;
        let disk = Self { database };
        let damaged =
            |error: redb::Error| OpenError::Damaged { path: path.to_owned(), reason: error.to_string() };
        disk.initialise().map_err(damaged)?;
        let format = disk.meta("format").map_err(damaged)?;
        if format != FORMAT {
            return Err(OpenError::Format { path: path.to_owned(), found: format, expected: FORMAT });
        }
        let state = disk.read(path)?;
        Ok((disk, state))
    }

    /// Makes the tables of a new file.
    fn initialise(&self) -> Result<(), redb::Error> {
        let existing = self.database.begin_read()?.list_tables()?.next().is_some();
        if existing {
            return Ok(());
        }
        let transaction = self.database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert("format", FORMAT)?;
            meta.insert("revision", 0)?;
            transaction.open_table(OBJECTS)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn meta(&self, name: &str) -> Result<u64, redb::Error> {
        let table = self.database.begin_read()?.open_table(META)?;
        let value = table.get(name)?.map(|guard| guard.value());
        value.ok_or_else(|| redb::Error::Corrupted(format!("no {name:?} in table meta")))
    }

    fn read(&self, path: &Path) -> Result<State, OpenError> {
        let damaged = |reason: String| OpenError::Damaged { path: path.to_owned(), reason };
        let revision = Revision::new(self.meta("revision").map_err(|e| damaged(e.to_string()))?);
        let entries = self.entries().map_err(|e| damaged(e.to_string()))?;
        if let Some(entry) = entries.iter().find(|entry| entry.modified > revision) {
            return Err(damaged(format!("key {} is newer than the store's revision {revision}", entry.key)));
        }
        Ok(State::new(revision, entries))
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

    /// Writes a group of commits; returns after fsync.
    pub(super) fn write(&self, revision: Revision, commits: &[Commit]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut objects = transaction.open_table(OBJECTS)?;
            let mut buffer = Vec::new();
            for event in commits.iter().flat_map(|commit| &commit.events) {
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
        }
        transaction.commit()?;
        Ok(())
    }
}

fn encode(entry: &Entry, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(&entry.created.get().to_le_bytes());
    buffer.extend_from_slice(&entry.modified.get().to_le_bytes());
    buffer.extend_from_slice(&entry.value);
}

fn decode(key: &str, bytes: &[u8]) -> Option<Entry> {
    let (created, rest) = bytes.split_first_chunk::<8>()?;
    let (modified, _) = rest.split_first_chunk::<8>()?;
    Some(Entry {
        key: Key::from(key),
        value: Bytes::copy_from_slice(&bytes[HEADER..]),
        created: Revision::new(u64::from_le_bytes(*created)),
        modified: Revision::new(u64::from_le_bytes(*modified)),
    })
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
