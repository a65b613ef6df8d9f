//! Maps and objects.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::declared::{DeclaredType, Shape};
use crate::error::EvalError;
use crate::escape::{escape, unescape};

use super::{Key, Meter, Value, equal};

/// A map, or an object with fields.
#[derive(Clone)]
pub struct Map<'a>(Entries<'a>);

#[derive(Clone)]
enum Entries<'a> {
    /// Of an object; without a declared type, as JSON has it.
    Json {
        object: &'a serde_json::Map<String, Json>,
        declared: Option<&'a DeclaredType>,
    },
    Made(Arc<BTreeMap<Key, Value<'a>>>),
    Fields(&'a (dyn Fields + 'a)),
}

/// Fields that are made when they are asked for, like the variables of an admission policy.
pub trait Fields: Sync {
    /// The value of a field, by its escaped name; `None` when there is no such field.
    fn get(&self, name: &str) -> Option<Result<Value<'_>, EvalError>>;

    /// The escaped names of all fields.
    fn names(&self) -> Vec<&str>;
}

impl fmt::Debug for Map<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Entries::Json { object, .. } => object.fmt(f),
            Entries::Made(entries) => entries.fmt(f),
            Entries::Fields(fields) => fields.names().fmt(f),
        }
    }
}

impl<'a> Map<'a> {
    pub(crate) fn of(entries: BTreeMap<Key, Value<'a>>) -> Self {
        Self(Entries::Made(Arc::new(entries)))
    }

    pub(crate) fn read(
        object: &'a serde_json::Map<String, Json>,
        declared: Option<&'a DeclaredType>,
    ) -> Self {
        Self(Entries::Json { object, declared })
    }

    /// An object whose fields are made when they are asked for.
    pub fn lazy(fields: &'a (dyn Fields + 'a)) -> Self {
        Self(Entries::Fields(fields))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Entries::Json { object, .. } => object.len(),
            Entries::Made(entries) => entries.len(),
            Entries::Fields(fields) => fields.names().len(),
        }
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of an entry.
    pub fn get(&self, key: &Value<'_>) -> Option<Result<Value<'a>, EvalError>> {
        match &self.0 {
            Entries::Made(entries) => entries.get(&Key::of(key)?).cloned().map(Ok),
            Entries::Fields(fields) => match key {
                Value::String(name) => fields.get(name),
                _ => Some(Err(EvalError::no_such_overload())),
            },
            Entries::Json { declared, .. } => match key {
                Value::String(name) => self.field(name),
                _ if declared.is_some() => Some(Err(EvalError::no_such_overload())),
                _ => None,
            },
        }
    }

    /// The value at a key or escaped field name.
    pub fn field(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        match &self.0 {
            Entries::Json { object, declared } => {
                let raw = match declared.map(|declared| &declared.shape) {
                    Some(Shape::Object(of)) if of.name.is_some() => name.to_owned(),
                    Some(Shape::Object(_)) => unescape(name)?,
                    _ => return self.raw(name),
                };
                // A field that is null counts as absent.
                object.get(&raw).filter(|json| !json.is_null())?;
                self.raw(&raw)
            }
            _ => self.get(&Value::text(name)),
        }
    }

    /// The value at a name as JSON has it.
    pub(crate) fn raw(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        let Entries::Json { object, declared } = &self.0 else { return self.get(&Value::text(name)) };
        let json = object.get(name)?;
        let Some(declared) = declared else { return Some(Value::read_part(json, None)) };
        match &declared.shape {
            Shape::Object(of) => of.fields.get(name).map(|field| Value::read(json, field)),
            Shape::Map { values } => Some(Value::read(json, values)),
            _ => Some(Value::read_part(json, None)),
        }
    }

    /// All keys that expressions see.
    pub fn keys(&self) -> Vec<Value<'a>> {
        match &self.0 {
            Entries::Made(entries) => entries.keys().map(Key::value).collect(),
            Entries::Fields(fields) => fields.names().into_iter().map(Value::text).collect(),
            Entries::Json { object, declared } => match declared.map(|declared| &declared.shape) {
                Some(Shape::Object(of)) => {
                    let known = object.keys().filter(|name| of.fields.contains_key(*name));
                    if of.name.is_some() {
                        return known.map(|name| Value::text(name.as_str())).collect();
                    }
                    known.map(|name| escape(name).map_or(Value::text(name.as_str()), Value::text)).collect()
                }
                _ => object.keys().map(|name| Value::text(name.as_str())).collect(),
            },
        }
    }

    /// The name in JSON of an entry with this key.
    pub(crate) fn json_name(&self, key: &str) -> String {
        let escaped = matches!(&self.0, Entries::Json { declared, .. } if is_escaped(*declared));
        if escaped { unescape(key).unwrap_or_else(|| key.to_owned()) } else { key.to_owned() }
    }

    /// The same with one more entry, in place when nobody else holds the map.
    pub(crate) fn insert(self, key: &Value<'a>, value: Value<'a>) -> Result<Self, EvalError> {
        let mut entries = match self.0 {
            Entries::Made(entries) => entries,
            _ => Arc::new(self.entries()?),
        };
        let made = Arc::make_mut(&mut entries);
        match made.entry(Key::insertable(key)?) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(value);
                Ok(Self(Entries::Made(entries)))
            }
            std::collections::btree_map::Entry::Occupied(_) => {
                Err(EvalError::new(format!("insert failed: key {key} already exists")))
            }
        }
    }

    fn entries(&self) -> Result<BTreeMap<Key, Value<'a>>, EvalError> {
        let mut entries = BTreeMap::new();
        for key in self.keys() {
            if let Some(value) = self.get(&key) {
                entries.insert(Key::insertable(&key)?, value?);
            }
        }
        Ok(entries)
    }

    /// Whether both have equal values at the same keys.
    pub(crate) fn equal(&self, meter: &mut Meter, other: &Self) -> Result<bool, EvalError> {
        if let (Entries::Fields(mine), Entries::Fields(others)) = (&self.0, &other.0) {
            return Ok(std::ptr::addr_eq(*mine, *others));
        }
        if self.len() != other.len() {
            return Ok(false);
        }
        meter.work(self.len())?;
        for key in self.keys() {
            match (self.get(&key), other.get(&key)) {
                (None, None) => {}
                (Some(mine), Some(others)) => {
                    if !equal(meter, &mine?, &others?)? {
                        return Ok(false);
                    }
                }
                _ => return Ok(false),
            }
        }
        Ok(self.undeclared_equal(other))
    }

    /// Whether fields that no schema declares are the same where both have them.
    fn undeclared_equal(&self, other: &Self) -> bool {
        let (Entries::Json { object, declared: Some(declared) }, Entries::Json { object: others, .. }) =
            (&self.0, &other.0)
        else {
            return true;
        };
        let Shape::Object(of) = &declared.shape else { return true };
        let unknown = object.iter().filter(|(name, _)| !of.fields.contains_key(*name));
        unknown.into_iter().all(|(name, value)| others.get(name).is_none_or(|other| value == other))
    }

    /// Whether it is read by a declared type: comparing it with something else is an error then.
    pub(crate) fn is_declared(&self) -> bool {
        matches!(&self.0, Entries::Json { declared: Some(_), .. } | Entries::Fields(_))
    }
}

/// Whether entries are fields of an object whose names are escaped.
fn is_escaped(declared: Option<&DeclaredType>) -> bool {
    matches!(declared.map(|declared| &declared.shape), Some(Shape::Object(of)) if of.name.is_none())
}
