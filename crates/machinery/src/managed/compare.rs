//! Which fields differ between two objects, and which an object mentions.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use skiff_ordered::Ordered as _;

use super::set::{Element, Set};
use super::shape::{Children, Place, Shape};

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
    pub(super) fn written(self) -> Set {
        self.added.union(&self.modified)
    }

    /// Takes those of some fields away.
    pub(super) fn take_away(&mut self, fields: &Set) {
        self.added.take_away(fields);
        self.modified.take_away(fields);
        self.removed.take_away(fields);
    }

    /// Records what happened at one element.
    fn child(&mut self, element: Element, place: Place<'_>, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (Some(old), Some(new)) => match both(place, old, new) {
                Outcome::Same => {}
                Outcome::Modified => self.modified.graft(element, true, Set::default()),
                Outcome::Below(below) => {
                    self.added.graft(element.clone(), false, below.added);
                    self.modified.graft(element.clone(), false, below.modified);
                    self.removed.graft(element, false, below.removed);
                }
            },
            (Some(old), None) => self.removed.graft(element, true, every_node(place, old)),
            (None, Some(new)) => self.added.graft(element, true, every_node(place, new)),
            (None, None) => {}
        }
    }
}

/// What became of a value that was there and is there.
enum Outcome {
    Same,
    /// Another value, owned as a whole.
    Modified,
    /// Changes inside.
    Below(Changes),
}

/// Compares two objects, whose place is that of whole objects.
pub(super) fn compare(place: Place<'_>, old: &Map<String, Value>, new: &Map<String, Value>) -> Changes {
    entries(place, old, new)
}

fn entries(place: Place<'_>, old: &Map<String, Value>, new: &Map<String, Value>) -> Changes {
    let mut changes = Changes::default();
    for (name, before) in old {
        let after = new.get(name);
        let is_none = before.is_null() && after.is_none();
        if after != Some(before) && !is_none {
            changes.child(Element::field(name), place.entry(name), Some(before), after);
        }
    }
    for (name, after) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        changes.child(Element::field(name), place.entry(name), None, Some(after));
    }
    changes
}

fn both(place: Place<'_>, old: &Value, new: &Value) -> Outcome {
    if old == new {
        return Outcome::Same;
    }
    if let (Shape::Entries, Value::Object(old), Value::Object(new)) = (place.shape(new), old, new) {
        return Outcome::Below(entries(place, old, new));
    }
    // Null is a list or a map of which nothing is there.
    let children = |value| match value {
        &Value::Null => Some(Children::new()),
        value => place.children(value),
    };
    let (Some(before), Some(after)) = (children(old), children(new)) else {
        return Outcome::Modified;
    };
    if before.is_empty() && after.is_empty() {
        // Null and an empty list or map differ as values that are owned as a whole do.
        return Outcome::Modified;
    }
    let mut changes = Changes::default();
    let elements: BTreeSet<&Element> = before.keys().chain(after.keys()).to_set();
    for element in elements {
        let (old, new) = (before.get(element), after.get(element));
        if let Some((_, place)) = old.or(new) {
            changes.child(
                element.clone(),
                *place,
                old.map(|(value, _)| *value),
                new.map(|(value, _)| *value),
            );
        }
    }
    Outcome::Below(changes)
}

/// Everything inside a value.
fn every_node(place: Place<'_>, value: &Value) -> Set {
    let mut out = Set::default();
    for (element, (child, place)) in place.children(value).into_iter().flatten() {
        out.graft(element, true, every_node(place, child));
    }
    out
}

/// The fields that an applied configuration mentions: leaves and identified items.
pub(super) fn mentioned(place: Place<'_>, config: &Map<String, Value>) -> Set {
    let mut out = Set::default();
    for (name, value) in config {
        mention(place.entry(name), value, Element::field(name), false, &mut out);
    }
    out
}

fn mention(place: Place<'_>, value: &Value, element: Element, is_item: bool, out: &mut Set) {
    let mut below = Set::default();
    let children = place.children(value).unwrap_or_default();
    // Of a list whose items are owned by themselves there is nothing to own when it has none.
    let has_no_items = value.is_array() && !matches!(place.shape(value), Shape::Leaf);
    let is_leaf = children.is_empty() && !has_no_items;
    for (element, (child, place)) in children {
        mention(place, child, element, value.is_array(), &mut below);
    }
    out.graft(element, is_item || is_leaf, below);
}
