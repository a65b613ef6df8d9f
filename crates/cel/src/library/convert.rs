//! Conversions between types.

use std::sync::Arc;

use crate::error::EvalError;
use crate::types::Type;
use crate::value::{Duration, Meter, Timestamp, Value};

use super::{Outcome, Table, number};

pub(super) const FUNCTIONS: Table = &[
    ("type", &["type (A) -> type(A)"], |_, args| one(args, |value| Ok(Value::Type(value.type_of())))),
    ("dyn", &["to_dyn (A) -> dyn"], |_, args| one(args, |value| Ok(value.clone()))),
    ("bool", &["bool_to_bool (bool) -> bool", "string_to_bool (string) -> bool"], boolean),
    ("bytes", &["bytes_to_bytes (bytes) -> bytes", "string_to_bytes (string) -> bytes"], bytes),
    (
        "double",
        &[
            "double_to_double (double) -> double",
            "int64_to_double (int) -> double",
            "string_to_double (string) -> double",
            "uint64_to_double (uint) -> double",
        ],
        double,
    ),
    (
        "duration",
        &[
            "duration_to_duration (duration) -> duration",
            "int64_to_duration (int) -> duration",
            "string_to_duration (string) -> duration",
        ],
        duration,
    ),
    (
        "int",
        &[
            "int64_to_int64 (int) -> int",
            "double_to_int64 (double) -> int",
            "duration_to_int64 (duration) -> int",
            "string_to_int64 (string) -> int",
            "timestamp_to_int64 (timestamp) -> int",
            "uint64_to_int64 (uint) -> int",
        ],
        int,
    ),
    (
        "string",
        &[
            "string_to_string (string) -> string",
            "bool_to_string (bool) -> string",
            "bytes_to_string (bytes) -> string",
            "double_to_string (double) -> string",
            "duration_to_string (duration) -> string",
            "int64_to_string (int) -> string",
            "timestamp_to_string (timestamp) -> string",
            "uint64_to_string (uint) -> string",
        ],
        string,
    ),
    (
        "timestamp",
        &[
            "timestamp_to_timestamp (timestamp) -> timestamp",
            "int64_to_timestamp (int) -> timestamp",
            "string_to_timestamp (string) -> timestamp",
        ],
        timestamp,
    ),
    (
        "uint",
        &[
            "uint64_to_uint64 (uint) -> uint",
            "double_to_uint64 (double) -> uint",
            "int64_to_uint64 (int) -> uint",
            "string_to_uint64 (string) -> uint",
        ],
        uint,
    ),
];

/// Functions that are computed once when their argument is a literal.
pub(crate) fn is_conversion(function: &str) -> bool {
    FUNCTIONS.iter().any(|(name, ..)| *name == function)
}

fn one<'a>(args: &[Value<'a>], convert: impl FnOnce(&Value<'a>) -> Outcome<'a>) -> Outcome<'a> {
    match args {
        [value] => convert(value),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn impossible(value: &Value<'_>, to: &Type) -> EvalError {
    let from = value.type_of();
    EvalError::new(format!("type conversion error from '{}' to '{}'", from.runtime_name(), to.runtime_name()))
}

fn int_overflow() -> EvalError {
    EvalError::new("integer overflow")
}

fn uint_overflow() -> EvalError {
    EvalError::new("unsigned integer overflow")
}

fn boolean<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    one(args, |value| match value {
        Value::Bool(_) => Ok(value.clone()),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
            _ => Err(impossible(value, &Type::Bool)),
        },
        _ => Err(impossible(value, &Type::Bool)),
    })
}

fn bytes<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    one(args, |value| match value {
        Value::Bytes(_) => Ok(value.clone()),
        Value::String(text) => Ok(Value::Bytes(Arc::from(text.as_bytes()))),
        _ => Err(impossible(value, &Type::Bytes)),
    })
}

