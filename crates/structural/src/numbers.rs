//! Numbers as Go writes and reads them.

use serde_json::Value;
use skiff_ordered::Ordered as _;

/// What JSON can hold exactly: 2^53 - 1.
const EXACT: f64 = 9_007_199_254_740_991.0;

/// Whether a number is whole, and small enough to be told from its neighbours.
pub(crate) fn is_whole(value: &Value) -> bool {
    value.as_f64().is_some_and(is_whole_float)
}

/// The same of a float; differences of less than a billionth are none.
pub(crate) fn is_whole_float(number: f64) -> bool {
    if !(-EXACT..=EXACT).contains(&number) {
        return false;
    }
    let whole = number.trunc();
    number == whole || (number > 0.0 && whole != 0.0 && (number - whole) / (number + whole) < 1e-9)
}

/// A float as Go's `%v` writes it: `1e+21` from there on, and `1e-05`.
pub(crate) fn go_float(number: f64) -> String {
    if number == 0.0 {
        return if number.is_sign_negative() { "-0".to_owned() } else { "0".to_owned() };
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if (-4..21).contains(&exponent) => format!("{number}"),
        Ok(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        Err(_) => scientific,
    }
}

/// A value as messages show it: floats that are whole are written without a fraction.
pub(crate) fn shown(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
            let whole = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9.2e18).map(|n| n as i64);
            whole.map_or_else(|| value.clone(), Value::from)
        }
        Value::Array(items) => items.iter().map(shown).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), shown(value))).one_by_one())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_floats_as_go_does() {
        let check = |number: f64, wanted: &str| assert_eq!(go_float(number), wanted);
        check(0.0, "0");
        check(3.0, "3");
        check(-2.5, "-2.5");
        check(0.1, "0.1");
        check(1e20, "100000000000000000000");
        check(1e21, "1e+21");
        check(1.5e300, "1.5e+300");
        check(0.0001, "0.0001");
        check(0.00001, "1e-05");
        check(1.25e-7, "1.25e-07");
    }
}
