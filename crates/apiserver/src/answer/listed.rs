//! Lists on their way to clients: chunk by chunk from stored entries, so that a list takes the memory of a chunk.
//!
//! A body in protobuf says first how long it is: its items are measured before, and those that are not kept are encoded
//! again when their turn comes. Whole in memory are lists that are indented or in YAML, for they are written from a tree,
//! and people read them.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use skiff_machinery::table::ListMeta;
use skiff_registry::{ApiError, Selected, codec};
use skiff_store::Entry;

use super::asked::Asked;
use super::chunks::{CHUNK, Chunks, Item, KEPT};
use super::format;
use crate::http::accept::{Format, View};
use crate::http::body::{self, Body};

/// What an entry takes while it waits to be sent: its bytes are the store's.
const WAITING: usize = size_of::<Entry>();

/// A tree takes so many times the memory of its text.
const TREE: usize = 8;

/// The body of a list.
pub(crate) fn body(asked: Arc<Asked>, selected: Selected) -> Result<Body, ApiError> {
    let bytes = size(&asked, &selected);
    let room = asked.answers.gate.list(asked.share, bytes)?;
    skiff_heap::freed(bytes);
    let is_streamed = is_streamed(&asked);
    let (item, meta) = (Item::of(&asked, &selected.entries)?, meta(&asked, &selected));
    let makes_trees = item.makes_trees();
    let chunks = Chunks::new(asked.clone(), item, &meta, selected)?;
    let body = if is_streamed { sent(chunks, makes_trees)? } else { body::full(whole(&asked, chunks)?) };
    Ok(body::holding(body, room))
}

/// Whether lists are sent as they are made.
pub(crate) fn is_streamed(asked: &Asked) -> bool {
    match asked.encoding.format {
        Format::Json => !format::is_pretty(asked),
        Format::Protobuf => true,
        Format::Yaml => false,
    }
}

/// The memory that a list takes until it is sent, about.
fn size(asked: &Asked, selected: &Selected) -> usize {
    let bytes: usize = selected.entries.iter().map(|entry| entry.value.len() + codec::SPLICE_ROOM).sum();
    if !is_streamed(asked) {
        return bytes.saturating_mul(TREE);
    }
    let chunks = match (asked.encoding.format, asked.encoding.view) {
        // One object is a tree at a time, besides what waits.
        (Format::Protobuf, _) => bytes.min(KEPT + 2 * CHUNK),
        (_, View::Table(_)) => bytes.min(2 * CHUNK).saturating_mul(2),
        _ => bytes.min(2 * CHUNK),
    };
    chunks + selected.entries.len() * WAITING
}

/// The chunks as the client takes them.
fn sent(mut chunks: Chunks, makes_trees: bool) -> Result<Body, ApiError> {
    let first = chunks.next().transpose()?.unwrap_or_default();
    if chunks.is_over() {
        return Ok(body::full(first));
    }
    let rest = chunks.inspect(|chunk| {
        if let Err(error) = chunk {
            tracing::error!(error = error as &dyn std::error::Error, "a list was cut short");
        }
    });
    let first = stream::once(async { Ok(first) });
    if !makes_trees {
        return Ok(body::fallible(first.chain(stream::iter(rest))));
    }
    // Nobody else on the thread waits for more than a chunk.
    let rest = stream::iter(rest).then(async |chunk| {
        tokio::task::yield_now().await;
        chunk
    });
    Ok(body::fallible(first.chain(rest)))
}

/// The whole text of what is then indented or made YAML of.
fn whole(asked: &Asked, chunks: Chunks) -> Result<Bytes, ApiError> {
    let chunks: Result<Vec<Bytes>, ApiError> = chunks.collect();
    format::written(asked, chunks?.concat().into())
}

/// Lists of custom kinds have an empty token where others have none.
fn meta(asked: &Asked, selected: &Selected) -> ListMeta {
    let shows_empty = !asked.call.kind.strategy.is_typed() && asked.encoding.view == View::Whole;
    ListMeta {
        resource_version: selected.revision.to_string(),
        continue_token: Some(selected.continue_token.clone())
            .filter(|token| shows_empty || !token.is_empty()),
        remaining: selected.remaining.map(|n| n as u64),
    }
}
