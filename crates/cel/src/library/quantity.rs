//! Amounts of resources: `100m`, `1.5Gi`, `2e3`.

use std::sync::Arc;

use crate::error::EvalError;
use crate::value::Value;

use super::{Outcome, Table};

pub(super) const FUNCTIONS: Table = &[
    ("quantity", &["string_to_quantity (string) -> Quantity"], |_, args| match args {
        [Value::String(text)] => Quantity::parse(text).map(quantity).ok_or_else(|| {
            EvalError::new(
                "quantities must match the regular expression \
                 '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            )
        }),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("isQuantity", &["is_quantity_string (string) -> bool"], |_, args| match args {
        [Value::String(text)] => Ok(Value::Bool(Quantity::parse(text).is_some())),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("sign", &["quantity_sign (Quantity) -> int"], |_, args| {
        one(args, |quantity| {
            Ok(Value::Int(if quantity.nano < 0 { -1 } else { i64::from(quantity.nano > 0) }))
        })
    }),
    ("isGreaterThan", &["quantity_is_greater_than Quantity.(Quantity) -> bool"], |_, args| {
        two(args, |one, another| Ok(Value::Bool(one > another)))
    }),
    ("isLessThan", &["quantity_is_less_than Quantity.(Quantity) -> bool"], |_, args| {
        two(args, |one, another| Ok(Value::Bool(one < another)))
    }),
    ("compareTo", &["quantity_compare_to Quantity.(Quantity) -> int"], |_, args| {
        two(args, |one, another| Ok(Value::Int(one.cmp(another) as i64)))
    }),
    ("asApproximateFloat", &["quantity_get_float Quantity.() -> double"], |_, args| {
        #[expect(clippy::cast_precision_loss, reason = "an approximation is asked for")]
        one(args, |quantity| Ok(Value::Double(quantity.nano as f64 / NANO as f64)))
    }),
    ("asInteger", &["quantity_get_int Quantity.() -> int"], |_, args| {
        one(args, |quantity| {
            let integer = quantity.integer().map(Value::Int);
            integer.ok_or_else(|| EvalError::new("cannot convert value to integer"))
        })
    }),
    ("isInteger", &["quantity_is_integer Quantity.() -> bool"], |_, args| {
        one(args, |quantity| Ok(Value::Bool(quantity.integer().is_some())))
    }),
    (
        "add",
        &["quantity_add Quantity.(Quantity) -> Quantity", "quantity_add_int Quantity.(int) -> Quantity"],
        |_, args| {
            two(args, |one, another| Ok(quantity(Quantity { nano: one.nano.saturating_add(another.nano) })))
        },
    ),
    (
        "sub",
        &["quantity_sub Quantity.(Quantity) -> Quantity", "quantity_sub_int Quantity.(int) -> Quantity"],
        |_, args| {
            two(args, |one, another| Ok(quantity(Quantity { nano: one.nano.saturating_sub(another.nano) })))
        },
    ),
];

/// An exact amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity {
    /// In units of 10⁻⁹.
    nano: i128,
}

const NANO: i128 = 1_000_000_000;
/// Larger amounts are read as this one.
const MAX: i128 = i64::MAX as i128 * NANO;

fn quantity<'a>(quantity: Quantity) -> Value<'a> {
    Value::Quantity(Arc::new(quantity))
}

fn one<'a>(args: &[Value<'a>], get: impl FnOnce(&Quantity) -> Outcome<'a>) -> Outcome<'a> {
    match args {
        [Value::Quantity(quantity)] => get(quantity),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn two<'a>(args: &[Value<'a>], get: impl FnOnce(&Quantity, &Quantity) -> Outcome<'a>) -> Outcome<'a> {
    match args {
        [Value::Quantity(one), Value::Quantity(another)] => get(one, another),
        [Value::Quantity(one), Value::Int(whole)] => get(one, &Quantity { nano: i128::from(*whole) * NANO }),
        _ => Err(EvalError::no_such_overload()),
    }
}

impl Quantity {
    /// The amount in units of 10⁻⁹.
    pub fn nanos(self) -> i128 {
        self.nano
    }

    fn integer(self) -> Option<i64> {
        if self.nano % NANO == 0 { i64::try_from(self.nano / NANO).ok() } else { None }
    }

    fn parse(text: &str) -> Option<Self> {
        if matches!(text, "+" | "-") {
            return Some(Self { nano: 0 });
        }
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let magnitude = magnitude(number, suffix)?;
        Some(Self { nano: if negative { -magnitude } else { magnitude } })
    }
}

/// `number` in units of 10⁻⁹, rounded up and bounded.
fn magnitude(number: &str, suffix: &str) -> Option<i128> {
    const DECIMAL: &[&str] = &["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    const BINARY: &[&str] = &["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // A suffix without a number is zero.
    if (number.is_empty() && suffix.is_empty()) || fraction.contains('.') {
        return None;
    }
    let place =
        |names: &[&str]| names.iter().position(|name| *name == suffix).and_then(|at| i64::try_from(at).ok());
    let (mut power, bits) = match (place(DECIMAL), place(BINARY), suffix.strip_prefix(['e', 'E'])) {
        (Some(place), ..) => (3 * place, 0),
        (_, Some(place), _) => (9, 10 * (place + 1)),
        (_, _, Some(exponent)) => (9 + i64::from(exponent.parse::<i32>().ok()?.clamp(-100, 100)), 0),
        _ => return None,
    };
    let fraction = fraction.trim_end_matches('0');
    power -= i64::try_from(fraction.len()).ok()?;
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    // What has too many digits to be computed with is either beyond the bound or has digits far behind the point.
    let (kept, dropped) = digits.split_at(digits.len().min(20));
    power += i64::try_from(dropped.len()).ok()?;
    let inexact = dropped.bytes().any(|digit| digit != b'0');
    let mut value = kept.parse::<i128>().ok()?.checked_shl(u32::try_from(bits).ok()?)? + i128::from(inexact);
    while power > 0 && value < MAX {
        value = value.saturating_mul(10);
        power -= 1;
    }
    while power < 0 && value > 1 {
        value = value / 10 + i128::from(value % 10 != 0);
        power += 1;
    }
    Some(value.min(MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        let check = |text: &str, nano: Option<i128>| {
            assert_eq!(Quantity::parse(text).map(Quantity::nanos), nano, "{text}")
        };
        check("1", Some(NANO));
        check("-1.5", Some(-NANO * 3 / 2));
        check("100m", Some(NANO / 10));
        check("1Ki", Some(1024 * NANO));
        check("1.5Gi", Some(3 * 512 * 1024 * 1024 * NANO));
        check("2e3", Some(2000 * NANO));
        check("1n", Some(1));
        check("0.1n", Some(1));
        check("12E", Some(MAX));
        check("5.", Some(5 * NANO));
        check(".5", Some(NANO / 2));
        check("m", Some(0));
        check(".Ki", Some(0));
        check("-", Some(0));
        check("123456789012345678901234567890", Some(MAX));
        for text in ["", "1x", "1.2.3", "..", "1 Ki", "1e", "1ei"] {
            check(text, None);
        }
    }
}
