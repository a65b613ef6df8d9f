//! Columns and cells that several kinds print.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use skiff_ordered::Ordered as _;

use crate::{Cell, Column, ColumnType, Object, Row, duration};

/// What a cell shows for something that is not set.
pub const NONE: &str = "<none>";

/// The column that every Table starts with.
pub fn name_column() -> Column {
    Column { format: "name".into(), ..text("Name", "Name of the object, unique within its namespace.") }
}

/// The time since creation.
pub fn age_column() -> Column {
    text("Age", "Time since the object was created.")
}

/// A column of strings.
pub fn text(name: &'static str, description: &'static str) -> Column {
    Column {
        name: name.into(),
        kind: ColumnType::String,
        format: "".into(),
        description: description.into(),
        priority: 0,
    }
}

/// A column of integers.
pub fn integer(name: &'static str, description: &'static str) -> Column {
    Column { kind: ColumnType::Integer, ..text(name, description) }
}

/// A column of booleans.
pub fn boolean(name: &'static str, description: &'static str) -> Column {
    Column { kind: ColumnType::Boolean, ..text(name, description) }
}

/// A column of times.
pub fn date(name: &'static str, description: &'static str) -> Column {
    Column { kind: ColumnType::Date, ..text(name, description) }
}

/// A column of strings that is shown with `-o wide` only.
pub fn wide(name: &'static str, description: &'static str) -> Column {
    Column { priority: 1, ..text(name, description) }
}

/// A row of these cells.
pub fn row<const N: usize>(cells: [Cell; N]) -> Row {
    Row { cells: cells.into(), completed: None }
}

/// The cells Name and Age.
pub fn name_and_age(object: &Object, now: Timestamp) -> Row {
    row([object.name().into(), age(object, now)])
}

/// The cell Age.
pub fn age(object: &Object, now: Timestamp) -> Cell {
    duration::since(object.str(&["metadata", "creationTimestamp"]), now).into()
}

/// Text, or `<none>` when it is empty.
pub fn or_none(text: String) -> String {
    if text.is_empty() { NONE.to_owned() } else { text }
}

/// `k=v,k2=v2` in the order of keys, or `<none>`.
pub fn labels(map: &BTreeMap<&str, &str>) -> String {
    let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
    or_none(pairs.join(","))
}

/// The strings of an object-valued field.
pub fn string_map<'a>(object: &'a Object, path: &[&str]) -> BTreeMap<&'a str, &'a str> {
    let map = object.get(path).and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).one_by_one()
}

/// The items of a list-valued field; none when it is absent.
pub fn items<'a>(object: &'a Object, path: &[&str]) -> &'a [Value] {
    object.get(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The strings of a list-valued field.
pub fn strings<'a>(object: &'a Object, path: &[&str]) -> Vec<&'a str> {
    items(object, path).iter().filter_map(Value::as_str).collect()
}

/// A string field of a JSON value; empty when absent.
pub fn str_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

/// An integer field of a JSON value; 0 when absent.
pub fn int_of(value: &Value, key: &str) -> i64 {
    value.get(key).and_then(Value::as_i64).unwrap_or(0)
}

/// The first three items joined, and how many more there are; `empty` when there are none.
pub fn three_of(items: &[String], empty: &str) -> String {
    match items.len() {
        0 => empty.to_owned(),
        1..=3 => items.join(","),
        more => format!("{} + {} more...", items[..3].join(","), more - 3),
    }
}
