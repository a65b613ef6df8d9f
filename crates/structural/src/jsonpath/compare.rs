//! Comparisons of filters: of scalars of the same type.

use std::cmp::Ordering;

use serde_json::Value;

use super::{FindError, Operator};

pub(super) fn holds(left: &Value, operator: &Operator, right: &Value) -> Result<bool, FindError> {
    let order = match operator {
        Operator::Equal | Operator::NotEqual => {
            let order = if let (Value::Bool(a), Value::Bool(b)) = (left, right) {
                a.cmp(b)
            } else {
                order(left, right)?
            };
            return Ok((order == Ordering::Equal) == (*operator == Operator::Equal));
        }
        Operator::Unknown(name) => return Err(FindError(format!("unrecognized filter operator {name}"))),
        _ => order(left, right)?,
    };
    Ok(match operator {
        Operator::Less => order == Ordering::Less,
        Operator::Greater => order == Ordering::Greater,
        Operator::LessEqual => order != Ordering::Greater,
        _ => order != Ordering::Less,
    })
}

fn order(left: &Value, right: &Value) -> Result<Ordering, FindError> {
    let incompatible = || FindError("incompatible types for comparison".to_owned());
    match (left, right) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Ok(a.cmp(&b)),
            (None, None) => a.as_f64().partial_cmp(&b.as_f64()).ok_or_else(incompatible),
            _ => Err(incompatible()),
        },
        _ if std::mem::discriminant(left) != std::mem::discriminant(right) => Err(incompatible()),
        _ => Err(FindError("invalid type for comparison".to_owned())),
    }
}
