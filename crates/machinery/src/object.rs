//! API objects as JSON trees.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use skiff_ordered::Ordered as _;
use thiserror::Error;

/// An API object: a JSON object with the accessors that every kind shares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Map<String, Value>);

/// The JSON value was not an object.
#[derive(Debug, Error)]
#[error("expected a JSON object, got {0}")]
pub struct NotAnObject(&'static str);

/// An object does not fit the Rust type of its kind; the message names the field.
#[derive(Debug, Error)]
#[error("cannot decode {kind}: {source}")]
pub struct DecodeError {
    kind: String,
    source: serde_json::Error,
}

impl From<Map<String, Value>> for Object {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

impl Object {
    /// Takes a JSON object as it is.
    pub fn from_value(value: Value) -> Result<Self, NotAnObject> {
        match value {
            Value::Object(map) => Ok(Self(map)),
            Value::Null => Err(NotAnObject("null")),
            Value::Bool(_) => Err(NotAnObject("a boolean")),
            Value::Number(_) => Err(NotAnObject("a number")),
            Value::String(_) => Err(NotAnObject("a string")),
            Value::Array(_) => Err(NotAnObject("an array")),
        }
    }

    /// The JSON form of a typed object.
    ///
    /// # Panics
    /// If `typed` does not serialise to a JSON object; the `k8s_openapi` root types all do.
    pub fn from_typed<T: Serialize>(typed: &T) -> Self {
        match serde_json::to_value(typed) {
            Ok(Value::Object(map)) => Self(map),
            other => panic!("a root type serialises to a JSON object, got {other:?}"),
        }
    }

    /// Decodes into a typed object.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        T::deserialize(&self.0).map_err(|source| DecodeError { kind: self.kind().to_owned(), source })
    }

    /// The tree.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The tree, mutable.
    pub fn as_map_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.0
    }

    /// The tree as a JSON value.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// The value at a path of object keys, e.g. `["spec", "clusterIP"]`.
    pub fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |value, key| value.get(key))
    }

    /// The string at a path; empty when absent or not a string.
    pub fn str(&self, path: &[&str]) -> &str {
        self.get(path).and_then(Value::as_str).unwrap_or("")
    }

    /// The integer at a path; none when absent or not an integer.
    pub fn int(&self, path: &[&str]) -> Option<i64> {
        self.get(path).and_then(Value::as_i64)
    }

    /// Sets the value at a path, making objects on the way (a non-object in the way is replaced).
    pub fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        let Some((last, parents)) = path.split_last() else { return };
        let mut map = &mut self.0;
        for key in parents {
            let slot = map.entry(*key).or_insert_with(|| Value::Object(Map::new()));
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            let Value::Object(next) = slot else { unreachable!("made an object just above") };
            map = next;
        }
        map.insert((*last).to_owned(), value.into());
    }

    /// Removes and returns the value at a path.
    pub fn remove(&mut self, path: &[&str]) -> Option<Value> {
        let (last, parents) = path.split_last()?;
        let mut map = &mut self.0;
        for key in parents {
            map = map.get_mut(*key)?.as_object_mut()?;
        }
        map.remove(*last)
    }

    /// `apiVersion`.
    pub fn api_version(&self) -> &str {
        self.str(&["apiVersion"])
    }

    /// `kind`.
    pub fn kind(&self) -> &str {
        self.str(&["kind"])
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.str(&["metadata", "name"])
    }

    /// `metadata.namespace`; empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.str(&["metadata", "namespace"])
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.str(&["metadata", "uid"])
    }

    /// `metadata.resourceVersion`; empty when not set.
    pub fn resource_version(&self) -> &str {
        self.str(&["metadata", "resourceVersion"])
    }

    /// Whether `metadata.deletionTimestamp` is set.
    pub fn is_terminating(&self) -> bool {
        self.get(&["metadata", "deletionTimestamp"]).is_some_and(|v| !v.is_null())
    }

    /// `metadata.finalizers`.
    pub fn finalizers(&self) -> Vec<&str> {
        let list = self.get(&["metadata", "finalizers"]).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// `metadata.labels`.
    pub fn labels(&self) -> BTreeMap<&str, &str> {
        string_map(self.get(&["metadata", "labels"]))
    }

    /// `metadata.annotations`.
    pub fn annotations(&self) -> BTreeMap<&str, &str> {
        string_map(self.get(&["metadata", "annotations"]))
    }
}

fn string_map(value: Option<&Value>) -> BTreeMap<&str, &str> {
    let map = value.and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(k, v)| Some((k.as_str(), v.as_str()?))).one_by_one()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sets_and_removes_by_path() {
        let mut object = Object::default();
        object.set(&["metadata", "name"], "a");
        object.set(&["spec", "ports"], json!([1]));
        assert_eq!(object.name(), "a");
        assert_eq!(object.remove(&["spec", "ports"]), Some(json!([1])));
        assert_eq!(object.into_value(), json!({"metadata": {"name": "a"}, "spec": {}}));
    }
}
