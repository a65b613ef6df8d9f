//! The text of a list, or its message, in chunks made of stored entries one after the other.

use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use skiff_machinery::protobuf as wire;
use skiff_machinery::table::{self, IncludeObject, ListMeta};
use skiff_registry::{ApiError, Selected, codec};
use skiff_store::Entry;

use super::asked::Asked;
use super::{format, protobuf};
use crate::http::accept::{Format, MetaVersion, View};

/// A list is sent in chunks of about this many bytes.
pub(super) const CHUNK: usize = 64 * 1024;

/// So many bytes of messages are kept between measuring and sending them; others are made twice.
pub(super) const KEPT: usize = 8 * CHUNK;

const METADATA_LIST: &str = "PartialObjectMetadataList";

/// How an item is written.
#[derive(Debug)]
pub(super) enum Item {
    /// As it is.
    Whole,
    /// Without what it is, which is this ending of its text.
    Typed(Vec<u8>),
    /// Its metadata alone.
    Metadata(MetaVersion),
    /// As a row of a Table.
    Row(MetaVersion, IncludeObject),
    /// In protobuf.
    Message(Measured),
}

/// What is known of messages before they are sent: a body says first how long they are together.
#[derive(Debug)]
pub(super) struct Measured {
    /// The messages of the first items.
    kept: vec::IntoIter<Bytes>,
    /// How many bytes are still to be sent, with what stands before each message.
    left: usize,
}

impl Item {
    /// As a call wants them.
    pub(super) fn of(asked: &Asked, entries: &[Entry]) -> Result<Self, ApiError> {
        if asked.encoding.format == Format::Protobuf {
            return Ok(Self::Message(Measured::of(asked, entries)?));
        }
        Ok(match asked.encoding.view {
            View::Whole if asked.call.kind.strategy.is_typed() => {
                Self::Typed(codec::ending(&asked.call.kind))
            }
            View::Whole => Self::Whole,
            View::Metadata(version, _) => Self::Metadata(version),
            View::Table(version) => Self::Row(version, format::include(asked)?),
        })
    }

    /// Whether a tree is made of each entry, which takes its time.
    pub(super) fn makes_trees(&self) -> bool {
        matches!(self, Self::Row(..) | Self::Message(_))
    }

    fn write(&mut self, asked: &Asked, out: &mut Vec<u8>, entry: &Entry) -> Result<(), ApiError> {
        match self {
            Self::Whole => entry.value.read(|text| codec::splice(out, text, entry.modified)),
            Self::Typed(ending) => {
                entry.value.read(|text| codec::splice_item(out, text, entry.modified, ending));
            }
            Self::Metadata(version) => format::splice_metadata(asked, out, entry, *version)?,
            Self::Row(version, include) => {
                let object = asked.decoded(entry)?;
                let mut row = table::row(asked.call.kind.shape(), &object, asked.call.now, *include);
                format::version_row(&mut row, *version);
                codec::write_json(out, &row);
            }
            Self::Message(measured) => measured.write(asked, out, entry)?,
        }
        Ok(())
    }
}

impl Measured {
    fn of(asked: &Asked, entries: &[Entry]) -> Result<Self, ApiError> {
        let (mut kept, mut bytes, mut left) = (Vec::new(), 0, 0);
        for entry in entries {
            let message = protobuf::item(asked, entry)?;
            left += wire::list_item_size(message.len());
            bytes += message.len();
            if bytes <= KEPT {
                kept.push(message);
            }
        }
        Ok(Self { kept: kept.into_iter(), left })
    }

    fn write(&mut self, asked: &Asked, out: &mut Vec<u8>, entry: &Entry) -> Result<(), ApiError> {
        let message = match self.kept.next() {
            Some(message) => message,
            None => protobuf::item(asked, entry)?,
        };
        let left = self.left.checked_sub(wire::list_item_size(message.len()));
        let other = || ApiError::Internal(format!("{} has another size than before", entry.key));
        self.left = left.ok_or_else(other)?;
        wire::list_item(out, &message);
        Ok(())
    }
}

