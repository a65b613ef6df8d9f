//! Server-side apply: `(live, configuration) → object`, or the conflicts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use skiff_ordered::Ordered as _;
use skiff_schema::{Root, Type};
use thiserror::Error;

use super::compare::{compare, mentioned};
use super::entries::{Entries, Entry};
use super::set::{Element, Set, describe};
use super::shape::{Place, Shape};
use super::writer::{Operation, Writer};
use super::{SERVER_FIELDS, track_update};
use crate::Object;
use crate::strict::drop_empty;

/// A field of somebody else that the configuration would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The owner, as messages name it: `"kubectl" using v1`.
    pub owner: String,
    /// The field, e.g. `.spec.replicas`.
    pub field: String,
}

/// Why a configuration was not applied.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ApplyError {
    /// Others own fields that would change: 409, one cause `FieldManagerConflict` for each.
    #[error("{}", conflict_text(.0))]
    Conflicts(Vec<Conflict>),
    /// The configuration says what no configuration may say: 400.
    #[error("{0}")]
    Malformed(String),
}

impl Conflict {
    /// The message of the cause in `Status.details`.
    pub fn message(&self) -> String {
        format!("conflict with {}", self.owner)
    }
}

fn conflict_text(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!("Apply failed with 1 conflict: {}: {}", one.message(), one.field);
    }
    let mut lines = Vec::new();
    let mut owner = None;
    for conflict in conflicts {
        if owner.replace(&conflict.owner) != Some(&conflict.owner) {
            lines.push(format!("conflicts with {}:", conflict.owner));
        }
        lines.push(format!("- {}", conflict.field));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// The object that applying a configuration makes of the live one (of nothing, for a create), with its
/// managed fields. Equal to `live` if there is nothing to change. With `force`, others lose the fields
/// that are in conflict.
pub fn apply(
    live: Option<&Object>,
    config: &Object,
    root: &Root,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Object, ApplyError> {
    if config.get(&["metadata", "managedFields"]).is_some_and(|v| *v != Value::Array(Vec::new())) {
        return Err(ApplyError::Malformed("metadata.managedFields must be nil".to_owned()));
    }
    let config = &relevant(config, writer);
    let place = Place::root(root);
    let nothing = Map::new();
    let before = live.map_or(&nothing, Object::as_map);
    let mut entries = live.map(|live| managers(live, root, writer)).unwrap_or_default();
    let wanted = mentioned(place, config.as_map());
    let mine = writer.owned(wanted.without(&SERVER_FIELDS));

    let mut merged = merge_entries(place, before, config.as_map());
    let written = compare(place, before, &merged).written().without(&SERVER_FIELDS);
    let others = |entry: &&Entry| !Entries::is_applier(entry, writer);
    let conflicts: Vec<Conflict> =
        entries.iter().filter(others).flat_map(|e| conflicts(e, &written)).collect();
    if !conflicts.is_empty() && !force {
        return Err(ApplyError::Conflicts(conflicts));
    }

    let kept = entries.iter().filter(others).fold(wanted, |all, entry| all.union(&entry.fields));
    let dropped = with_structs(place, &entries.applied(writer)).without(&mine);
    // Parents first: an item of a list is found by its keys, which are among its own dropped fields.
    for path in dropped.paths().iter().filter(|path| !kept.touches(path)) {
        remove_entry(place, &mut merged, path, Some(&kept));
    }
    let previous = entries.applied(writer);
    let unchanged = entries.clone();
    let removed = compare(place, before, &merged).removed;
    let lost = if force { written.union(&removed) } else { removed };
    entries.retain_fields(|set| set.without(&lost));
    // Who applies null where there is nothing changes something, though nothing comes of it.
    let same = merged == *before;
    let mut object = Object::from(merged);
    if writer.keeps_nulls {
        let mut metadata = Object::default();
        metadata.set(&["metadata"], object.remove(&["metadata"]).unwrap_or_default());
        drop_empty(&mut metadata, root);
        object.set(&["metadata"], metadata.remove(&["metadata"]).unwrap_or_default());
    } else {
        drop_empty(&mut object, root);
    }
    if same && previous == mine && entries == unchanged {
        return Ok(object);
    }
    entries.set_applied(config.api_version(), writer, &mine, same);
    entries.store(&mut object);
    Ok(object)
}

/// Who an object belongs to before it is applied. One that nobody was noted for is somebody's from then on.
fn managers(live: &Object, root: &Root, writer: &Writer<'_>) -> Entries {
    /// As Kubernetes calls whoever that was.
    const BEFORE: &str = "before-first-apply";
    let entries = Entries::of(live);
    if entries.iter().next().is_some() {
        return entries;
    }
    let mut live = live.clone();
    track_update(&mut live, None, root, &Writer { manager: BEFORE, ..*writer });
    Entries::of(&live)
}

/// A set and, of each field in it, the structs that the field is in: whoever owned the last field of one that somebody needs
/// has it removed as a whole, with what nobody owns. A map or an item of a list has to be owned itself.
fn with_structs(place: Place<'_>, set: &Set) -> Set {
    let mut out = set.clone();
    for path in set.paths() {
        let mut place = place;
        for (i, element) in path.iter().enumerate() {
            let Some(name) = element.name() else {
                place = place.item();
                continue;
            };
            if matches!(place.ty, Type::Object(_)) {
                out.insert(&path[..=i]);
            }
            place = place.entry(name);
        }
    }
    out
}

/// The part of a configuration that may be written: `status` only through the status subresource, and
/// nothing but that (and metadata) through it.
fn relevant(config: &Object, writer: &Writer<'_>) -> Object {
    let mut config = config.clone();
    match writer.subresource {
        "" => drop(config.remove(&["status"])),
        "status" => drop(config.remove(&["spec"])),
        _ => {}
    }
    config
}

fn conflicts(entry: &Entry, written: &Set) -> Vec<Conflict> {
    let paths = entry.fields.common(written).paths();
    paths.iter().map(|path| Conflict { owner: owner(entry), field: describe(path) }).collect()
}

fn owner(entry: &Entry) -> String {
    let mut text = format!("{:?}", entry.manager);
    if !entry.subresource.is_empty() {
        text.push_str(&format!(" with subresource {:?}", entry.subresource));
    }
    if entry.operation == Operation::Update {
        text.push_str(&format!(" using {}", entry.api_version));
    }
    text
}

/// Lays a configuration over a live value.
fn merge(place: Place<'_>, live: &Value, config: &Value) -> Value {
    match (place.shape(config), live, config) {
        // Who applies null to what is divided says nothing of what is in it.
        (_, live, Value::Null) if !matches!(place.shape(live), Shape::Leaf) && !is_empty(live) => {
            live.clone()
        }
        (Shape::Entries, Value::Object(live), Value::Object(config)) => {
            Value::Object(merge_entries(place, live, config))
        }
        (Shape::Items(keys), Value::Array(live), Value::Array(config)) => {
            let both = |live: &Value, config: &Value| merge(place.item(), live, config);
            Value::Array(merge_lists(live, config, |item| place.identify(item, keys), both))
        }
        (Shape::Scalars, Value::Array(live), Value::Array(config)) => {
            Value::Array(merge_lists(live, config, Element::value, |_, config| config.clone()))
        }
        _ => config.clone(),
    }
}

/// Lays a list over a live one. What the configuration names comes in its order; the rest stays where it is in
/// relation to the items before it (`structured-merge-diff`, `visitListItems`).
fn merge_lists(
    live: &[Value],
    config: &[Value],
    key: impl Fn(&Value) -> Element,
    both: impl Fn(&Value, &Value) -> Value,
) -> Vec<Value> {
    let live: Vec<(Element, &Value)> = live.iter().map(|item| (key(item), item)).collect();
    let config: Vec<(Element, &Value)> = config.iter().map(|item| (key(item), item)).collect();
    // An item that is there twice is none to merge with.
    let mut by_key = BTreeMap::<&Element, Option<&Value>>::new();
    for (key, item) in &live {
        by_key.entry(key).and_modify(|one| *one = None).or_insert(Some(item));
    }
    let wanted: BTreeSet<&Element> = config.iter().map(|(key, _)| key).to_set();
    let mut shared = config.iter().map(|(key, _)| key).filter(|key| by_key.contains_key(key)).peekable();
    let mut merged = BTreeSet::new();
    let mut out = Vec::with_capacity(live.len().max(config.len()));
    let (mut left, mut right) = (live.iter().peekable(), config.iter().peekable());
    while left.peek().is_some() || right.peek().is_some() {
        if let (Some((mine, _)), Some((theirs, _))) = (left.peek(), right.peek())
            && mine != theirs
            && wanted.contains(mine)
            && shared.peek().is_some_and(|next| *next != mine)
        {
            // Named by the configuration, but not next: its turn comes with the configuration's.
            left.next();
            continue;
        }
        let same = left.peek().zip(right.peek()).is_some_and(|(mine, theirs)| mine.0 == theirs.0);
        if let Some((mine, item)) = left.peek().filter(|_| !same) {
            if !wanted.contains(mine) {
                out.push((*item).clone());
                left.next();
                continue;
            } else if merged.contains(mine) {
                left.next();
            }
        }
        let Some((theirs, item)) = right.next() else { continue };
        if same {
            left.next();
        }
        merged.insert(theirs);
        shared.next_if(|next| *next == theirs);
        out.push(match by_key.get(theirs).copied().flatten() {
            Some(old) => both(old, item),
            None => (*item).clone(),
        });
    }
    out
}

pub(super) fn merge_entries(
    place: Place<'_>,
    live: &Map<String, Value>,
    config: &Map<String, Value>,
) -> Map<String, Value> {
    let mut out = live.clone();
    for (name, value) in config {
        let merged = match live.get(name) {
            Some(old) => merge(place.entry(name), old, value),
            None => value.clone(),
        };
        out.insert(name.clone(), merged);
    }
    out
}

/// Removes what a path leads to, and what becomes empty by that unless it is `kept`.
fn remove(place: Place<'_>, value: &mut Value, path: &[Element], kept: Option<&Set>) {
    let Some((first, rest)) = path.split_first() else { return };
    match (place.shape(value), value) {
        (Shape::Entries, Value::Object(map)) => remove_entry(place, map, path, kept),
        (Shape::Items(keys), Value::Array(items)) => {
            let Some(at) = items.iter().position(|item| place.identify(item, keys) == *first) else { return };
            if !rest.is_empty() {
                remove(place.item(), &mut items[at], rest, kept.and_then(|kept| kept.below(first)));
            }
            if rest.is_empty() || is_empty(&items[at]) {
                items.remove(at);
            }
        }
        (Shape::Scalars, Value::Array(items)) => items.retain(|item| Element::value(item) != *first),
        _ => {}
    }
}

fn remove_entry(place: Place<'_>, map: &mut Map<String, Value>, path: &[Element], kept: Option<&Set>) {
    let Some((first, rest)) = path.split_first() else { return };
    let Some(name) = first.name() else { return };
    let below = kept.and_then(|kept| kept.below(first));
    let emptied = match map.get_mut(name) {
        Some(child) if !rest.is_empty() => {
            remove(place.entry(name), child, rest, below);
            is_empty(child) && below.is_none()
        }
        _ => true,
    };
    if emptied {
        map.remove(name);
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}
