//! Following steps through values.

use std::borrow::Cow;

use serde_json::Value;
use thiserror::Error;

use super::compare::holds;
use super::{Node, Operator, Slice};

/// Values that a path may lead to, on the way and at its end; each step costs as many.
const MOST: usize = 100_000;

/// Why a path cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct FindError(pub(super) String);

type Values<'v> = Vec<Cow<'v, Value>>;

/// What the nodes lead to from these values.
pub(super) fn walk<'v>(nodes: &[Node], mut values: Values<'v>) -> Result<Values<'v>, FindError> {
    for node in nodes {
        values = step(node, values)?;
        if values.len() > MOST {
            return Err(FindError(format!("the path leads to more than {MOST} values")));
        }
    }
    Ok(values)
}

fn step<'v>(node: &Node, values: Values<'v>) -> Result<Values<'v>, FindError> {
    let constant = |value: Value| values.iter().map(|_| Cow::Owned(value.clone())).collect();
    Ok(match node {
        Node::Text(text) => vec![Cow::Owned(text.as_str().into())],
        Node::Int(number) => constant((*number).into()),
        Node::Float(number) => constant((*number).into()),
        Node::Bool(is) => constant((*is).into()),
        Node::Field(name) => values.into_iter().filter_map(|value| field(value, name)).collect(),
        Node::Wildcard => values.into_iter().flat_map(children).collect(),
        Node::Recursive => {
            let mut out = Vec::new();
            values.into_iter().try_for_each(|value| descend(value, &mut out))?;
            out
        }
        Node::Slice(slice) => {
            let mut out = Vec::new();
            for value in values {
                if value.is_null() {
                    continue;
                }
                let Some(range) = range(slice, &value)? else { return Ok(out) };
                let step = usize::try_from(slice.step.unwrap_or(1)).unwrap_or(1);
                out.extend(children(value).skip(range.start).take(range.len()).step_by(step));
            }
            out
        }
        Node::Union(paths) => {
            let mut out = Vec::new();
            for path in paths {
                out.extend(walk(path, values.clone())?);
            }
            out
        }
        Node::Filter { left, operator, right } => {
            let mut out = Vec::new();
            for value in values {
                if !value.is_array() {
                    return Err(FindError(format!("{value} is not array or slice and cannot be filtered")));
                }
                for item in children(value) {
                    if passes(&item, left, operator, right)? {
                        out.push(item);
                    }
                }
            }
            out
        }
        Node::Identifier(name) => return Err(FindError(format!("unrecognized identifier {name}"))),
    })
}

fn field<'v>(value: Cow<'v, Value>, name: &str) -> Option<Cow<'v, Value>> {
    match value {
        Cow::Borrowed(value) => value.as_object()?.get(name).map(Cow::Borrowed),
        Cow::Owned(mut value) => value.as_object_mut()?.remove(name).map(Cow::Owned),
    }
}

fn children<'v>(value: Cow<'v, Value>) -> Box<dyn Iterator<Item = Cow<'v, Value>> + 'v> {
    match value {
        Cow::Borrowed(Value::Object(fields)) => Box::new(fields.values().map(Cow::Borrowed)),
        Cow::Borrowed(Value::Array(items)) => Box::new(items.iter().map(Cow::Borrowed)),
        Cow::Owned(Value::Object(fields)) => Box::new(fields.into_iter().map(|(_, value)| Cow::Owned(value))),
        Cow::Owned(Value::Array(items)) => Box::new(items.into_iter().map(Cow::Owned)),
        _ => Box::new(std::iter::empty()),
    }
}

/// A value and all below it, as far as there is something in them.
fn descend<'v>(value: Cow<'v, Value>, out: &mut Values<'v>) -> Result<(), FindError> {
    let below: Vec<_> = children(value.clone()).collect();
    if below.is_empty() {
        return Ok(());
    }
    if out.len() > MOST {
        return Err(FindError(format!("the path leads to more than {MOST} values")));
    }
    out.push(value);
    below.into_iter().try_for_each(|value| descend(value, out))
}

/// The places of a slice in a list; none if it asks for no item at all.
fn range(slice: &Slice, value: &Value) -> Result<Option<std::ops::Range<usize>>, FindError> {
    let fail = |text: String| Err(FindError(text));
    let Some(items) = value.as_array() else {
        let ty = match value {
            Value::Object(_) => "map[string]interface {}",
            Value::String(_) => "string",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float64",
            _ => "int64",
        };
        return fail(format!("{ty} is not array or slice"));
    };
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let from_end = |place: i64| if place < 0 { place.saturating_add(length) } else { place };
    let start = from_end(slice.start.unwrap_or(0));
    let end = slice.end.unwrap_or(length);
    let end = if slice.is_one && end == 0 { length } else { from_end(end) };
    if start == end {
        return Ok(None);
    }
    if start >= length || start < 0 {
        return fail(format!("array index out of bounds: index {start}, length {length}"));
    }
    if end > length || end < 0 {
        return fail(format!("array index out of bounds: index {}, length {length}", end - 1));
    }
    if start > end {
        return fail(format!("starting index {start} is greater than ending index {end}"));
    }
    if slice.step.is_some_and(|step| step <= 0) {
        return fail("step must be > 0".to_owned());
    }
    let place = |place: i64| usize::try_from(place).unwrap_or_default();
    Ok(Some(place(start)..place(end)))
}

fn passes(item: &Value, left: &[Node], operator: &Operator, right: &[Node]) -> Result<bool, FindError> {
    let one = |path| walk(path, vec![Cow::Borrowed(item)]);
    let found = one(left);
    if *operator == Operator::Exists {
        return Ok(found.is_ok_and(|found| !found.is_empty()));
    }
    let several = || FindError("can only compare one element at a time".to_owned());
    let left = match found?.as_slice() {
        [] => return Ok(false),
        [only] => only.clone(),
        _ => return Err(several()),
    };
    match one(right)?.as_slice() {
        [] => Ok(false),
        [only] => holds(&left, operator, only),
        _ => Err(several()),
    }
}