/// The chunks of a list.
pub(super) struct Chunks {
    asked: Arc<Asked>,
    item: Item,
    entries: vec::IntoIter<Entry>,
    /// What stands before the next item.
    before: Vec<u8>,
    /// What stands between two items.
    between: &'static [u8],
    /// What stands at the end; taken when it was given.
    end: Option<Vec<u8>>,
}

impl Chunks {
    pub(super) fn new(
        asked: Arc<Asked>,
        item: Item,
        meta: &ListMeta,
        selected: Selected,
    ) -> Result<Self, ApiError> {
        let is_empty = selected.entries.is_empty();
        let (before, between, end) = match &item {
            Item::Message(measured) => {
                let mut end = Vec::new();
                wire::list_end(&mut end);
                (protobuf::list_start(&asked, meta, measured.left)?, &b""[..], end)
            }
            _ => {
                let (head, end) = text(&asked, &item, meta, is_empty);
                (head, &b","[..], end.to_vec())
            }
        };
        Ok(Self { asked, item, entries: selected.entries.into_iter(), before, between, end: Some(end) })
    }

    /// Whether the last chunk was given.
    pub(super) fn is_over(&self) -> bool {
        self.end.is_none()
    }
}

/// What a list's text begins and ends with.
fn text(asked: &Asked, item: &Item, meta: &ListMeta, is_empty: bool) -> (Vec<u8>, &'static [u8]) {
    let (kind, api_version) = match item {
        Item::Metadata(version) => (METADATA_LIST.to_owned(), version.api_version().to_owned()),
        Item::Row(version, _) => ("Table".to_owned(), version.api_version().to_owned()),
        _ => (asked.call.kind.names.list_kind(), asked.call.kind.gv.to_string()),
    };
    let mut head = br#"{"kind":"#.to_vec();
    codec::write_json(&mut head, &kind);
    head.extend_from_slice(br#","apiVersion":"#);
    codec::write_json(&mut head, &api_version);
    head.extend_from_slice(br#","metadata":"#);
    codec::write_json(&mut head, &meta.to_value());
    // The lists that Kubernetes writes as null when there is nothing: of metadata alone, and Tables without columns of their own.
    let (items, is_null) = match item {
        Item::Row(..) => {
            let shape = asked.call.kind.shape();
            head.extend_from_slice(br#","columnDefinitions":"#);
            codec::write_json(&mut head, &table::columns(shape));
            ("rows", shape.is_default())
        }
        item => ("items", matches!(item, Item::Metadata(_))),
    };
    let (open, end): (_, &[u8]) = if is_empty && is_null { ("null", b"}\n") } else { ("[", b"]}\n") };
    head.extend_from_slice(format!(r#","{items}":{open}"#).as_bytes());
    (head, end)
}

impl Iterator for Chunks {
    type Item = Result<Bytes, ApiError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.end.as_ref()?;
        let next = self.entries.as_slice().first().map_or(0, |entry| entry.value.len());
        let mut out = Vec::with_capacity(self.before.len() + next.max(CHUNK) + codec::SPLICE_ROOM);
        // Of a tree there may be little to send, and still it takes time: so many bytes are looked at.
        let mut looked_at = 0;
        while out.len() < CHUNK && looked_at < CHUNK {
            out.append(&mut self.before);
            let Some(entry) = self.entries.next() else {
                out.append(&mut self.end.take().unwrap_or_default());
                break;
            };
            if let Err(error) = self.item.write(&self.asked, &mut out, &entry) {
                self.end = None;
                return Some(Err(error));
            }
            if self.item.makes_trees() {
                looked_at += entry.value.len();
            }
            if self.entries.len() > 0 {
                self.before.extend_from_slice(self.between);
            }
        }
        Some(Ok(out.into()))
    }
}
