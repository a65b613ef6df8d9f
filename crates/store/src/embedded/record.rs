//! Records of the journal, as bytes. No I/O.
//!
//! A record leads from one revision to another. What follows a revision begins at the journal's start with a record that
//! follows just this revision, and goes on as long as each follows the one before. Nothing is written after a
//! record that is not durable, so only the last can be there in part.

use crate::transformer::Transformer;
use crate::types::{Entry, Event, EventKind, Revision};

/// Records begin at blocks: none is written into a block that holds a part of one that others rely on.
pub(super) const BLOCK: usize = 4096;

/// Which database a record belongs to: those of another, or of the file that was in its place before, are nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner(pub(super) u64);

/// Checksum, length of the changes, owner, the revision before and after.
const HEADER: usize = 32;

/// Kind, length of the key, length of the value.
const CHANGE: usize = 9;

const DELETE: u8 = 0;
const PUT: u8 = 1;

/// Bytes of `created` and `modified` before each value.
const DATES: usize = 16;

/// At most so many bytes of the journal are taken for a change by a record that has it.
pub(super) fn room(event: &Event, seals: &dyn Transformer) -> usize {
    let Entry { key, value, .. } = &event.entry;
    let growth = value.seal().map_or(0, |seal| seals.growth(seal));
    value.len() + growth + key.as_str().len() + DATES + CHANGE + HEADER + BLOCK
}

/// A record that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) revision: Revision,
    pub(super) changes: Vec<Change>,
}

/// What becomes of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) key: String,
    /// As the database has it; nothing if the key is removed.
    pub(super) row: Option<Vec<u8>>,
}

/// Something follows that cannot be read: it was whole once, for what is behind it was written after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// A row of the database, with the value sealed. One that could not be opened stays as it is.
pub(super) fn encode_row(entry: &Entry, seals: &dyn Transformer, buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(&entry.created.get().to_le_bytes());
    buffer.extend_from_slice(&entry.modified.get().to_le_bytes());
    match entry.value.seal() {
        Some(seal) => seals.seal(seal, &entry.key, &entry.value.bytes(), buffer),
        None => buffer.extend_from_slice(&entry.value.bytes()),
    }
}

/// Replaces what is in the buffer by a record, which ends with its block.
pub(super) fn encode<'a>(
    buffer: &mut Vec<u8>,
    owner: Owner,
    (after, revision): (Revision, Revision),
    events: impl Iterator<Item = &'a Event>,
    seals: &dyn Transformer,
) {
    buffer.clear();
    buffer.resize(HEADER, 0);
    for event in events {
        let key = event.entry.key.as_str();
        buffer.push(if event.kind == EventKind::Put { PUT } else { DELETE });
        buffer.extend_from_slice(&length(key.len()).to_le_bytes());
        // How long the row is shows when it has been written.
        let (length_at, row_at) = (buffer.len(), buffer.len() + 4 + key.len());
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(key.as_bytes());
        if event.kind == EventKind::Put {
            encode_row(&event.entry, seals, buffer);
        }
        let row = length(buffer.len() - row_at);
        buffer[length_at..length_at + 4].copy_from_slice(&row.to_le_bytes());
    }
    let changes = length(buffer.len() - HEADER);
    buffer[4..8].copy_from_slice(&changes.to_le_bytes());
    buffer[8..16].copy_from_slice(&owner.0.to_le_bytes());
    buffer[16..24].copy_from_slice(&after.get().to_le_bytes());
    buffer[24..32].copy_from_slice(&revision.get().to_le_bytes());
    let checksum = crc32fast::hash(&buffer[4..]);
    buffer[..4].copy_from_slice(&checksum.to_le_bytes());
    buffer.resize(buffer.len().next_multiple_of(BLOCK), 0);
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a record is shorter than the journal")
}

/// The records of a journal that follow a revision.
pub(super) fn read(journal: &[u8], owner: Owner, after: Revision) -> Result<Vec<Record>, Damaged> {
    let (mut records, mut last, mut end) = (Vec::new(), after, 0);
    while let Some(found) = find(&journal[end..], owner).filter(|found| found.after == last) {
        records.push(Record { revision: found.revision, changes: changes(found.changes).ok_or(Damaged)? });
        last = found.revision;
        end += (HEADER + found.changes.len()).next_multiple_of(BLOCK);
        end = end.min(journal.len());
    }
    let mut behind =
        journal[end..].chunks(BLOCK).enumerate().map(|(block, _)| &journal[end + block * BLOCK..]);
    if behind.any(|rest| find(rest, owner).is_some_and(|found| found.after > last)) {
        return Err(Damaged);
    }
    Ok(records)
}

/// A record whose checksum is right.
struct Found<'a> {
    after: Revision,
    revision: Revision,
    changes: &'a [u8],
}

/// The record at the beginning of these bytes, if there is one of this owner's.
fn find(bytes: &[u8], owner: Owner) -> Option<Found<'_>> {
    let number = |from: usize| Some(u64::from_le_bytes(*bytes.get(from..)?.first_chunk()?));
    if number(8)? != owner.0 {
        return None;
    }
    let checksum = u32::from_le_bytes(*bytes.first_chunk()?);
    let length = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    let end = HEADER.checked_add(usize::try_from(length).ok()?)?;
    let whole = crc32fast::hash(bytes.get(4..end)?) == checksum;
    let (after, revision) = (Revision::new(number(16)?), Revision::new(number(24)?));
    (whole && after < revision).then_some(Found { after, revision, changes: &bytes[HEADER..end] })
}

