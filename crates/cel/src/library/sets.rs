//! Lists as sets.

use crate::error::EvalError;
use crate::value::{List, Meter, Value};

use super::Table;

pub(super) const FUNCTIONS: Table = &[
    ("sets.contains", &["list_sets_contains_list (list(A), list(A)) -> bool"], |meter, args| {
        let (list, part) = lists(args)?;
        Ok(Value::Bool(contains(meter, list, part)?))
    }),
    ("sets.equivalent", &["list_sets_equivalent_list (list(A), list(A)) -> bool"], |meter, args| {
        let (one, another) = lists(args)?;
        Ok(Value::Bool(contains(meter, one, another)? && contains(meter, another, one)?))
    }),
    ("sets.intersects", &["list_sets_intersects_list (list(A), list(A)) -> bool"], |meter, args| {
        let (one, another) = lists(args)?;
        for value in one.iter() {
            match another.contains(meter, &value?) {
                Ok(true) => return Ok(Value::Bool(true)),
                Err(EvalError::CostExceeded) => return Err(EvalError::CostExceeded),
                _ => {}
            }
        }
        Ok(Value::Bool(false))
    }),
];

fn lists<'v, 'a>(args: &'v [Value<'a>]) -> Result<(&'v List<'a>, &'v List<'a>), EvalError> {
    match args {
        [Value::List(one), Value::List(another)] => Ok((one, another)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn contains<'a>(meter: &mut Meter, list: &List<'a>, part: &List<'a>) -> Result<bool, EvalError> {
    for value in part.iter() {
        if !list.contains(meter, &value?)? {
            return Ok(false);
        }
    }
    Ok(true)
}
