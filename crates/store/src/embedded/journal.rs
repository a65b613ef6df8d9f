//! The journal: commits that are durable and that the database does not show yet. Its bytes are described in
//! `docs/store-format.md`.
//!
//! A transaction of the database writes some eight pages all over its file, which costs a disk more than twice what it
//! costs to write as much in one place. So most groups of commits become durable as one record here, and the
//! database takes many of them at once.

use std::io;
use std::path::Path;

use redb::StorageBackend;

use super::medium::Medium;
use super::record::{self, BLOCK, Damaged, Owner, Record};
use crate::transformer::Transformer;
use crate::types::{Event, Revision};

/// How many bytes it has, all of which are there from the beginning: a write changes nothing of the file but its content.
pub(super) const BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Journal {
    file: Box<dyn StorageBackend>,
    owner: Owner,
    /// Where the next record goes.
    end: usize,
    buffer: Vec<u8>,
}

impl Journal {
    /// Opens the file, or makes it.
    pub(super) fn open(medium: &dyn Medium, path: &Path, owner: Owner) -> Result<Self, redb::Error> {
        let file = medium.file(path)?;
        if file.len()? != BYTES as u64 {
            file.set_len(BYTES as u64)?;
            // Written once, so that the file system has nothing to note when it is written again.
            file.write(0, &vec![0; BYTES])?;
            file.sync_data()?;
            super::disk::sync_directory(path)?;
        }
        Ok(Self { file, owner, end: 0, buffer: Vec::new() })
    }

    /// The records that follow this revision.
    pub(super) fn records(&self, after: Revision) -> Result<Result<Vec<Record>, Damaged>, io::Error> {
        let mut bytes = vec![0; BYTES];
        self.file.read(0, &mut bytes)?;
        Ok(record::read(&bytes, self.owner, after))
    }

    /// Makes what led from one revision to another durable.
    pub(super) fn append<'a>(
        &mut self,
        (after, revision): (Revision, Revision),
        events: impl Iterator<Item = &'a Event>,
        seals: &dyn Transformer,
    ) -> Result<(), io::Error> {
        record::encode(&mut self.buffer, self.owner, (after, revision), events, seals);
        self.file.write(self.end as u64, &self.buffer)?;
        self.file.sync_data()?;
        self.end += self.buffer.len();
        self.buffer.shrink_to(BLOCK);
        Ok(())
    }

    /// Begins again: the database shows everything.
    pub(super) fn restart(&mut self) {
        self.end = 0;
    }
}
