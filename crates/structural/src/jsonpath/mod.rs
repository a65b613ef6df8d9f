//! Paths into objects as kubectl and printer columns write them: `.status.conditions[?(@.type=="Ready")].status`.
//!
//! The language is that of `k8s.io/client-go/util/jsonpath` within one pair of braces; `range` and `end` are read and
//! mean nothing.

mod compare;
mod find;
mod parse;

use serde_json::Value;
use thiserror::Error;

pub use find::FindError;

use crate::numbers::go_float;

/// Why a text is no path, in Kubernetes' words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct PathError(String);

/// A path into objects.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    nodes: Vec<Node>,
}

/// One step, taken by each value that the steps before led to.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    /// This text, whatever the values are.
    Text(String),
    /// The field of this name.
    Field(String),
    /// Items from one place to another.
    Slice(Slice),
    /// Items for which this holds.
    Filter {
        left: Vec<Node>,
        operator: Operator,
        right: Vec<Node>,
    },
    Int(i64),
    Float(f64),
    Bool(bool),
    /// All fields or items.
    Wildcard,
    /// The value and all values with something in them below it.
    Recursive,
    /// What each of these leads to.
    Union(Vec<Vec<Node>>),
    /// A word that means nothing here.
    Identifier(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slice {
    start: Option<i64>,
    end: Option<i64>,
    /// Whether the end is that of the one item at the start.
    is_one: bool,
    step: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    Exists,
    Less,
    Greater,
    Equal,
    NotEqual,
    LessEqual,
    GreaterEqual,
    Unknown(String),
}

impl JsonPath {
    /// Reads a path without braces, as in `jsonPath` of printer columns and selectable fields.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        Ok(Self { nodes: parse::action(text, 0)? })
    }

    /// What the path leads to, in order; nothing where fields are missing.
    pub fn find(&self, value: &Value) -> Result<Vec<Value>, FindError> {
        let found = find::walk(&self.nodes, vec![std::borrow::Cow::Borrowed(value)])?;
        Ok(found.into_iter().map(std::borrow::Cow::into_owned).collect())
    }

    /// The first value that the path leads to; none also where it leads nowhere, as printer columns want it.
    pub fn first(&self, value: &Value) -> Option<Value> {
        self.find(value).ok()?.into_iter().next()
    }
}

/// A value that a path led to, as columns of type `string` show it.
pub fn print(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => go_float(number.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}

/// A value that a path led to, as the cell of a column of a type: null where it does not fit. That of a `date` is the
/// text, from which the caller makes an age.
pub fn cell(column_type: &str, found: &Value) -> Value {
    let fits = match column_type {
        "string" => return print(found).into(),
        "integer" => match (found.as_i64(), found.as_f64()) {
            (Some(number), _) => return number.into(),
            #[expect(clippy::cast_possible_truncation, reason = "towards zero, saturating")]
            (None, Some(number)) => return (number as i64).into(),
            _ => false,
        },
        "number" => found.is_number(),
        "boolean" => found.is_boolean(),
        "date" => found.is_string(),
        _ => false,
    };
    if fits { found.clone() } else { Value::Null }
}

#[cfg(test)]
mod tests;
