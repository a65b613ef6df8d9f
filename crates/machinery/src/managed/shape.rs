//! Which parts of a value are owned by themselves.

use std::collections::BTreeMap;

use serde_json::Value;
use skiff_ordered::Ordered as _;
use skiff_schema::{ListKind, Raw, Root, Schema, Text, Type, TypeId};

use super::set::Element;

/// How a value is divided.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape<'s> {
    /// Not at all.
    Leaf,
    /// By entries.
    Entries,
    /// By items, which these fields identify.
    Items(&'s [Text]),
    /// By items, each of which is a scalar.
    Scalars,
}

/// A value's children, with the element that leads to each.
pub(super) type Children<'s, 'v> = BTreeMap<Element, (&'v Value, Place<'s>)>;

/// What is known of the place of a value: its type, and how the field that holds it merges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'s> {
    schema: &'s Schema,
    pub(super) ty: Type,
    list: &'s ListKind,
}

static ATOMIC: ListKind = ListKind::Atomic;
static GRANULAR: ListKind = ListKind::Granular;

impl<'s> Place<'s> {
    /// The place of a whole object.
    pub(super) fn root(root: &'s Root) -> Self {
        Self { schema: root.schema(), ty: root.ty(), list: &GRANULAR }
    }

    /// The place of an item or of the value of a map's entry.
    fn inner(self, id: TypeId) -> Self {
        Self { schema: self.schema, ty: self.schema.inner(id), list: self.schema.inner_list(id) }
    }

    /// A place of which nothing is known.
    fn unknown(self) -> Self {
        Self { schema: self.schema, ty: Type::ANY, list: &ATOMIC }
    }

    /// How a value at this place is divided.
    pub(super) fn shape(self, value: &Value) -> Shape<'s> {
        match (self.ty, self.list, value) {
            (Type::Object(id), _, Value::Object(_)) if !self.schema.get(id).atomic => Shape::Entries,
            // A field may divide what its definition would leave whole.
            (Type::Object(_) | Type::Map(_), ListKind::Granular, Value::Object(_)) => Shape::Entries,
            (Type::Raw(Raw::Extension), ..) => Shape::Leaf,
            // Without a schema, maps are divided and lists are not.
            (Type::Raw(_), _, Value::Object(_)) => Shape::Entries,
            (Type::List(_), ListKind::Map(keys), Value::Array(_)) => Shape::Items(keys),
            (Type::List(_), ListKind::Set, Value::Array(_)) => Shape::Scalars,
            _ => Shape::Leaf,
        }
    }

    /// The place of an entry of a value at this place.
    pub(super) fn entry(self, name: &str) -> Self {
        match self.ty {
            Type::Map(inner) => self.inner(inner),
            _ => self.field(name).unwrap_or_else(|| self.unknown()),
        }
    }

    /// The place of a field that the schema knows or allows.
    pub(super) fn field(self, name: &str) -> Option<Self> {
        match (self.schema.field(self.ty, name), self.ty) {
            (Some(field), _) => Some(Self { schema: self.schema, ty: field.ty, list: &field.list }),
            (None, Type::Object(id)) if self.schema.get(id).open => Some(self.unknown()),
            (None, _) => None,
        }
    }

    /// The place of an entry of which the schema says what it is.
    pub(super) fn known(self, name: &str) -> Option<Self> {
        match self.ty {
            Type::Map(inner) => Some(self.inner(inner)),
            _ => self.schema.field(self.ty, name).and_then(|_| self.field(name)),
        }
    }

    /// The place of the items of a list at this place.
    pub(super) fn item(self) -> Self {
        match self.ty {
            Type::List(inner) => self.inner(inner),
            _ => self.unknown(),
        }
    }

    /// The parts of a value that are owned by themselves; `None` if it is owned as a whole.
    pub(super) fn children<'v>(self, value: &'v Value) -> Option<Children<'s, 'v>> {
        match (self.shape(value), value) {
            (Shape::Entries, Value::Object(map)) => {
                let child = |(name, v): (&String, &'v Value)| (Element::field(name), (v, self.entry(name)));
                Some(map.iter().map(child).one_by_one())
            }
            (Shape::Items(keys), Value::Array(items)) => {
                let child = |item: &'v Value| (self.identify(item, keys), (item, self.item()));
                Some(items.iter().map(child).one_by_one())
            }
            (Shape::Scalars, Value::Array(items)) => {
                Some(items.iter().map(|item| (Element::value(item), (item, self.item()))).one_by_one())
            }
            _ => None,
        }
    }

    /// The element that leads to an item of a list at this place; a key field that it leaves out has its default.
    pub(super) fn identify(self, item: &Value, keys: &[Text]) -> Element {
        let ty = self.item().ty;
        let default = |key: &str| self.schema.field(ty, key)?.default_value();
        let value = |key: &str| item.get(key).cloned().or_else(|| default(key));
        Element::key(keys.iter().filter_map(|key| Some((key.to_string(), value(key)?))).one_by_one())
    }
}
