//! Which fields differ between two objects, and which an object mentions.

use std::collections::BTreeSet;

use serde_json::Value;

use super::set::{Path, Set};
use super::shape::Place;

/// The difference between two objects.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) added: Set,
    pub(super) modified: Set,
    pub(super) removed: Set,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// What is new or different.
    pub(super) fn written(&self) -> Set {
        self.added.clone().union(&self.modified)
    }
}

/// Compares two values of the same place.
pub(super) fn compare(place: Place, old: &Value, new: &Value) -> Changes {
    let mut changes = Changes::default();
    both(place, old, new, &mut Vec::new(), &mut changes);
    changes
}

fn both(place: Place, old: &Value, new: &Value, path: &mut Path, out: &mut Changes) {
    let (Some(before), Some(after)) = (place.children(old), place.children(new)) else {
        if old != new {
            out.modified.insert(path);
        }
        return;
    };
    let elements: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for element in elements {
        path.push(element.clone());
        match (before.get(element), after.get(element)) {
            (Some((old, place)), Some((new, _))) => both(*place, old, new, path, out),
            (Some((old, place)), None) => every_node(*place, old, path, &mut out.removed),
            (None, Some((new, place))) => every_node(*place, new, path, &mut out.added),
            (None, None) => {}
        }
        path.pop();
    }
}

/// Collects a value and everything in it.
fn every_node(place: Place, value: &Value, path: &mut Path, out: &mut Set) {
    out.insert(path);
    for (element, (value, place)) in place.children(value).into_iter().flatten() {
        path.push(element);
        every_node(place, value, path, out);
        path.pop();
    }
}

/// The fields that an applied configuration mentions: leaves and identified items.
pub(super) fn mentioned(place: Place, value: &Value) -> Set {
    let mut out = Set::default();
    mention(place, value, &mut Vec::new(), &mut out);
    out
}

fn mention(place: Place, value: &Value, path: &mut Path, out: &mut Set) {
    let children = place.children(value).filter(|children| !children.is_empty());
    let Some(children) = children else { return out.insert(path) };
    for (element, (child, place)) in children {
        path.push(element);
        if value.is_array() {
            out.insert(path);
        }
        mention(place, child, path, out);
        path.pop();
    }
}
