//! Values that may be absent. Selecting and indexing them is the evaluation's own.

use crate::error::EvalError;
use crate::value::{Meter, Value};

use super::{Outcome, Table};

pub(super) const FUNCTIONS: Table = &[
    ("optional.of", &["optional_of (A) -> optional(A)"], |_, args| match args {
        [value] => Ok(Value::some(value.clone())),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("optional.ofNonZeroValue", &["optional_ofNonZeroValue (A) -> optional(A)"], |_, args| match args {
        [value] if value.is_zero() => Ok(Value::Optional(None)),
        [value] => Ok(Value::some(value.clone())),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("optional.none", &["optional_none () -> optional(A)"], |_, _| Ok(Value::Optional(None))),
    ("value", &["optional_value optional(A).() -> A"], |_, args| match args {
        [Value::Optional(Some(value))] => Ok((**value).clone()),
        [Value::Optional(None)] => Err(EvalError::new("optional.none() dereference")),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("hasValue", &["optional_hasValue optional(A).() -> bool"], |_, args| match args {
        [Value::Optional(value)] => Ok(Value::Bool(value.is_some())),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("or", &["optional_or_optional optional(A).(optional(A)) -> optional(A)"], never),
    ("orValue", &["optional_orValue_value optional(A).(A) -> A"], never),
    ("_?._", &["select_optional_field (dyn, string) -> optional(A)"], never),
    ("last", &["list_last list(A).() -> optional(A)"], |_, args| match args {
        [Value::List(list)] => element(list.len().checked_sub(1).and_then(|last| list.get(last))),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("first", &["list_first list(A).() -> optional(A)"], |_, args| match args {
        [Value::List(list)] => element(list.get(0)),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("optional.unwrap", &["optional_unwrap (list(optional(A))) -> list(A)"], unwrap),
    ("unwrapOpt", &["optional_unwrapOpt list(optional(A)).() -> list(A)"], unwrap),
];

fn never<'a>(_: &mut Meter, _: &[Value<'a>]) -> Outcome<'a> {
    Err(EvalError::no_such_overload())
}

fn element<'a>(value: Option<Outcome<'a>>) -> Outcome<'a> {
    Ok(value.transpose()?.map_or(Value::Optional(None), Value::some))
}

fn unwrap<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::List(list)] = args else { return Err(EvalError::no_such_overload()) };
    let mut values = Vec::new();
    for value in list.iter() {
        meter.work(1)?;
        match value? {
            Value::Optional(Some(value)) => values.push((*value).clone()),
            Value::Optional(None) => {}
            other => return Err(EvalError::new(format!("value {other} is not optional"))),
        }
    }
    Ok(Value::list(values))
}