/// The changes of a record; `None` if they are none in spite of their checksum.
fn changes(mut bytes: &[u8]) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    while let Some((&kind, rest)) = bytes.split_first() {
        let (key, rest) = rest.split_first_chunk()?;
        let (row, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*key)).ok()?)?;
        let (row, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*row)).ok()?)?;
        let row = match kind {
            PUT if row.len() >= DATES => Some(row.to_vec()),
            DELETE if row.is_empty() => None,
            _ => return None,
        };
        changes.push(Change { key: String::from_utf8(key.to_vec()).ok()?, row });
        bytes = rest;
    }
    Some(changes)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::transformer::Plain;
    use crate::types::{Entry, Key};

    const OURS: Owner = Owner(7);

    fn event(key: &str, revision: u64, value: Option<&[u8]>) -> Event {
        let entry = Entry {
            key: Key::from(key),
            value: Bytes::copy_from_slice(value.unwrap_or_default()).into(),
            created: Revision::new(1),
            modified: Revision::new(revision),
        };
        let kind = if value.is_some() { EventKind::Put } else { EventKind::Delete };
        Event { kind, entry, previous: None }
    }

    /// A record of one change, `value` bytes long.
    fn record(owner: Owner, after: u64, revision: u64, value: usize) -> Vec<u8> {
        let mut buffer = Vec::new();
        let event = event("key", revision, Some(&vec![b'v'; value]));
        assert!(value.next_multiple_of(BLOCK) <= room(&event, &Plain));
        let revisions = (Revision::new(after), Revision::new(revision));
        encode(&mut buffer, owner, revisions, [&event].into_iter(), &Plain);
        assert!(buffer.len() <= room(&event, &Plain));
        buffer
    }

    /// The revisions that the records of a journal after revision 10 lead to.
    fn revisions(parts: &[Vec<u8>]) -> Result<Vec<u64>, Damaged> {
        let mut journal = parts.concat();
        journal.resize(64 * BLOCK, 0);
        let records = read(&journal, OURS, Revision::new(10))?;
        Ok(records.iter().map(|record| record.revision.get()).collect())
    }

    #[test]
    fn what_follows_is_read() {
        let (first, second) = (record(OURS, 10, 12, 9000), record(OURS, 12, 13, 10));
        let check = |parts: &[&Vec<u8>], expected: Result<&[u64], Damaged>| {
            let parts: Vec<Vec<u8>> = parts.iter().map(|part| (*part).clone()).collect();
            assert_eq!(revisions(&parts), expected.map(<[u64]>::to_vec));
        };
        check(&[], Ok(&[]));
        check(&[&first], Ok(&[12]));
        check(&[&first, &second], Ok(&[12, 13]));
        // What the database shows already, whole or behind what has been written over it.
        let (old, older) = (record(OURS, 5, 10, 10), record(OURS, 3, 5, 5000));
        check(&[&old], Ok(&[]));
        check(&[&first, &old, &older], Ok(&[12]));
        check(&[&record(Owner(8), 10, 12, 10)], Ok(&[]));
        // Something is missing.
        check(&[&second], Err(Damaged));
        check(&[&first, &record(OURS, 13, 14, 10)], Err(Damaged));
        let mut broken = first.clone();
        broken[5000] ^= 1;
        check(&[&broken], Ok(&[]));
        check(&[&broken, &second], Err(Damaged));
    }

    #[test]
    fn the_last_may_be_there_in_part() {
        let (first, last) = (record(OURS, 10, 11, 10), record(OURS, 11, 12, 9000));
        let old = record(OURS, 2, 10, 20_000);
        for present in 0..last.len() / 512 {
            // Sectors come to the disk in any order.
            for keep_first in [true, false] {
                let mut torn = old[..last.len()].to_vec();
                torn[HEADER..].fill(b'o');
                let part = if keep_first { 0..present * 512 } else { present * 512..last.len() };
                let missing = last.len() - part.len();
                torn[part.clone()].copy_from_slice(&last[part]);
                let expected = if missing == 0 { vec![11, 12] } else { vec![11] };
                let found = revisions(&[first.clone(), torn]).unwrap();
                assert!(found == expected || found == [11, 12] && missing < BLOCK, "{present}: {found:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn comes_out_as_it_went_in(
            values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..6000)), 1..8),
        ) {
            let events: Vec<Event> = values
                .iter()
                .enumerate()
                .map(|(number, value)| event(&format!("key/{number}"), 11, value.as_deref()))
                .collect();
            let mut journal = Vec::new();
            encode(&mut journal, OURS, (Revision::new(10), Revision::new(11)), events.iter(), &Plain);
            prop_assert!(journal.len() <= events.iter().map(|event| room(event, &Plain)).sum());
            let records = read(&journal, OURS, Revision::new(10)).unwrap();
            prop_assert_eq!(records.len(), 1);
            let expected: Vec<Change> = events
                .iter()
                .map(|event| {
                    let mut row = Vec::new();
                    encode_row(&event.entry, &Plain, &mut row);
                    let row = (event.kind == EventKind::Put).then_some(row);
                    Change { key: event.entry.key.as_str().to_owned(), row }
                })
                .collect();
            prop_assert_eq!(&records[0].changes, &expected);
        }

        #[test]
        fn nothing_is_no_record(mut bytes in prop::collection::vec(any::<u8>(), 0..6000), ours in any::<bool>()) {
            if ours && bytes.len() >= HEADER {
                bytes[8..16].copy_from_slice(&OURS.0.to_le_bytes());
            }
            prop_assert_eq!(read(&bytes, OURS, Revision::new(10)), Ok(Vec::new()));
        }
    }
}
