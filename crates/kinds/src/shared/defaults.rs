//! Filling defaults into JSON trees. A field that is null counts as absent.

use serde_json::{Map, Value};

/// Sets a field that is absent.
pub(crate) fn fill(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), value.into());
    }
}

/// Sets a text field that is absent or empty: Kubernetes does not tell these apart for required texts.
pub(crate) fn fill_text(map: &mut Map<String, Value>, key: &str, text: &str) {
    if map.get(key).is_none_or(|value| value.is_null() || value.as_str() == Some("")) {
        map.insert(key.to_owned(), text.into());
    }
}

/// Sets an integer field that is absent or zero.
pub(crate) fn fill_number(map: &mut Map<String, Value>, key: &str, number: i64) {
    if map.get(key).is_none_or(|value| value.is_null() || value.as_i64() == Some(0)) {
        map.insert(key.to_owned(), number.into());
    }
}

/// The object in a field, made if it is not there.
pub(crate) fn object_mut<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let slot = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    let Value::Object(inner) = slot else { unreachable!("made an object just above") };
    inner
}

/// The object in a field, if it is there.
pub(crate) fn existing_mut<'a>(
    map: &'a mut Map<String, Value>,
    key: &str,
) -> Option<&'a mut Map<String, Value>> {
    map.get_mut(key).and_then(Value::as_object_mut)
}

/// The objects in a list-valued field.
pub(crate) fn list_mut<'a>(
    map: &'a mut Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    map.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}
