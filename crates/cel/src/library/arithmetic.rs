//! Operators.

use std::cmp::Ordering;

use crate::error::EvalError;
use crate::value::{Duration, Meter, Text, Timestamp, Value, compare};

use super::{Outcome, Table, pair};

pub(super) const FUNCTIONS: Table = &[
    ("_?_:_", &["conditional (bool, A, A) -> A"], never),
    ("_&&_", &["logical_and (bool, bool) -> bool"], never),
    ("_||_", &["logical_or (bool, bool) -> bool"], never),
    ("!_", &["logical_not (bool) -> bool"], not),
    ("@not_strictly_false", &["not_strictly_false (bool) -> bool"], never),
    ("_==_", &["equals (A, A) -> bool"], never),
    ("_!=_", &["not_equals (A, A) -> bool"], never),
    (
        "_+_",
        &[
            "add_bytes (bytes, bytes) -> bytes",
            "add_double (double, double) -> double",
            "add_duration_duration (duration, duration) -> duration",
            "add_duration_timestamp (duration, timestamp) -> timestamp",
            "add_timestamp_duration (timestamp, duration) -> timestamp",
            "add_int64 (int, int) -> int",
            "add_list (list(A), list(A)) -> list(A)",
            "add_string (string, string) -> string",
            "add_uint64 (uint, uint) -> uint",
        ],
        add,
    ),
    (
        "_/_",
        &[
            "divide_double (double, double) -> double",
            "divide_int64 (int, int) -> int",
            "divide_uint64 (uint, uint) -> uint",
        ],
        divide,
    ),
    ("_%_", &["modulo_int64 (int, int) -> int", "modulo_uint64 (uint, uint) -> uint"], modulo),
    (
        "_*_",
        &[
            "multiply_double (double, double) -> double",
            "multiply_int64 (int, int) -> int",
            "multiply_uint64 (uint, uint) -> uint",
        ],
        multiply,
    ),
    ("-_", &["negate_double (double) -> double", "negate_int64 (int) -> int"], negate),
    (
        "_-_",
        &[
            "subtract_double (double, double) -> double",
            "subtract_duration_duration (duration, duration) -> duration",
            "subtract_int64 (int, int) -> int",
            "subtract_timestamp_duration (timestamp, duration) -> timestamp",
            "subtract_timestamp_timestamp (timestamp, timestamp) -> duration",
            "subtract_uint64 (uint, uint) -> uint",
        ],
        subtract,
    ),
    (
        "_<_",
        &[
            "less_bool (bool, bool) -> bool",
            "less_int64 (int, int) -> bool",
            "less_int64_double (int, double) -> bool",
            "less_int64_uint64 (int, uint) -> bool",
            "less_uint64 (uint, uint) -> bool",
            "less_uint64_double (uint, double) -> bool",
            "less_uint64_int64 (uint, int) -> bool",
            "less_double (double, double) -> bool",
            "less_double_int64 (double, int) -> bool",
            "less_double_uint64 (double, uint) -> bool",
            "less_string (string, string) -> bool",
            "less_bytes (bytes, bytes) -> bool",
            "less_timestamp (timestamp, timestamp) -> bool",
            "less_duration (duration, duration) -> bool",
        ],
        |_, args| ordered(args, Ordering::is_lt),
    ),
    (
        "_<=_",
        &[
            "less_equals_bool (bool, bool) -> bool",
            "less_equals_int64 (int, int) -> bool",
            "less_equals_int64_double (int, double) -> bool",
            "less_equals_int64_uint64 (int, uint) -> bool",
            "less_equals_uint64 (uint, uint) -> bool",
            "less_equals_uint64_double (uint, double) -> bool",
            "less_equals_uint64_int64 (uint, int) -> bool",
            "less_equals_double (double, double) -> bool",
            "less_equals_double_int64 (double, int) -> bool",
            "less_equals_double_uint64 (double, uint) -> bool",
            "less_equals_string (string, string) -> bool",
            "less_equals_bytes (bytes, bytes) -> bool",
            "less_equals_timestamp (timestamp, timestamp) -> bool",
            "less_equals_duration (duration, duration) -> bool",
        ],
        |_, args| ordered(args, Ordering::is_le),
    ),
    (
        "_>_",
        &[
            "greater_bool (bool, bool) -> bool",
            "greater_int64 (int, int) -> bool",
            "greater_int64_double (int, double) -> bool",
            "greater_int64_uint64 (int, uint) -> bool",
            "greater_uint64 (uint, uint) -> bool",
            "greater_uint64_double (uint, double) -> bool",
            "greater_uint64_int64 (uint, int) -> bool",
            "greater_double (double, double) -> bool",
            "greater_double_int64 (double, int) -> bool",
            "greater_double_uint64 (double, uint) -> bool",
            "greater_string (string, string) -> bool",
            "greater_bytes (bytes, bytes) -> bool",
            "greater_timestamp (timestamp, timestamp) -> bool",
            "greater_duration (duration, duration) -> bool",
        ],
        |_, args| ordered(args, Ordering::is_gt),
    ),
    (
        "_>=_",
        &[
            "greater_equals_bool (bool, bool) -> bool",
            "greater_equals_int64 (int, int) -> bool",
            "greater_equals_int64_double (int, double) -> bool",
            "greater_equals_int64_uint64 (int, uint) -> bool",
            "greater_equals_uint64 (uint, uint) -> bool",
            "greater_equals_uint64_double (uint, double) -> bool",
            "greater_equals_uint64_int64 (uint, int) -> bool",
            "greater_equals_double (double, double) -> bool",
            "greater_equals_double_int64 (double, int) -> bool",
            "greater_equals_double_uint64 (double, uint) -> bool",
            "greater_equals_string (string, string) -> bool",
            "greater_equals_bytes (bytes, bytes) -> bool",
            "greater_equals_timestamp (timestamp, timestamp) -> bool",
            "greater_equals_duration (duration, duration) -> bool",
        ],
        |_, args| ordered(args, Ordering::is_ge),
    ),
    (
        "_[_]",
        &[
            "index_list (list(A), int) -> A",
            "index_map (map(A, B), A) -> B",
            "optional_list_index_int (optional(list(A)), int) -> optional(A)",
            "optional_map_index_value (optional(map(A, B)), A) -> optional(B)",
        ],
        never,
    ),
    (
        "_[?_]",
        &[
            "list_optindex_optional_int (list(A), int) -> optional(A)",
            "optional_list_optindex_optional_int (optional(list(A)), int) -> optional(A)",
            "map_optindex_optional_value (map(A, B), A) -> optional(B)",
            "optional_map_optindex_optional_value (optional(map(A, B)), A) -> optional(B)",
        ],
        never,
    ),
    ("@in", &["in_list (A, list(A)) -> bool", "in_map (A, map(A, B)) -> bool"], contained),
    (
        "size",
        &[
            "size_bytes (bytes) -> int",
            "bytes_size bytes.() -> int",
            "size_list (list(A)) -> int",
            "list_size list(A).() -> int",
            "size_map (map(A, B)) -> int",
            "map_size map(A, B).() -> int",
            "size_string (string) -> int",
            "string_size string.() -> int",
        ],
        size,
    ),
    (
        "cel.@mapInsert",
        &[
            "@mapInsert_map_key_value (map(A, B), A, B) -> map(A, B)",
            "@mapInsert_map_map (map(A, B), map(A, B)) -> map(A, B)",
        ],
        insert,
    ),
];

