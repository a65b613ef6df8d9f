//! Which parts of a value are owned by themselves.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::set::Element;
use crate::schema::{ListKind, Schema, Type};

/// How a value is divided.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// Not at all.
    Leaf,
    /// By entries.
    Entries(Type),
    /// By items, which these fields identify.
    Items(Type, &'static [&'static str]),
    /// By items, each of which is a scalar.
    Scalars,
}

/// A value's children, with the element that leads to each.
pub(super) type Children<'v> = BTreeMap<Element, (&'v Value, Place)>;

/// What is known of the place of a value: its type, and how the field that holds it merges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) ty: Type,
    list: ListKind,
}

impl Place {
    /// The place of a whole object.
    pub(super) fn root(definition: &str) -> Self {
        Self { ty: Schema::global().root(definition), list: ListKind::Granular }
    }

    /// A place that no field describes: an item or the value of a map entry.
    fn inner(ty: Type) -> Self {
        let list = if matches!(ty, Type::Map(_)) { ListKind::Granular } else { ListKind::Atomic };
        Self { ty, list }
    }

    /// How a value at this place is divided.
    pub(super) fn shape(self, value: &Value) -> Shape {
        let schema = Schema::global();
        match (self.ty, self.list, value) {
            (Type::Object(id), _, Value::Object(_)) if !schema.get(id).atomic => Shape::Entries(self.ty),
            (Type::Map(_), ListKind::Granular, Value::Object(_)) => Shape::Entries(self.ty),
            // Without a schema, maps are divided and lists are not.
            (Type::Any, _, Value::Object(_)) => Shape::Entries(self.ty),
            (Type::List(inner), ListKind::Map(keys), Value::Array(_)) => {
                Shape::Items(schema.inner(inner), keys)
            }
            (Type::List(_), ListKind::Set, Value::Array(_)) => Shape::Scalars,
            _ => Shape::Leaf,
        }
    }

    /// The place of an entry of a value at a place of type `ty`.
    pub(super) fn entry(ty: Type, name: &str) -> Self {
        let schema = Schema::global();
        match ty {
            Type::Map(inner) => Self::inner(schema.inner(inner)),
            ty => Self::field(ty, name).unwrap_or_else(|| Self::inner(Type::Any)),
        }
    }

    /// The place of a field that the schema knows.
    pub(super) fn field(ty: Type, name: &str) -> Option<Self> {
        Schema::global().field(ty, name).map(|field| Self { ty: field.ty, list: field.list })
    }

    /// The place of the items of a list at this place.
    pub(super) fn items(self) -> Self {
        match self.ty {
            Type::List(inner) => Self::item(Schema::global().inner(inner)),
            _ => Self::inner(Type::Any),
        }
    }

    /// The place of an item of a list.
    pub(super) fn item(ty: Type) -> Self {
        Self::inner(ty)
    }

    /// The parts of a value that are owned by themselves; `None` if it is owned as a whole.
    pub(super) fn children(self, value: &Value) -> Option<Children<'_>> {
        match (self.shape(value), value) {
            (Shape::Entries(ty), Value::Object(map)) => {
                let entries = map.iter();
                Some(entries.map(|(name, v)| (Element::field(name), (v, Self::entry(ty, name)))).collect())
            }
            (Shape::Items(ty, keys), Value::Array(items)) => {
                let child = |item| (identify(item, keys), (item, Self::item(ty)));
                Some(items.iter().map(child).collect())
            }
            (Shape::Scalars, Value::Array(items)) => {
                let child = |item| (Element::value(item), (item, Self::inner(Type::String)));
                Some(items.iter().map(child).collect())
            }
            _ => None,
        }
    }
}

/// The element that leads to an item; a key field that the item leaves out has its default.
pub(super) fn identify(item: &Value, keys: &'static [&'static str]) -> Element {
    static TCP: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| Value::from("TCP"));
    let key = |key: &&'static str| match item.get(key) {
        Some(value) => Some((*key, value)),
        // The only key field with a default.
        None if *key == "protocol" => Some((*key, &*TCP)),
        None => None,
    };
    Element::key(keys.iter().filter_map(key).collect())
}

/// The object from which an object is created: what Go's empty struct of the kind is as JSON.
pub(super) fn empty_object(definition: &str) -> Map<String, Value> {
    let mut map = Map::new();
    for part in ["metadata", "spec", "status"] {
        map.insert(part.to_owned(), Value::Object(Map::new()));
    }
    if definition == "io.k8s.api.core.v1.Pod" {
        map["spec"]["containers"] = Value::Array(Vec::new());
    }
    map
}
