//! Reads Kubernetes resource quantities as whole numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// A map of resource name to amount, as in `resources.requests`.
pub(crate) type Amounts = BTreeMap<String, Quantity>;

/// The quantity in thousandths, rounded up (CPU in millicores); `None` when the text is not a quantity.
pub(crate) fn milli(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 3)
}

/// The quantity in whole units, rounded up (memory in bytes); `None` when the text is not a quantity.
pub(crate) fn units(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 0)
}

/// The amount of `resource` in millicores for `cpu` and in whole units for everything else; 0 when absent.
pub(crate) fn amount(amounts: Option<&Amounts>, resource: &str) -> i64 {
    let Some(quantity) = amounts.and_then(|amounts| amounts.get(resource)) else { return 0 };
    let read = if resource == "cpu" { milli(quantity) } else { units(quantity) };
    read.unwrap_or(0)
}

/// A quantity of `bytes`, with the largest binary suffix that loses nothing.
pub(crate) fn binary(bytes: u64) -> Quantity {
    const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let steps = usize::try_from(bytes.trailing_zeros() / 10).unwrap_or(0);
    let steps = if bytes == 0 { 0 } else { steps.min(SUFFIXES.len() - 1) };
    Quantity(format!("{}{}", bytes >> (10 * steps), SUFFIXES[steps]))
}

/// A quantity of `bytes`, written without a suffix or in Ki when it divides evenly: how nodes state theirs.
pub(crate) fn bytes(bytes: u64) -> Quantity {
    if bytes > 0 && bytes.is_multiple_of(1024) {
        Quantity(format!("{}Ki", bytes / 1024))
    } else {
        Quantity(bytes.to_string())
    }
}

/// A quantity of thousandths of a CPU.
pub(crate) fn millicores(milli: u64) -> Quantity {
    if milli.is_multiple_of(1000) { count(milli / 1000) } else { Quantity(format!("{milli}m")) }
}

/// A quantity of whole things.
pub(crate) fn count(number: u64) -> Quantity {
    Quantity(number.to_string())
}

/// Parses `text` and returns it times 10^`decimals`, rounded away from zero and clamped to `i64`.
fn scaled(text: &str, decimals: i32) -> Option<i64> {
    let number_end = text
        .char_indices()
        .find(|(index, c)| !(c.is_ascii_digit() || *c == '.' || (*index == 0 && (*c == '+' || *c == '-'))))
        .map_or(text.len(), |(index, _)| index);
    let (number, suffix) = text.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let negative = whole.starts_with('-');
    let digits = format!("{}{}", whole.trim_start_matches(['+', '-']), fraction);
    let mantissa: i128 = if digits.is_empty() { return None } else { digits.parse().ok()? };
    let (binary, exponent) = suffix_scale(suffix)?;
    let exponent = exponent + decimals - i32::try_from(fraction.len()).ok()?;
    let value = mantissa.checked_mul(binary).and_then(|value| times_power_of_ten(value, exponent));
    let value = value.unwrap_or(i128::from(i64::MAX));
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    Some(if negative { -value } else { value })
}

/// `value` × 10^`exponent`, rounded up for negative exponents.
fn times_power_of_ten(value: i128, exponent: i32) -> Option<i128> {
    let power = 10i128.checked_pow(exponent.unsigned_abs())?;
    if exponent >= 0 {
        value.checked_mul(power)
    } else {
        Some(value.div_euclid(power) + i128::from(value % power != 0))
    }
}

/// The binary multiplier and the decimal exponent a suffix stands for.
fn suffix_scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => (1, suffix.strip_prefix(['e', 'E'])?.parse().ok().filter(|e: &i32| e.abs() <= 18)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected_milli: Option<i64>, expected_units: Option<i64>) {
        let quantity = Quantity(text.into());
        assert_eq!((milli(&quantity), units(&quantity)), (expected_milli, expected_units), "{text}");
    }

    #[test]
    fn sums_are_written_in_the_largest_unit() {
        for (number, text) in
            [(0, "0"), (1000, "1000"), (1024, "1Ki"), (100 << 20, "100Mi"), (1 << 63, "8Ei")]
        {
            assert_eq!(binary(number).0, text);
        }
        for (milli, text) in [(0, "0"), (100, "100m"), (1500, "1500m"), (2000, "2")] {
            assert_eq!(millicores(milli).0, text);
        }
    }

    #[test]
    fn reads_every_suffix() {
        check("1", Some(1000), Some(1));
        check("250m", Some(250), Some(1));
        check("1.5", Some(1500), Some(2));
        check("64Mi", Some(67_108_864_000), Some(67_108_864));
        check("1e3", Some(1_000_000), Some(1000));
        check("100u", Some(1), Some(1));
        check("2k", Some(2_000_000), Some(2000));
        check("-1", Some(-1000), Some(-1));
        check("abc", None, None);
        check("", None, None);
        check("9E", Some(i64::MAX), Some(9_000_000_000_000_000_000));
    }
}