fn double<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    one(args, |value| match value {
        Value::Double(_) => Ok(value.clone()),
        #[expect(clippy::cast_precision_loss, reason = "the nearest number is asked for")]
        Value::Int(number) => Ok(Value::Double(*number as f64)),
        #[expect(clippy::cast_precision_loss, reason = "the nearest number is asked for")]
        Value::Uint(number) => Ok(Value::Double(*number as f64)),
        Value::String(text) => {
            let number = read_double(text).ok_or_else(|| impossible(value, &Type::Double))?;
            Ok(Value::Double(number))
        }
        _ => Err(impossible(value, &Type::Double)),
    })
}

/// A number as Go reads it; too large ones are none.
fn read_double(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let special = matches!(unsigned.to_ascii_lowercase().as_str(), "inf" | "infinity" | "nan");
    let number: f64 = text.parse().ok()?;
    (special || number.is_finite()).then_some(number)
}

fn duration<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    one(args, |value| match value {
        Value::Duration(_) => Ok(value.clone()),
        // Declared, but not possible.
        Value::String(text) => {
            Duration::parse(text).map(Value::Duration).ok_or_else(|| impossible(value, &Type::Duration))
        }
        _ => Err(impossible(value, &Type::Duration)),
    })
}

fn int<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    one(args, |value| {
        let number = match value {
            Value::Int(number) => *number,
            Value::Uint(number) => i64::try_from(*number).map_err(|_| int_overflow())?,
            Value::Double(number) => double_to_int(*number).ok_or_else(int_overflow)?,
            Value::Duration(duration) => duration.nanos(),
            Value::Timestamp(time) => time.seconds(),
            Value::String(text) => text.parse().map_err(|_| impossible(value, &Type::Int))?,
            _ => return Err(impossible(value, &Type::Int)),
        };
        Ok(Value::Int(number))
    })
}

/// Rounded towards zero; the bounds themselves are out of range.
fn double_to_int(number: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let fits = number > -LIMIT && number < LIMIT;
    #[expect(clippy::cast_possible_truncation, reason = "in range")]
    fits.then_some(number as i64)
}

fn uint<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    const LIMIT: f64 = 18_446_744_073_709_551_616.0;
    one(args, |value| {
        let number = match value {
            Value::Uint(number) => *number,
            Value::Int(number) => u64::try_from(*number).map_err(|_| uint_overflow())?,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
            Value::Double(number) if (0.0..LIMIT).contains(number) => *number as u64,
            Value::Double(_) => return Err(uint_overflow()),
            Value::String(text) if !text.starts_with('+') => {
                text.parse().map_err(|_| impossible(value, &Type::Uint))?
            }
            _ => return Err(impossible(value, &Type::Uint)),
        };
        Ok(Value::Uint(number))
    })
}

fn string<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    one(args, |value| match value {
        Value::String(_) => Ok(value.clone()),
        Value::Bool(flag) => Ok(Value::text(flag.to_string())),
        Value::Int(number) => Ok(Value::text(number.to_string())),
        Value::Uint(number) => Ok(Value::text(number.to_string())),
        Value::Double(number) => Ok(Value::text(number::shortest(*number))),
        Value::Duration(duration) => Ok(Value::text(duration.seconds_text())),
        Value::Timestamp(time) => Ok(Value::text(time.to_string())),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::text(text.to_owned())),
            Err(_) => Err(EvalError::new("invalid UTF-8 in bytes, cannot convert to string")),
        },
        _ => Err(impossible(value, &Type::String)),
    })
}

fn timestamp<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    one(args, |value| match value {
        Value::Timestamp(_) => Ok(value.clone()),
        Value::Int(seconds) => Timestamp::from_seconds(*seconds).map(Value::Timestamp),
        Value::String(text) => {
            Timestamp::parse(text).map(Value::Timestamp).ok_or_else(|| impossible(value, &Type::Timestamp))
        }
        _ => Err(impossible(value, &Type::Timestamp)),
    })
}
