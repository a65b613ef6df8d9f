//! Functions on lists.

use std::cmp::Ordering;
use std::mem::discriminant;

use crate::error::EvalError;
use crate::value::{Duration, List, Meter, Value, compare, equal};

use super::{Outcome, Table, arithmetic};

pub(super) const FUNCTIONS: Table = &[
    (
        "isSorted",
        &[
            "list_int_is_sorted_bool list(int).() -> bool",
            "list_uint_is_sorted_bool list(uint).() -> bool",
            "list_double_is_sorted_bool list(double).() -> bool",
            "list_bool_is_sorted_bool list(bool).() -> bool",
            "list_duration_is_sorted_bool list(duration).() -> bool",
            "list_timestamp_is_sorted_bool list(timestamp).() -> bool",
            "list_string_is_sorted_bool list(string).() -> bool",
            "list_bytes_is_sorted_bool list(bytes).() -> bool",
        ],
        is_sorted,
    ),
    ("sum", &["list_int_sum_int list(int).() -> int"], |meter, args| sum(meter, args, Value::Int(0))),
    ("sum", &["list_uint_sum_uint list(uint).() -> uint"], |meter, args| sum(meter, args, Value::Uint(0))),
    ("sum", &["list_double_sum_double list(double).() -> double"], |meter, args| {
        sum(meter, args, Value::Double(0.0))
    }),
    ("sum", &["list_duration_sum_duration list(duration).() -> duration"], |meter, args| {
        sum(meter, args, Value::Duration(Duration::from_nanos(0)))
    }),
    (
        "max",
        &[
            "list_int_max_int list(int).() -> int",
            "list_uint_max_uint list(uint).() -> uint",
            "list_double_max_double list(double).() -> double",
            "list_bool_max_bool list(bool).() -> bool",
            "list_duration_max_duration list(duration).() -> duration",
            "list_timestamp_max_timestamp list(timestamp).() -> timestamp",
            "list_string_max_string list(string).() -> string",
            "list_bytes_max_bytes list(bytes).() -> bytes",
        ],
        |meter, args| extreme(meter, args, "max", Ordering::Less),
    ),
    (
        "min",
        &[
            "list_int_min_int list(int).() -> int",
            "list_uint_min_uint list(uint).() -> uint",
            "list_double_min_double list(double).() -> double",
            "list_bool_min_bool list(bool).() -> bool",
            "list_duration_min_duration list(duration).() -> duration",
            "list_timestamp_min_timestamp list(timestamp).() -> timestamp",
            "list_string_min_string list(string).() -> string",
            "list_bytes_min_bytes list(bytes).() -> bytes",
        ],
        |meter, args| extreme(meter, args, "min", Ordering::Greater),
    ),
    ("indexOf", &["list_a_index_of_int list(A).(A) -> int"], index_of),
    ("lastIndexOf", &["list_a_last_index_of_int list(A).(A) -> int"], last_index_of),
    ("slice", &["list_slice list(A).(int, int) -> list(A)"], slice),
    (
        "flatten",
        &["list_flatten list(list(A)).() -> list(A)", "list_flatten_int list(dyn).(int) -> list(dyn)"],
        flatten,
    ),
    (
        "sort",
        &[
            "list_int_sort list(int).() -> list(int)",
            "list_uint_sort list(uint).() -> list(uint)",
            "list_double_sort list(double).() -> list(double)",
            "list_bool_sort list(bool).() -> list(bool)",
            "list_duration_sort list(duration).() -> list(duration)",
            "list_timestamp_sort list(timestamp).() -> list(timestamp)",
            "list_string_sort list(string).() -> list(string)",
            "list_bytes_sort list(bytes).() -> list(bytes)",
        ],
        |meter, args| match args {
            [Value::List(list)] => sort(meter, list, list),
            _ => Err(EvalError::no_such_overload()),
        },
    ),
    (
        "@sortByAssociatedKeys",
        &[
            "list_int_sortByAssociatedKeys list(A).(list(int)) -> list(A)",
            "list_uint_sortByAssociatedKeys list(A).(list(uint)) -> list(A)",
            "list_double_sortByAssociatedKeys list(A).(list(double)) -> list(A)",
            "list_bool_sortByAssociatedKeys list(A).(list(bool)) -> list(A)",
            "list_duration_sortByAssociatedKeys list(A).(list(duration)) -> list(A)",
            "list_timestamp_sortByAssociatedKeys list(A).(list(timestamp)) -> list(A)",
            "list_string_sortByAssociatedKeys list(A).(list(string)) -> list(A)",
            "list_bytes_sortByAssociatedKeys list(A).(list(bytes)) -> list(A)",
        ],
        |meter, args| match args {
            [Value::List(list), Value::List(keys)] => sort(meter, list, keys),
            _ => Err(EvalError::no_such_overload()),
        },
    ),
    ("lists.range", &["lists_range (int) -> list(int)"], range),
    ("reverse", &["list_reverse list(A).() -> list(A)"], reverse),
    ("distinct", &["list_distinct list(A).() -> list(A)"], distinct),
];

