//! What is on the disk: a redb database and the journal before it, described in `docs/store-format.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use super::OpenError;
use super::journal::{self, Journal};
use super::medium::Medium;
use super::record::{self, Owner, Record};
use crate::history::Commit;
use crate::state::State;
use crate::transformer::Transformer;
use crate::types::{Entry, Event, Key, Revision, Terms};
use crate::value::Value;

/// Written into every file; grows when the meaning of the bytes changes.
const FORMAT: u64 = 2;

/// Without a journal, and with less ballast. Becomes the present one as soon as there is room.
const FORMAT_BEFORE: u64 = 1;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
const BALLAST: TableDefinition<&str, &[u8]> = TableDefinition::new("ballast");
const GUARD: TableDefinition<&str, &[u8]> = TableDefinition::new("guard");

/// Bytes that the file keeps free: a mebibyte for the time when its disk is full, so that deletions still find pages, and as
/// much as the journal has, so that what is in it always finds a place. A little less than a power of two, which is
/// what the file gives out in one piece.
pub(super) const RESERVE: usize = (1 << 20) + journal::BYTES - 512;

/// Bytes that nobody uses, which keep the file so large that the reserve is a small part of it: a file that is half
/// empty gives room back after each commit.
const BALLAST_BYTES: usize = (4 << 20) - 512;

/// Room that must be there, beside a doubling of the file, before a full store is taken for one that is not.
const MARGIN: u64 = 8 << 20;

/// Where a file is, and how values lie in it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) medium: Arc<dyn Medium>,
    pub(super) path: PathBuf,
    pub(super) seals: Arc<dyn Transformer>,
}

#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
    place: Place,
    /// There is none while the disk has no room for it.
    journal: Option<Journal>,
    /// Whose values in the database are older than those in the journal.
    pending: BTreeSet<Key>,
    /// Bytes that the journal may take before the database has to show what is in it. Nothing before the reserve is known to be
    /// whole.
    room: usize,
}

impl Disk {
    /// Opens or makes the file and reads it whole.
    pub(super) fn open(place: &Place, terms: &Terms) -> Result<(Self, State), OpenError> {
        // Made aside, so that a crash meanwhile leaves no file rather than half of one.
        let (disk, records) = if place.path.exists() {
            Self::reopen(place)?
        } else {
            (Self::anew(place, &State::default())?, Vec::new())
        };
        let state = disk.read(&records, terms)?;
        Ok((disk, state))
    }

    /// Opens the file, or makes it, without its journal.
    fn database(place: Place) -> Result<Self, OpenError> {
        let database = place.medium.open(&place.path).map_err(|error| open_error(&place.path, error))?;
        let disk = Self { database, place, journal: None, pending: BTreeSet::new(), room: 0 };
        match disk.initialise().map_err(|error| broken(&disk.place.path, error))? {
            FORMAT | FORMAT_BEFORE => Ok(disk),
            found => Err(OpenError::Format { path: disk.place.path, found, expected: FORMAT }),
        }
    }

    /// Opens the file, or makes it, and its journal; and what that has beside the database.
    fn reopen(place: &Place) -> Result<(Self, Vec<Record>), OpenError> {
        let mut disk = Self::database(place.clone())?;
        let records = disk.open_journal().map_err(|error| broken(&place.path, error))?;
        Ok((disk, records))
    }

    /// Opens the journal, or makes it if there is room. What it has is pending.
    fn open_journal(&mut self) -> Result<Vec<Record>, redb::Error> {
        let Some(owner) = self.find_meta("journal")? else { return Ok(Vec::new()) };
        let revision = Revision::new(self.meta("revision")?);
        let journal = match Journal::open(&*self.place.medium, &journal_of(&self.place.path), Owner(owner)) {
            Err(error) if is_full(&error) => return Ok(Vec::new()),
            journal => self.journal.insert(journal?),
        };
        let records = journal.records(revision)?.map_err(|record::Damaged| {
            redb::Error::Corrupted("in its journal a record is missing that others follow".to_owned())
        })?;
        let changes = records.iter().flat_map(|record| &record.changes);
        self.pending.extend(changes.map(|change| Key::from(change.key.as_str())));
        Ok(records)
    }

    /// Opens the file again after a write that failed for want of room: the file shows what it was before. When it
    /// shows anything else, it is written anew.
    pub(super) fn after_full(place: &Place, state: &State) -> Result<Self, OpenError> {
        let (disk, records) = Self::reopen(place)?;
        if disk.revision(&records).map_err(|error| broken(&place.path, error))? == state.revision {
            return Ok(disk);
        }
        drop(disk);
        Self::anew(place, state)
    }

