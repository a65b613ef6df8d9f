//! `additionalPrinterColumns`: the Table of a custom kind.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::cells::{self, name_column};
use skiff_machinery::{Cell, Column, ColumnType, Native, Object, Printer, Row, duration};
use skiff_structural::jsonpath::{self, JsonPath};

use super::definition::text;

/// A column and where its cells come from; nowhere if the path is none.
struct Source {
    kind: ColumnType,
    path: Option<JsonPath>,
}

/// The columns of a version, and what fills them. Who names none gets the age.
pub(super) fn of<'v>(given: impl Iterator<Item = &'v Value>) -> (Vec<Column>, Printer) {
    let mut columns = vec![name_column()];
    let mut sources = Vec::new();
    for column in given {
        let kind = column_type(text(column, "type"));
        columns.push(Column {
            name: text(column, "name").to_owned().into(),
            kind,
            format: text(column, "format").to_owned().into(),
            description: text(column, "description").to_owned().into(),
            priority: column["priority"].as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or(0),
        });
        sources.push(Source { kind, path: JsonPath::parse(text(column, "jsonPath")).ok() });
    }
    if sources.is_empty() {
        columns.push(cells::date("Age", "Time since the object was created."));
        let path = JsonPath::parse(".metadata.creationTimestamp").ok();
        sources.push(Source { kind: ColumnType::Date, path });
    }
    let print = move |object: &Object, now: Timestamp| {
        let tree = Value::Object(object.as_map().clone());
        let cells = sources.iter().map(|source| source.cell(&tree, now));
        Row { cells: std::iter::once(object.name().into()).chain(cells).collect(), completed: None }
    };
    (columns, Native::Made(Arc::new(print)))
}

fn column_type(name: &str) -> ColumnType {
    match name {
        "integer" => ColumnType::Integer,
        "number" => ColumnType::Number,
        "boolean" => ColumnType::Boolean,
        "date" => ColumnType::Date,
        _ => ColumnType::String,
    }
}

impl Source {
    /// A value of another type than the column's is shown as nothing.
    fn cell(&self, object: &Value, now: Timestamp) -> Cell {
        let Some(value) = self.path.as_ref().and_then(|path| path.first(object)) else { return Cell::Null };
        match (self.kind, jsonpath::cell(self.kind.as_str(), &value)) {
            (ColumnType::Date, Cell::String(time)) if time.parse::<Timestamp>().is_err() => {
                "<invalid>".into()
            }
            (ColumnType::Date, Cell::String(time)) => duration::since(&time, now).into(),
            (_, cell) => cell,
        }
    }
}