fn only_list<'v, 'a>(args: &'v [Value<'a>]) -> Result<&'v List<'a>, EvalError> {
    match args {
        [Value::List(list), ..] => Ok(list),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn is_sorted<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let mut previous: Option<Value<'a>> = None;
    for value in only_list(args)?.iter() {
        meter.work(1)?;
        let value = value?;
        if let Some(previous) = &previous
            && compare(previous, &value)?.is_gt()
        {
            return Ok(Value::Bool(false));
        }
        previous = Some(value);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(meter: &mut Meter, args: &[Value<'a>], zero: Value<'a>) -> Outcome<'a> {
    let mut total = zero;
    for value in only_list(args)?.iter() {
        meter.work(1)?;
        total = arithmetic::add(meter, &[total, value?])?;
    }
    Ok(total)
}

/// The element before which no other comes: one replaces another when that compares to it as `worse`.
fn extreme<'a>(meter: &mut Meter, args: &[Value<'a>], name: &str, worse: Ordering) -> Outcome<'a> {
    let mut best: Option<Value<'a>> = None;
    for value in only_list(args)?.iter() {
        meter.work(1)?;
        let value = value?;
        let replace = match &best {
            None => true,
            Some(best) => compare(best, &value)? == worse,
        };
        if replace {
            best = Some(value);
        }
    }
    best.ok_or_else(|| EvalError::new(format!("{name} called on empty list")))
}

fn position<'a>(index: usize) -> Outcome<'a> {
    Ok(Value::Int(i64::try_from(index).unwrap_or(i64::MAX)))
}

fn index_of<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::List(list), wanted] = args else { return Err(EvalError::no_such_overload()) };
    for (index, value) in list.iter().enumerate() {
        if is_equal(meter, &value?, wanted)? {
            return position(index);
        }
    }
    Ok(Value::Int(-1))
}

fn last_index_of<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::List(list), wanted] = args else { return Err(EvalError::no_such_overload()) };
    for index in (0..list.len()).rev() {
        if let Some(value) = list.get(index)
            && is_equal(meter, &value?, wanted)?
        {
            return position(index);
        }
    }
    Ok(Value::Int(-1))
}

/// Values that cannot be compared are not equal here.
fn is_equal(meter: &mut Meter, one: &Value<'_>, another: &Value<'_>) -> Result<bool, EvalError> {
    match equal(meter, one, another) {
        Err(EvalError::Failed(_)) => Ok(false),
        result => result,
    }
}

fn slice<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::List(list), Value::Int(start), Value::Int(end)] = args else {
        return Err(EvalError::no_such_overload());
    };
    let fail = |reason: &str| Err(EvalError::new(format!("cannot slice({start}, {end}), {reason}")));
    let (Ok(first), Ok(last)) = (usize::try_from(*start), usize::try_from(*end)) else {
        return fail("negative indexes not supported");
    };
    if first > last {
        return fail("start index must be less than or equal to end index");
    }
    if list.len() < last {
        return fail(&format!("list is length {}", list.len()));
    }
    meter.work(last - first)?;
    let values = (first..last).filter_map(|index| list.get(index)).collect::<Result<Vec<_>, _>>()?;
    Ok(Value::list(values))
}

fn flatten<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let (list, depth) = match args {
        [Value::List(list)] => (list, 1),
        [Value::List(list), Value::Int(depth)] => (list, *depth),
        _ => return Err(EvalError::no_such_overload()),
    };
    if depth < 0 {
        return Err(EvalError::new("level must be non-negative"));
    }
    let mut values = Vec::new();
    flatten_into(meter, list, depth, &mut values)?;
    Ok(Value::list(values))
}

fn flatten_into<'a>(
    meter: &mut Meter,
    list: &List<'a>,
    depth: i64,
    values: &mut Vec<Value<'a>>,
) -> Result<(), EvalError> {
    for value in list.iter() {
        meter.work(1)?;
        match value? {
            Value::List(inner) if depth > 0 => flatten_into(meter, &inner, depth - 1, values)?,
            value => values.push(value),
        }
    }
    Ok(())
}

/// The elements of `list` in the order of their `keys`.
fn sort<'a>(meter: &mut Meter, list: &List<'a>, keys: &List<'a>) -> Outcome<'a> {
    if list.len() != keys.len() {
        return Err(EvalError::new(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and \
             {} elements respectively",
            list.len(),
            keys.len()
        )));
    }
    meter.work(list.len().saturating_mul(2))?;
    let mut pairs = keys
        .iter()
        .zip(list.iter())
        .map(|(key, value)| Ok((key?, value?)))
        .collect::<Result<Vec<_>, EvalError>>()?;
    if let Some((first, _)) = pairs.first() {
        let kind = discriminant(first);
        if pairs.iter().any(|(key, _)| discriminant(key) != kind) {
            return Err(EvalError::new("list elements must have the same type"));
        }
        compare(first, first).map_err(|_| EvalError::new("list elements must be comparable"))?;
    }
    skiff_ordered::sort_by(&mut pairs, |(one, _), (another, _)| {
        compare(one, another).unwrap_or(Ordering::Equal)
    });
    Ok(Value::list(pairs.into_iter().map(|(_, value)| value).collect()))
}

fn range<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::Int(count)] = args else { return Err(EvalError::no_such_overload()) };
    let count = (*count).max(0);
    meter.work(usize::try_from(count).unwrap_or(usize::MAX))?;
    Ok(Value::list((0..count).map(Value::Int).collect()))
}

fn reverse<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let list = only_list(args)?;
    meter.work(list.len())?;
    let values = (0..list.len()).rev().filter_map(|index| list.get(index)).collect::<Result<Vec<_>, _>>()?;
    Ok(Value::list(values))
}

fn distinct<'a>(meter: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let mut values: Vec<Value<'a>> = Vec::new();
    'all: for value in only_list(args)?.iter() {
        let value = value?;
        for known in &values {
            if is_equal(meter, &value, known)? {
                continue 'all;
            }
        }
        values.push(value);
    }
    Ok(Value::list(values))
}