    /// Puts a new file with this state in the place of the one that failed. After an error of the disk nobody knows
    /// which of the old file's bytes are really there: the kernel reports a lost page once and then takes it for clean.
    pub(super) fn anew(place: &Place, state: &State) -> Result<Self, OpenError> {
        let path = &place.path;
        let io_error = |source| OpenError::Io { path: path.clone(), source };
        let next = path.with_extension("new");
        remove(&next).map_err(io_error)?;
        let disk = Self::database(Place { path: next.clone(), ..place.clone() })?;
        disk.fill(state).map_err(|error| broken(&next, error))?;
        drop(disk);
        fs::rename(&next, path).map_err(io_error)?;
        sync_directory(path).map_err(io_error)?;
        // That of the old one is nothing to the new one, and may lie on the same bad part of the disk.
        remove(&journal_of(path)).map_err(io_error)?;
        Ok(Self::reopen(place)?.0)
    }

    /// Makes the tables of a new file, and what an older program's file lacks if there is room; returns the file's format.
    fn initialise(&self) -> Result<u64, redb::Error> {
        let is_new = self.database.begin_read()?.list_tables()?.next().is_none();
        if !is_new {
            let format = self.meta("format")?;
            if format != FORMAT_BEFORE || !self.has_room() {
                return Ok(format);
            }
        }
        let transaction = self.database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert("format", FORMAT)?;
            // By chance, so that no other file ever has the same, and nobody can write records into a value.
            meta.insert("journal", RandomState::new().hash_one(0))?;
            if is_new {
                meta.insert("revision", 0)?;
            }
            transaction.open_table(OBJECTS)?;
            transaction.open_table(BALLAST)?.insert_reserve("", BALLAST_BYTES)?.as_mut().fill(0);
        }
        transaction.commit()?;
        Ok(FORMAT)
    }

    /// Writes a whole state into a new file.
    fn fill(&self, state: &State) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut objects = transaction.open_table(OBJECTS)?;
            let mut row = Vec::new();
            for entry in state.entries() {
                row.clear();
                record::encode_row(entry, &*self.place.seals, &mut row);
                objects.insert(entry.key.as_str(), row.as_slice())?;
            }
            transaction.open_table(META)?.insert("revision", state.revision.get())?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Whether the file could grow to twice its size, which is how it grows.
    pub(super) fn has_room(&self) -> bool {
        let Place { medium, path, .. } = &self.place;
        let length = fs::metadata(path).map(|metadata| metadata.len());
        match (length, medium.available(path)) {
            (Ok(length), Ok(available)) => available >= length.saturating_add(MARGIN),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, path = %path.display(), "the room for the store cannot be read");
                false
            }
        }
    }

    /// Makes the reserve whole, growing the file if need be.
    pub(super) fn refill(&mut self) -> Result<(), redb::Error> {
        self.transact(true, |_| Ok(()))?;
        if self.journal.is_none() {
            self.open_journal()?;
        }
        Ok(())
    }

    fn meta(&self, name: &str) -> Result<u64, redb::Error> {
        self.find_meta(name)?.ok_or_else(|| redb::Error::Corrupted(format!("no {name:?} in table meta")))
    }

    fn find_meta(&self, name: &str) -> Result<Option<u64>, redb::Error> {
        let table = self.database.begin_read()?.open_table(META)?;
        Ok(table.get(name)?.map(|guard| guard.value()))
    }

    /// The revision that the disk shows.
    fn revision(&self, records: &[Record]) -> Result<Revision, redb::Error> {
        match records.last() {
            Some(record) => Ok(record.revision),
            None => self.meta("revision").map(Revision::new),
        }
    }

    fn read(&self, records: &[Record], terms: &Terms) -> Result<State, OpenError> {
        let damaged = |reason: String| OpenError::Damaged { path: self.place.path.clone(), reason };
        let revision = self.revision(records).map_err(|e| damaged(e.to_string()))?;
        let mut entries = self.entries().map_err(|e| damaged(e.to_string()))?;
        let changes = records.iter().flat_map(|record| &record.changes);
        let newest: BTreeMap<&str, _> = changes.map(|change| (&*change.key, &change.row)).collect();
        entries.retain(|entry| !newest.contains_key(entry.key.as_str()));
        for (key, row) in &newest {
            let Some(row) = row else { continue };
            entries.push(self.decode(key, row).ok_or_else(|| damaged(format!("short value of {key}")))?);
        }
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
            let entry = self.decode(key.value(), value.value());
            entries.push(
                entry.ok_or_else(|| redb::Error::Corrupted(format!("short value of {}", key.value())))?,
            );
        }
        Ok(entries)
    }

    /// The entry of a row. One whose value cannot be opened stays as it is until it can.
    fn decode(&self, key: &str, row: &[u8]) -> Option<Entry> {
        let (created, rest) = row.split_first_chunk::<8>()?;
        let (modified, stored) = rest.split_first_chunk::<8>()?;
        let key = Key::from(key);
        let value = match self.place.seals.open(&key, stored) {
            Ok((seal, value)) => Value::pack(&Bytes::from(value.into_owned()), seal),
            Err(why) => {
                tracing::error!(%key, %why, "what is stored cannot be opened");
                Value::closed(stored, why)
            }
        };
        Some(Entry {
            key,
            value,
            created: Revision::new(u64::from_le_bytes(*created)),
            modified: Revision::new(u64::from_le_bytes(*modified)),
        })
    }

    /// Whether the journal has room for a group of commits.
    pub(super) fn has_place(&self, commits: &[Commit]) -> bool {
        self.journal.is_some() && self.bytes(commits) <= self.room
    }

    /// At most so many bytes of the journal are taken by a group of commits.
    fn bytes(&self, commits: &[Commit]) -> usize {
        events(commits).map(|event| record::room(event, &*self.place.seals)).sum()
    }

    /// Makes a group of commits that led from revision `before` to a state durable. With `guarded`, fails rather than using the
    /// reserve.
    pub(super) fn write(
        &mut self,
        before: Revision,
        state: &State,
        commits: &[Commit],
        guarded: bool,
    ) -> Result<(), redb::Error> {
        self.pending.extend(events(commits).map(|event| event.entry.key.clone()));
        let rest = self.room.checked_sub(self.bytes(commits));
        match (&mut self.journal, rest) {
            (Some(journal), Some(rest)) if guarded => {
                journal.append((before, state.revision), events(commits), &*self.place.seals)?;
                self.room = rest;
                Ok(())
            }
            _ => self.settle(state, guarded),
        }
    }

    /// Lets the database show a state: what differs is pending.
    pub(super) fn settle(&mut self, state: &State, guarded: bool) -> Result<(), redb::Error> {
        self.transact(guarded, |transaction| {
            let mut objects = transaction.open_table(OBJECTS)?;
            let mut row = Vec::new();
            for key in &self.pending {
                let Some(entry) = state.get(key) else {
                    objects.remove(key.as_str())?;
                    continue;
                };
                row.clear();
                record::encode_row(entry, &*self.place.seals, &mut row);
                objects.insert(key.as_str(), row.as_slice())?;
            }
            transaction.open_table(META)?.insert("revision", state.revision.get())?;
            Ok(())
        })?;
        self.pending.clear();
        self.journal.iter_mut().for_each(Journal::restart);
        self.room = if guarded { journal::BYTES } else { 0 };
        Ok(())
    }

    /// Lets the database show a state if it does not.
    pub(super) fn finish(&mut self, state: &State) -> Result<(), redb::Error> {
        if self.pending.is_empty() { Ok(()) } else { self.settle(state, false) }
    }

    /// Runs one durable transaction. When the reserve is guarded, its bytes are taken before anything else and given back before
    /// the end: what the file needs for the rest is beside them, and they are never written.
    fn transact(
        &self,
        guarded: bool,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        if guarded {
            drop(transaction.open_table(GUARD)?.insert_reserve("", RESERVE)?);
        }
        work(&transaction)?;
        if guarded {
            transaction.open_table(GUARD)?.remove("")?;
        }
        transaction.commit()?;
        Ok(())
    }
}

fn events(commits: &[Commit]) -> impl Iterator<Item = &Event> {
    commits.iter().flat_map(|commit| &commit.changes).map(|change| &change.event)
}

/// The journal of the database in this file.
fn journal_of(path: &Path) -> PathBuf {
    path.with_extension("journal")
}

/// Makes durable that a file is there, by this name.
pub(super) fn sync_directory(file: &Path) -> io::Result<()> {
    File::open(file.parent().unwrap_or(file))?.sync_all()
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a write failed because there is no room for it.
pub(super) fn is_full(error: &redb::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error, redb::Error::Io(error) if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge))
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
