//! `metadata.managedFields`: who last wrote which field, and server-side apply, which needs to know.
//!
//! Each entry has a set of fields. A plain write takes over the fields that it changes
//! ([`track_update`]); an apply owns the fields that it mentions, conflicts with others whose fields it
//! would change, and removes what it owned and mentions no longer ([`apply`]).

mod apply;
mod compare;
mod configuration;
mod entries;
mod overlay;
mod set;
mod shape;
mod writer;

use std::sync::LazyLock;

use serde_json::{Map, Value};
use skiff_schema::Root;

use crate::Object;
pub use apply::{ApplyError, Conflict, apply};
use compare::compare;
pub use configuration::{keep_empty, refuse_configuration};
use entries::Entries;
pub use overlay::{atomics, overlay};
use set::{Element, Set};
use shape::Place;
pub use writer::{Operation, Writer};

/// Brings the managed fields of an object that is about to be written up to date: what differs from `old`
/// (nothing, for a create) now belongs to the writer. `object` is as the writer wants it, defaults included; its own
/// `managedFields` count if a client edited them, else those of `old`. Of an object that has none, Kubernetes notes no writer
/// before somebody applies it.
pub fn track_update(object: &mut Object, old: Option<&Object>, root: &Root, writer: &Writer<'_>) {
    let mut entries = Entries::of_update(object, old, writer.subresource.is_empty());
    if old.is_some() && entries.iter().next().is_none() {
        return entries.store(object);
    }
    let mut empty = root.schema().empty_object(root.id());
    without_lists(&mut empty);
    let before = old.map_or(&empty, |old| old.as_map());
    let mut changes = compare(Place::root(root), before, object.as_map());
    changes.take_away(&SERVER_FIELDS);
    if !changes.is_empty() {
        let removed = std::mem::take(&mut changes.removed);
        let written = writer.owned(changes.written());
        entries.retain_fields(|set| set.without(&removed).without(&written));
        if !written.is_empty() || writer.settled.is_empty() {
            entries.add(Operation::Update, object.api_version(), writer, written);
        }
    }
    entries.store(object);
}

/// In the place of [`track_update`], of a write of the object's replicas, which are at the path, through its Scale.
pub fn track_scale(object: &mut Object, old: &Object, path: &[&str], writer: &Writer<'_>) {
    let mut replicas = Set::default();
    replicas.insert(&path.iter().map(|name| Element::field(name)).collect::<Vec<_>>());
    let changed = object.get(path) != old.get(path);
    Entries::of(old).scaled(&replicas, object.api_version(), writer, changed).store(object);
}

/// Gives the entry of an applier the time that it had in another object, which may be none.
pub fn keep_time(object: &mut Object, before: &Object, writer: &Writer<'_>) {
    let mut entries = Entries::of(object);
    entries.keep_time(&Entries::of(before), writer);
    entries.store(object);
}

/// Who writes an empty list writes something, also where Kubernetes says it of every object.
fn without_lists(object: &mut Map<String, Value>) {
    for value in object.values_mut() {
        match value {
            Value::Array(_) => *value = Value::Null,
            Value::Object(map) => without_lists(map),
            _ => {}
        }
    }
}

/// Gives the managed fields of another object to one that differs from it in nothing but their times: nothing was written.
pub fn keep_times(object: &mut Object, before: &Object) {
    const PATH: &[&str] = &["metadata", "managedFields"];
    let untimed = |object: &Object| {
        let mut object = object.clone();
        let entries = object.get(PATH).and_then(Value::as_array).cloned().unwrap_or_default();
        let entries = entries.into_iter().map(|mut entry| {
            entry.as_object_mut().map(|entry| entry.remove("time"));
            entry
        });
        object.set(PATH, entries.collect::<Vec<_>>());
        object
    };
    if untimed(object) == untimed(before) {
        Entries::of(before).store(object);
    }
}

/// The fields that nobody owns: the server sets them, or they identify the object.
static SERVER_FIELDS: LazyLock<Set> = LazyLock::new(|| {
    const METADATA: &[&str] = &[
        "clusterName",
        "creationTimestamp",
        "generation",
        "managedFields",
        "name",
        "namespace",
        "resourceVersion",
        "selfLink",
        "uid",
    ];
    let mut set = Set::default();
    for field in ["apiVersion", "kind", "metadata"] {
        set.insert(&[Element::field(field)]);
    }
    for field in METADATA {
        set.insert(&[Element::field("metadata"), Element::field(field)]);
    }
    set
});

#[cfg(test)]
mod tests;
