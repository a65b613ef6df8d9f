//! What calls cost when they happen, by function and the sizes of arguments and results.

use crate::error::EvalError;
use crate::value::{Meter, Value};

use super::flat::costs_one;
use super::functions::selector_cost;
use super::{CHECK, NEW_LIST, PATTERN, Size, TRAVERSAL, scale, to_u64};

/// Overloads that compare what may be long.
pub(super) fn compares(overload: &str) -> bool {
    matches!(
        overload,
        "less_string"
            | "greater_string"
            | "less_equals_string"
            | "greater_equals_string"
            | "less_bytes"
            | "greater_bytes"
            | "less_equals_bytes"
            | "greater_equals_bytes"
            | "equals"
            | "not_equals"
    )
}

/// The size of a value; of what has none, one.
fn size(value: &Value<'_>) -> u64 {
    value.size().unwrap_or(1)
}

/// The same, but of an optional value it is that of what it has.
fn inner_size(value: &Value<'_>) -> u64 {
    match value {
        Value::Optional(Some(inner)) => inner_size(inner),
        other => size(other),
    }
}

/// When the cost of a call is known.
pub(crate) enum Cost {
    /// From its arguments.
    Before(u64),
    /// From its result: a factor of its size, rounded, and what is added.
    After { factor: f64, plus: u64 },
}

impl Cost {
    /// The cost of a call with this result; an error counts as a value without size.
    pub(crate) fn after(&self, result: Option<&Value<'_>>) -> u64 {
        match self {
            Self::Before(_) => 0,
            Self::After { factor, plus } => scale(result.map_or(1, size), *factor) + plus,
        }
    }
}

