//! Objects between the version that is stored and the one that a request speaks.
//!
//! The pipeline works in the version of the request. What it reads passes [`shown`] and what it writes [`written`]; for
//! kinds of one version, and these are most, both do nothing. What is stored in the version that is asked for, and would be
//! read just as it is, is passed on as bytes.

use bytes::Bytes;
use skiff_machinery::{Conversion, GroupVersion, Kind, Object};
use skiff_store::{Entry, Event};

use super::call::Call;
use super::codec;
use crate::errors::ApiError;

/// Whether stored objects of a kind may differ from what is shown of them.
fn may_differ(kind: &Kind) -> bool {
    kind.versions.storage.is_some() || kind.strategy.reads_anew()
}

/// Entries as the call's version has them.
pub(crate) async fn shown(call: &Call, entries: Vec<Entry>) -> Result<Vec<Entry>, ApiError> {
    shown_of(&call.kind, entries).await
}

/// Entries as a kind's version has them.
pub(crate) async fn shown_of(kind: &Kind, entries: Vec<Entry>) -> Result<Vec<Entry>, ApiError> {
    if !may_differ(kind) {
        return Ok(entries);
    }
    let (mut entries, wanted) = (entries, kind.gv.to_string());
    let settled: Vec<bool> = entries.iter().map(|entry| is_settled(kind, entry, &wanted)).collect();
    if settled.iter().all(|settled| *settled) {
        return Ok(entries);
    }
    // Others convert a list as a whole, and errors tell that.
    let all = matches!(kind.versions.conversion, Conversion::Asked(_));
    let differing = entries.iter_mut().zip(settled).filter(|(_, settled)| all || !settled);
    let mut differing: Vec<&mut Entry> = differing.map(|(entry, _)| entry).collect();
    let objects = differing.iter().map(|entry| codec::decode(entry)).collect::<Result<Vec<_>, _>>()?;
    let objects = converted(kind, objects, &kind.gv).await?;
    for (entry, object) in differing.iter_mut().zip(objects) {
        entry.value = codec::encode(&read_anew(kind, object)).into();
    }
    Ok(entries)
}

/// Whether what is stored is what is shown.
fn is_settled(kind: &Kind, entry: &Entry, api_version: &str) -> bool {
    kind.strategy.is_settled(&entry.value.bytes(), api_version)
}

/// An entry as the call's version has it.
pub(crate) async fn shown_one(call: &Call, entry: Entry) -> Result<Entry, ApiError> {
    if !may_differ(&call.kind) {
        return Ok(entry);
    }
    let key = entry.key.clone();
    let shown = shown(call, vec![entry]).await?.pop();
    shown.ok_or_else(|| ApiError::Internal(format!("the conversion of {key} answered nothing")))
}

/// An event as the call's version has it; none where it is as it is.
pub(crate) async fn shown_event(call: &Call, event: &Event) -> Result<Option<Event>, ApiError> {
    let wanted = call.kind.gv.to_string();
    let mut entries = event.previous.iter().chain([&event.entry]);
    if !may_differ(&call.kind) || entries.all(|entry| is_settled(&call.kind, entry, &wanted)) {
        return Ok(None);
    }
    let previous = match &event.previous {
        Some(entry) => Some(shown_one(call, entry.clone()).await?),
        None => None,
    };
    Ok(Some(Event { entry: shown_one(call, event.entry.clone()).await?, previous, ..event.clone() }))
}

/// An object of the call's version as bytes.
#[derive(Debug)]
pub(crate) struct Written {
    /// To be stored.
    pub(crate) stored: Bytes,
    /// To be shown; mostly the same.
    pub(crate) shown: Bytes,
}

/// Writes an object of the call's version.
pub(crate) async fn written(call: &Call, object: &Object) -> Result<Written, ApiError> {
    let kind = &call.kind;
    let shown = codec::encode(object);
    let storage = kind.versions.storage.as_ref().filter(|storage| **storage != kind.gv);
    let Some(storage) = storage else { return Ok(Written { stored: shown.clone(), shown }) };
    let mut objects = converted(kind, vec![object.clone()], storage).await?;
    let object = objects.pop();
    let object = object.ok_or_else(|| ApiError::Internal("a conversion answered nothing".to_owned()))?;
    let keeper = call.catalogue.find(&storage.group, &storage.version, &kind.names.plural);
    match (keeper.filter(|keeper| keeper.strategy.reads_anew()), &kind.versions.conversion) {
        // What the stored version does not know is lost at once.
        (Some(keeper), Conversion::Same) => {
            let stored = read_anew(keeper, object);
            let shown = read_anew(kind, renamed(stored.clone(), &kind.gv.to_string()));
            Ok(Written { stored: codec::encode(&stored), shown: codec::encode(&shown) })
        }
        _ => Ok(Written { stored: codec::encode(&object), shown }),
    }
}

async fn converted(kind: &Kind, objects: Vec<Object>, to: &GroupVersion) -> Result<Vec<Object>, ApiError> {
    let wanted = to.to_string();
    match &kind.versions.conversion {
        Conversion::Same => Ok(objects.into_iter().map(|object| renamed(object, &wanted)).collect()),
        Conversion::Native(convert) => Ok(objects.into_iter().map(|object| convert(object, to)).collect()),
        Conversion::Asked(_) if objects.iter().all(|object| object.api_version() == wanted) => Ok(objects),
        Conversion::Asked(asked) => {
            let converted = asked.convert(objects, to).await;
            converted.map_err(|error| ApiError::Unclassified(error.to_string()))
        }
    }
}

fn renamed(mut object: Object, version: &str) -> Object {
    if object.api_version() != version {
        object.set(&["apiVersion"], version);
    }
    object
}

/// A stored object with the fields and defaults of today's schema. What cannot be read so is shown as it is.
fn read_anew(kind: &Kind, object: Object) -> Object {
    if !kind.strategy.reads_anew() {
        return object;
    }
    let mut object = object;
    kind.strategy.revive(&mut object);
    object
}
