//! Equality and order.

use std::cmp::Ordering;

use crate::error::EvalError;

use super::{Meter, Object, Value};

/// Whether two values are equal. Numbers are compared as numbers whatever their type; values of different types
/// differ, except that those of Kubernetes' libraries cannot be compared with others.
pub(crate) fn equal(meter: &mut Meter, one: &Value<'_>, another: &Value<'_>) -> Result<bool, EvalError> {
    meter.work(1)?;
    let equal = match (one, another) {
        (Value::Null, Value::Null) => true,
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Bool(one), Value::Bool(another)) => one == another,
        (Value::String(one), Value::String(another)) => {
            meter.work(one.len().min(another.len()) / 64)?;
            **one == **another
        }
        (Value::Bytes(one), Value::Bytes(another)) => {
            meter.work(one.len().min(another.len()) / 64)?;
            one == another
        }
        (Value::Duration(one), Value::Duration(another)) => one == another,
        (Value::Timestamp(one), Value::Timestamp(another)) => one == another,
        (Value::List(one), Value::List(another)) => return one.equal(meter, another),
        (Value::List(one), _) if one.kind().is_some() => return Err(EvalError::no_such_overload()),
        (Value::Map(one), Value::Map(another)) => return one.equal(meter, another),
        (Value::Map(one), _) if one.is_declared() => return Err(EvalError::no_such_overload()),
        (Value::Optional(one), Value::Optional(another)) => match (one, another) {
            (Some(one), Some(another)) => return self::equal(meter, one, another),
            (one, another) => one.is_none() && another.is_none(),
        },
        (Value::Type(one), Value::Type(another)) => one.runtime_name() == another.runtime_name(),
        (Value::Object(one), Value::Object(another)) => return equal_objects(meter, one, another),
        (Value::Quantity(one), Value::Quantity(another)) => one.nanos() == another.nanos(),
        (Value::Url(one), Value::Url(another)) => one == another,
        (Value::Ip(one), Value::Ip(another)) => one == another,
        (Value::Cidr(one), Value::Cidr(another)) => one == another,
        (Value::Semver(one), Value::Semver(another)) => one.compare(another) == Ordering::Equal,
        (Value::Format(one), Value::Format(another)) => one == another,
        (one, _) if is_kubernetes(one) => return Err(EvalError::no_such_overload()),
        (one, another) => compare_numbers(one, another) == Some(Ordering::Equal),
    };
    Ok(equal)
}

fn is_kubernetes(value: &Value<'_>) -> bool {
    matches!(value.type_of(), crate::Type::Kubernetes(_))
}

fn equal_objects(meter: &mut Meter, one: &Object<'_>, another: &Object<'_>) -> Result<bool, EvalError> {
    if one.name != another.name || one.fields.len() != another.fields.len() {
        return Ok(false);
    }
    for ((name, value), (other_name, other)) in one.fields.iter().zip(&another.fields) {
        if name != other_name || !equal(meter, value, other)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The order of two numbers; none when one is no number, or not a number.
fn compare_numbers(one: &Value<'_>, another: &Value<'_>) -> Option<Ordering> {
    match (one, another) {
        (Value::Double(one), Value::Double(another)) => one.partial_cmp(another),
        (Value::Double(one), another) => compare_mixed(*one, integer(another)?),
        (one, Value::Double(another)) => compare_mixed(*another, integer(one)?).map(Ordering::reverse),
        (one, another) => Some(integer(one)?.cmp(&integer(another)?)),
    }
}

fn integer(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(value) => Some(i128::from(*value)),
        Value::Uint(value) => Some(i128::from(*value)),
        _ => None,
    }
}

fn compare_mixed(double: f64, integer: i128) -> Option<Ordering> {
    // As the language has it, integers that this type cannot hold exactly are rounded.
    #[expect(clippy::cast_precision_loss, reason = "as it is defined")]
    double.partial_cmp(&(integer as f64))
}

/// The order of two values of one type, or of two numbers.
pub(crate) fn compare(one: &Value<'_>, another: &Value<'_>) -> Result<Ordering, EvalError> {
    match (one, another) {
        (Value::Bool(one), Value::Bool(another)) => Ok(one.cmp(another)),
        (Value::String(one), Value::String(another)) => Ok((**one).cmp(&**another)),
        (Value::Bytes(one), Value::Bytes(another)) => Ok(one.cmp(another)),
        (Value::Duration(one), Value::Duration(another)) => Ok(one.cmp(another)),
        (Value::Timestamp(one), Value::Timestamp(another)) => Ok(one.cmp(another)),
        (Value::Double(one), _) if one.is_nan() => Err(EvalError::new("NaN values cannot be ordered")),
        (Value::Int(_) | Value::Uint(_) | Value::Double(_), Value::Double(another)) if another.is_nan() => {
            Err(EvalError::new("NaN values cannot be ordered"))
        }
        (one, another) => compare_numbers(one, another).ok_or_else(EvalError::no_such_overload),
    }
}