/// The cost of a call. An overload is known when only one can be called.
pub(crate) fn call(
    meter: &mut Meter,
    function: &str,
    overload: Option<&str>,
    args: &[Value<'_>],
) -> Result<Cost, EvalError> {
    if let Some(cost) = extension(overload.unwrap_or_default(), args) {
        return Ok(cost);
    }
    if let Some(cost) = kubernetes(meter, function, overload.unwrap_or_default(), args)? {
        return Ok(cost);
    }
    Ok(Cost::Before(standard(overload.unwrap_or_default(), args)))
}

/// The cost of comparing two values for equality.
pub(crate) fn equality(args: &[Value<'_>; 2], equal: bool) -> u64 {
    if equal && matches!(args[0].type_of(), crate::Type::Kubernetes(_)) {
        return 1;
    }
    scale(inner_size(&args[0]).min(inner_size(&args[1])), TRAVERSAL)
}

fn standard(overload: &str, args: &[Value<'_>]) -> u64 {
    match (overload, args) {
        ("starts_with_string" | "ends_with_string" | "string_to_bytes" | "bytes_to_string", [text, ..])
        | ("strings_quote" | "string_format", [text, ..]) => scale(inner_size(text), TRAVERSAL),
        ("in_list", [_, list]) => inner_size(list),
        ("add_string" | "add_bytes", [one, another]) => {
            scale(inner_size(one) + inner_size(another), TRAVERSAL)
        }
        ("matches_string", [text, pattern]) => matching(inner_size(text), inner_size(pattern)),
        ("contains_string", [text, part]) => {
            scale(inner_size(text), TRAVERSAL).saturating_mul(scale(inner_size(part), TRAVERSAL))
        }
        (overload, [one, another]) if compares(overload) => {
            scale(inner_size(one).min(inner_size(another)), TRAVERSAL)
        }
        _ => 1,
    }
}

fn matching(text: u64, pattern: u64) -> u64 {
    scale(text.saturating_add(1), TRAVERSAL).saturating_mul(scale(pattern, PATTERN))
}

/// cel-go's functions on sets and lists.
fn extension(overload: &str, args: &[Value<'_>]) -> Option<Cost> {
    let new_list = |factor: f64, size: u64| {
        #[expect(clippy::cast_precision_loss, reason = "as it is defined")]
        Some(Cost::Before(to_u64(size as f64 * factor).saturating_add(1 + NEW_LIST)))
    };
    match (overload, args) {
        ("list_sets_contains_list" | "list_sets_intersects_list", [one, another]) => {
            Some(Cost::Before(size(one).saturating_mul(size(another)).saturating_add(1)))
        }
        ("list_sets_equivalent_list", [one, another]) => {
            Some(Cost::Before(size(one).saturating_mul(size(another)).saturating_mul(2).saturating_add(1)))
        }
        ("list_slice" | "list_reverse", _) => Some(Cost::After { factor: 1.0, plus: 1 + NEW_LIST }),
        // What would be too long must not be made.
        ("lists_range", [Value::Int(count)]) => new_list(1.0, u64::try_from(*count).unwrap_or(0)),
        ("list_flatten", [list]) => new_list(1.0, size(list)),
        #[expect(clippy::cast_precision_loss, reason = "as it is defined")]
        ("list_flatten_int", [list, Value::Int(depth)]) => new_list(*depth as f64, size(list)),
        ("list_distinct", [list]) => self_comparison(list),
        (sort, [list]) if sort.ends_with("_sort") => self_comparison(list),
        (sort, [_, keys]) if sort.ends_with("_sortByAssociatedKeys") => self_comparison(keys),
        _ => None,
    }
}

fn self_comparison(list: &Value<'_>) -> Option<Cost> {
    let Value::List(elements) = list else { return None };
    let text = matches!(elements.get(0), Some(Ok(Value::String(_) | Value::Bytes(_))));
    let factor = if text { 2.0 + TRAVERSAL } else { 2.0 };
    #[expect(clippy::cast_precision_loss, reason = "as it is defined")]
    let cost = to_u64(size(list).saturating_mul(size(list)) as f64 * factor);
    Some(Cost::Before(cost.saturating_add(1 + NEW_LIST)))
}

/// Functions of Kubernetes' libraries, by name.
fn kubernetes(
    meter: &mut Meter,
    function: &str,
    overload: &str,
    args: &[Value<'_>],
) -> Result<Option<Cost>, EvalError> {
    let first = args.first().map_or(0, size);
    let cost = match (function, args) {
        ("check", _) => CHECK,
        (known, _) if costs_one(known) => 1,
        ("fieldSelector" | "labelSelector", [_, selector]) => {
            selector_cost(Size::exactly(size(selector))).max
        }
        ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", [list, ..]) => {
            traversal(meter, list)?
        }
        ("url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "jsonpatch.escapeKey", [_, ..]) => {
            scale(first, TRAVERSAL)
        }
        ("replace" | "split", [_, ..]) => scale(first, 2.0 * TRAVERSAL),
        ("join", [_, ..]) => return Ok(Some(Cost::After { factor: 2.0 * TRAVERSAL, plus: 0 })),
        ("find" | "findAll", [text, pattern, ..]) => matching(size(text), size(pattern)),
        ("ip", [_]) if overload == "cidr_ip" => 1,
        ("cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver", [_, ..]) => {
            scale(first, TRAVERSAL)
        }
        ("ip.isCanonical", [_]) => scale(first, 2.0 * TRAVERSAL),
        ("containsIP" | "containsCIDR", [cidr, other]) => {
            let mut cost = scale(2 * size(cidr), TRAVERSAL);
            if function == "containsCIDR" {
                cost += scale(size(cidr), TRAVERSAL) + 1;
            }
            if matches!(overload, "cidr_contains_ip_string" | "cidr_contains_cidr_string") {
                cost += scale(size(other), TRAVERSAL);
            }
            cost
        }
        ("validate", [Value::Format(format), text]) => matching(size(text), format.pattern_size()),
        _ => return Ok(None),
    };
    Ok(Some(Cost::Before(cost)))
}

/// One for each scalar in a value, and a tenth for each byte of its strings.
fn traversal(meter: &mut Meter, value: &Value<'_>) -> Result<u64, EvalError> {
    meter.work(1)?;
    #[expect(clippy::cast_precision_loss, reason = "as it is defined")]
    let bytes = |length: usize| to_u64(length as f64 * TRAVERSAL);
    let mut cost: u64 = 0;
    match value {
        Value::String(text) => cost = bytes(text.len()),
        Value::Bytes(data) => cost = bytes(data.len()),
        Value::List(list) => {
            for element in list.iter() {
                cost = cost.saturating_add(traversal(meter, &element?)?);
            }
        }
        Value::Map(map) => {
            for key in map.keys() {
                cost = cost.saturating_add(traversal(meter, &key)?);
                if let Some(value) = map.get(&key) {
                    cost = cost.saturating_add(traversal(meter, &value?)?);
                }
            }
        }
        _ => cost = 1,
    }
    Ok(cost)
}