/// What the evaluation does by itself.
fn never<'a>(_: &mut Meter, _: &[Value<'a>]) -> Outcome<'a> {
    Err(EvalError::no_such_overload())
}

fn not<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Bool(value)] => Ok(Value::Bool(!value)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn ordered<'a>(args: &[Value<'a>], holds: fn(Ordering) -> bool) -> Outcome<'a> {
    let (one, another) = pair(args)?;
    Ok(Value::Bool(holds(compare(one, another)?)))
}

fn int<'a>(value: Option<i64>) -> Outcome<'a> {
    value.map(Value::Int).ok_or_else(|| EvalError::new("integer overflow"))
}

fn uint<'a>(value: Option<u64>) -> Outcome<'a> {
    value.map(Value::Uint).ok_or_else(|| EvalError::new("unsigned integer overflow"))
}

/// The sum of two values.
pub(crate) fn add<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    match pair(args)? {
        (Value::Int(one), Value::Int(another)) => int(one.checked_add(*another)),
        (Value::Uint(one), Value::Uint(another)) => uint(one.checked_add(*another)),
        (Value::Double(one), Value::Double(another)) => Ok(Value::Double(one + another)),
        (Value::String(one), Value::String(another)) => {
            meter.allow(one.len() + another.len())?;
            Ok(Value::String(Text::from([&**one, &**another].concat())))
        }
        (Value::Bytes(one), Value::Bytes(another)) => {
            meter.allow(one.len() + another.len())?;
            Ok(Value::Bytes([&**one, &**another].concat().into()))
        }
        (Value::List(one), Value::List(another)) => {
            Ok(Value::List(one.clone().concat(meter, another.clone())?))
        }
        (Value::Duration(one), Value::Duration(another)) => {
            duration(i128::from(one.nanos()) + i128::from(another.nanos()))
        }
        (Value::Duration(duration), Value::Timestamp(time))
        | (Value::Timestamp(time), Value::Duration(duration)) => {
            timestamp(time.nanos() + i128::from(duration.nanos()))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn duration<'a>(nanos: i128) -> Outcome<'a> {
    Duration::checked(nanos).map(Value::Duration)
}

fn timestamp<'a>(nanos: i128) -> Outcome<'a> {
    Timestamp::checked(nanos).map(Value::Timestamp)
}

fn subtract<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    match pair(args)? {
        (Value::Int(one), Value::Int(another)) => int(one.checked_sub(*another)),
        (Value::Uint(one), Value::Uint(another)) => uint(one.checked_sub(*another)),
        (Value::Double(one), Value::Double(another)) => Ok(Value::Double(one - another)),
        (Value::Duration(one), Value::Duration(another)) => {
            duration(i128::from(one.nanos()) - i128::from(another.nanos()))
        }
        (Value::Timestamp(time), Value::Duration(duration)) => {
            timestamp(time.nanos() - i128::from(duration.nanos()))
        }
        (Value::Timestamp(one), Value::Timestamp(another)) => duration(one.nanos() - another.nanos()),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn multiply<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    match pair(args)? {
        (Value::Int(one), Value::Int(another)) => int(one.checked_mul(*another)),
        (Value::Uint(one), Value::Uint(another)) => uint(one.checked_mul(*another)),
        (Value::Double(one), Value::Double(another)) => Ok(Value::Double(one * another)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn divide<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    match pair(args)? {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            Err(EvalError::new("division by zero"))
        }
        (Value::Int(one), Value::Int(another)) => int(one.checked_div(*another)),
        (Value::Uint(one), Value::Uint(another)) => uint(one.checked_div(*another)),
        (Value::Double(one), Value::Double(another)) => Ok(Value::Double(one / another)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn modulo<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    match pair(args)? {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            Err(EvalError::new("modulus by zero"))
        }
        (Value::Int(one), Value::Int(another)) => int(one.checked_rem(*another)),
        (Value::Uint(one), Value::Uint(another)) => uint(one.checked_rem(*another)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn negate<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(value)] => int(value.checked_neg()),
        [Value::Double(value)] => Ok(Value::Double(-value)),
        [Value::Duration(value)] => duration(-i128::from(value.nanos())),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn contained<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    match pair(args)? {
        (value, Value::List(list)) => list.contains(meter, value).map(Value::Bool),
        (key, Value::Map(map)) => Ok(Value::Bool(map.get(key).transpose()?.is_some())),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn size<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let size = match args {
        [value @ (Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_))] => value.size(),
        _ => None,
    };
    let size = size.ok_or_else(EvalError::no_such_overload)?;
    Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

fn insert<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Map(map), key, value] => Ok(Value::Map(map.clone().insert(key, value.clone())?)),
        [Value::Map(map), Value::Map(more)] => {
            let mut map = map.clone();
            for key in more.keys() {
                if let Some(value) = more.get(&key) {
                    map = map.insert(&key, value?)?;
                }
            }
            Ok(Value::Map(map))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}
