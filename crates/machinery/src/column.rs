//! Columns of Tables, and what fills them.

use jiff::Timestamp;
use serde_json::Value;
use skiff_schema::Text;

use crate::{Native, Object};

/// JSON type of a column's cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum ColumnType {
    String,
    Integer,
    Number,
    Boolean,
    Date,
}

impl ColumnType {
    /// As in Tables and definitions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Date => "date",
        }
    }
}

/// A column of a server-side Table.
#[derive(Clone, Debug)]
pub struct Column {
    /// Header; clients upper-case it.
    pub name: Text,
    /// Type of the cells.
    pub kind: ColumnType,
    /// `name` for the Name column, else mostly empty.
    pub format: Text,
    /// What the column means.
    pub description: Text,
    /// 0: always shown; 1: only with `-o wide`.
    pub priority: i32,
}

/// One cell: a JSON string, number or boolean.
pub type Cell = Value;

/// The cells of one object, in column order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// One per column.
    pub cells: Vec<Cell>,
    /// Whether the row carries the condition `Completed` (pods that have ended), with this reason.
    pub completed: Option<String>,
}

/// Fills the cells of an object's row; `now` is what ages are counted from.
pub type Printer = Native<fn(&Object, Timestamp) -> Row, dyn Fn(&Object, Timestamp) -> Row + Send + Sync>;

impl Printer {
    /// The cells of one object.
    pub fn row(&self, object: &Object, now: Timestamp) -> Row {
        match self {
            Self::Fixed(print) => print(object, now),
            Self::Made(print) => print(object, now),
        }
    }
}
