//! Lists on their way to clients: in JSON that is not indented, chunk by chunk from stored bytes, so that a list takes the
//! memory of a chunk; in other representations whole.

use std::vec;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use skiff_machinery::table::{self, ListMeta};
use skiff_store::Entry;

use super::call::Call;
use super::codec::{self, DamagedEntry};
use super::list::Selected;
use super::{protobuf, respond};
use crate::errors::ApiError;
use crate::http::accept::{Format, MetaVersion, View};
use crate::http::body::{self, Body};

/// A list is sent in chunks of about this many bytes.
const CHUNK: usize = 64 * 1024;

/// What an entry takes while it waits to be sent: its bytes are the store's.
const WAITING: usize = size_of::<Entry>();

const METADATA_LIST: &str = "PartialObjectMetadataList";

/// A tree takes so many times the memory of its text.
const TREE: usize = 8;

/// The body of a list.
pub(crate) fn body(call: &Call, selected: Selected) -> Result<Body, ApiError> {
    let bytes = size(call, &selected);
    let room = call.server.gate.list(call.share, bytes)?;
    skiff_heap::freed(bytes);
    let body = match item(call) {
        Some(item) => chunks(call, item, selected)?,
        None if call.encoding.format == Format::Protobuf => {
            body::full(protobuf::list(call, &selected, &meta(call, &selected))?)
        }
        None => body::full(whole(call, selected)?),
    };
    Ok(body::holding(body, room))
}

/// The memory that a list takes until it is sent, about.
fn size(call: &Call, selected: &Selected) -> usize {
    let bytes =
        || -> usize { selected.entries.iter().map(|entry| entry.value.len() + codec::SPLICE_ROOM).sum() };
    match call.encoding.format {
        _ if item(call).is_some() => bytes().min(2 * CHUNK) + selected.entries.len() * WAITING,
        // The items, and the list of them.
        Format::Protobuf => bytes().saturating_mul(2),
        Format::Json | Format::Yaml => bytes().saturating_mul(TREE),
    }
}

/// How an item is written that is sent from its stored bytes.
#[derive(Debug)]
enum Item {
    /// As it is.
    Whole,
    /// Without what it is, which is this ending of its text.
    Typed(Vec<u8>),
    /// Its metadata alone.
    Metadata(MetaVersion),
}

/// None where the list is a tree first.
fn item(call: &Call) -> Option<Item> {
    if call.encoding.format != Format::Json || respond::is_pretty(call) {
        return None;
    }
    spliced(call)
}

fn spliced(call: &Call) -> Option<Item> {
    match call.encoding.view {
        View::Whole if call.kind.strategy.is_typed() => Some(Item::Typed(codec::ending(&call.kind))),
        View::Whole => Some(Item::Whole),
        View::Metadata(version, _) => Some(Item::Metadata(version)),
        View::Table(_) => None,
    }
}

impl Item {
    fn write(&self, out: &mut Vec<u8>, entry: &Entry) -> Result<(), DamagedEntry> {
        match self {
            Self::Whole => codec::splice(out, &entry.value.bytes(), entry.modified),
            Self::Typed(ending) => codec::splice_item(out, &entry.value.bytes(), entry.modified, ending),
            Self::Metadata(version) => return codec::splice_metadata(out, entry, *version),
        }
        Ok(())
    }
}

/// The text of a list, as chunks.
struct Chunks {
    item: Item,
    entries: vec::IntoIter<Entry>,
    /// What stands before the next item.
    before: Vec<u8>,
    /// What stands at the end; taken when it was given.
    end: Option<&'static [u8]>,
}

impl Chunks {
    fn new(call: &Call, item: Item, selected: Selected) -> Self {
        let (kind, api_version) = match item {
            Item::Metadata(version) => (METADATA_LIST.to_owned(), version.api_version().to_owned()),
            Item::Whole | Item::Typed(_) => (call.kind.names.list_kind(), call.kind.gv.to_string()),
        };
        let mut head = br#"{"kind":"#.to_vec();
        codec::write_json(&mut head, &kind);
        head.extend_from_slice(br#","apiVersion":"#);
        codec::write_json(&mut head, &api_version);
        head.extend_from_slice(br#","metadata":"#);
        codec::write_json(&mut head, &meta(call, &selected).to_value());
        // The metadata alone of nothing is the one list that Kubernetes writes as null.
        let end: &[u8] = if selected.entries.is_empty() && matches!(item, Item::Metadata(_)) {
            head.extend_from_slice(br#","items":null"#);
            b"}\n"
        } else {
            head.extend_from_slice(br#","items":["#);
            b"]}\n"
        };
        Self { item, entries: selected.entries.into_iter(), before: head, end: Some(end) }
    }
}

impl Iterator for Chunks {
    type Item = Result<Bytes, DamagedEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = self.end?;
        let next = self.entries.as_slice().first().map_or(0, |entry| entry.value.len());
        let mut out = Vec::with_capacity(self.before.len() + next.max(CHUNK) + codec::SPLICE_ROOM);
        while out.len() < CHUNK {
            out.append(&mut self.before);
            let Some(entry) = self.entries.next() else {
                out.extend_from_slice(end);
                self.end = None;
                break;
            };
            if let Err(error) = self.item.write(&mut out, &entry) {
                self.end = None;
                return Some(Err(error));
            }
            if self.entries.len() > 0 {
                self.before.push(b',');
            }
        }
        Some(Ok(out.into()))
    }
}

fn chunks(call: &Call, item: Item, selected: Selected) -> Result<Body, ApiError> {
    let mut chunks = Chunks::new(call, item, selected);
    let first = chunks.next().transpose()?.unwrap_or_default();
    if chunks.end.is_none() {
        return Ok(body::full(first));
    }
    let rest = chunks.inspect(|chunk| {
        if let Err(error) = chunk {
            tracing::error!(error = error as &dyn std::error::Error, "a list was cut short");
        }
    });
    Ok(body::fallible(stream::once(async { Ok(first) }).chain(stream::iter(rest))))
}

/// The whole text: of a Table, or of what is then indented or made YAML of.
fn whole(call: &Call, selected: Selected) -> Result<Bytes, ApiError> {
    let json = if let View::Table(version) = call.encoding.view {
        let objects = selected.entries.iter().map(|entry| call.decoded(entry));
        let objects = objects.collect::<Result<Vec<_>, ApiError>>()?;
        let rows = objects.iter().map(|object| &**object);
        let (meta, include) = (meta(call, &selected), respond::include(call)?);
        let table = table::render(call.kind.shape(), rows, call.now, include, &meta);
        codec::to_json(&respond::versioned(table, version))
    } else {
        let item = spliced(call).unwrap_or(Item::Whole);
        let chunks: Result<Vec<Bytes>, DamagedEntry> = Chunks::new(call, item, selected).collect();
        chunks?.concat().into()
    };
    respond::written(call, json)
}

/// Lists of custom kinds have an empty token where others have none.
fn meta(call: &Call, selected: &Selected) -> ListMeta {
    let shows_empty = !call.kind.strategy.is_typed() && call.encoding.view == View::Whole;
    ListMeta {
        resource_version: selected.revision.to_string(),
        continue_token: Some(selected.continue_token.clone())
            .filter(|token| shows_empty || !token.is_empty()),
        remaining: selected.remaining.map(|n| n as u64),
    }
}
