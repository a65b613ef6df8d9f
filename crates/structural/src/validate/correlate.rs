//! Which part of an object replaces which part of the one before (KEP-4008).

use serde_json::Value;

use crate::model::{ListType, Structural, Type};

/// A value, the one that it replaces, and the schema of both.
#[derive(Clone, Copy)]
pub(crate) struct Correlated<'a> {
    pub(crate) new: &'a Value,
    pub(crate) old: &'a Value,
    pub(crate) schema: &'a Structural,
}

impl<'a> Correlated<'a> {
    /// The field or entry of a name, where both have it and it has a schema.
    pub(crate) fn key(self, name: &str) -> Option<Self> {
        let (new, old) = (self.new.as_object()?.get(name)?, self.old.as_object()?.get(name)?);
        Some(Self { new, old, schema: self.schema.field(name)? })
    }

    /// The item at a place of the new list, where the old one, being of the type `map`, has one of the same keys.
    pub(crate) fn index(self, index: usize) -> Option<Self> {
        if self.schema.list_type != Some(ListType::Map) || self.schema.ty != Type::Array {
            return None;
        }
        let new = self.new.as_array()?.get(index)?;
        let keys = &self.schema.list_map_keys;
        let old = self.old.as_array()?.iter().find(|old| same_key(keys, new, old))?;
        Some(Self { new, old, schema: self.schema.items.as_deref()? })
    }

    /// Whether nothing changed; unknown where the schema knows nothing, and then told as changed.
    pub(crate) fn is_unchanged(self) -> bool {
        match (self.new, self.old) {
            (Value::Array(new), Value::Array(old)) => {
                if new.len() != old.len() {
                    return false;
                }
                if self.schema.list_type != Some(ListType::Map) {
                    return new == old;
                }
                (0..new.len()).all(|at| self.index(at).is_some_and(Self::is_unchanged))
            }
            (Value::Object(new), Value::Object(old)) => {
                new.len() == old.len()
                    && new.keys().all(|name| self.key(name).is_some_and(Self::is_unchanged))
            }
            (new, old) => new == old,
        }
    }
}

/// Whether two items of a list of the type `map` are the same one: all keys are there, scalar and equal.
pub(crate) fn same_key(keys: &[String], a: &Value, b: &Value) -> bool {
    let scalar = |item: &'_ Value, key: &str| match item.get(key) {
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => None,
        Some(scalar) => Some(scalar.clone()),
    };
    !keys.is_empty()
        && keys.iter().all(|key| scalar(a, key).is_some_and(|value| Some(value) == scalar(b, key)))
}
