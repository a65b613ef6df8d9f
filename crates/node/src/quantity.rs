//! Kubernetes resource quantities as whole numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// A map of resource name to amount, as in `resources.requests`.
pub(crate) type Amounts = BTreeMap<String, Quantity>;

/// The quantity in thousandths, rounded up (CPU in millicores); `None` when the text is not a quantity.
pub(crate) fn milli(quantity: &Quantity) -> Option<i64> {
    Some(read(quantity)?.millis())
}

/// The quantity in whole units, rounded up (memory in bytes); `None` when the text is not a quantity.
pub(crate) fn units(quantity: &Quantity) -> Option<i64> {
    Some(read(quantity)?.units())
}

fn read(quantity: &Quantity) -> Option<skiff_quantity::Quantity> {
    quantity.0.parse().ok()
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
