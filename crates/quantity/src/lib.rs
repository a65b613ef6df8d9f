//! Amounts of resources, such as `100m`, `1.5Gi` and `2e3`, and how much of one the containers of a pod need together.
//!
//! Everything that reads an amount reads it here: two that read the same text differently would disagree on what fits.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub use pods::{Needed, Role, at_one_time, while_resized};

mod pods;

/// An exact amount, at a resolution of 10⁻⁹, with the family of suffixes in which it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// In units of 10⁻⁹.
    nano: i128,
    suffixes: Suffixes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suffixes {
    /// `n u m k M G T P E`
    Decimal,
    /// `Ki Mi Gi Ti Pi Ei`
    Binary,
    /// `e3`
    Exponent,
}

/// Text that is not an amount.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NotAQuantity {
    /// It has another form.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Form,
    /// It has the form of one, with a suffix that means nothing.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANO: i128 = 1_000_000_000;
/// Kubernetes reads larger amounts as this one.
const MAX: i128 = i64::MAX as i128 * NANO;
const DECIMAL: &[(&str, i32)] = &[
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: &[&str] = &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// Whole units, written with decimal suffixes.
    pub fn of_units(units: i64) -> Self {
        Self { nano: i128::from(units) * NANO, suffixes: Suffixes::Decimal }
    }

    /// Thousandths, written with decimal suffixes.
    pub fn of_millis(millis: i64) -> Self {
        Self { nano: i128::from(millis) * (NANO / 1000), suffixes: Suffixes::Decimal }
    }

    /// The same amount, written with binary suffixes.
    #[must_use]
    pub fn in_binary(self) -> Self {
        Self { suffixes: Suffixes::Binary, ..self }
    }

    /// The amount as an integer, if it is one and fits.
    pub fn integer(self) -> Option<i64> {
        if self.nano % NANO == 0 { i64::try_from(self.nano / NANO).ok() } else { None }
    }

    /// The amount in whole units, rounded up: bytes of memory, numbers of pods.
    pub fn units(self) -> i64 {
        Self::rounded_up(self.nano, NANO)
    }

    /// The amount in thousandths, rounded up: millicores.
    pub fn millis(self) -> i64 {
        Self::rounded_up(self.nano, NANO / 1000)
    }

    /// The amount in units of 10⁻⁹, for exact comparison.
    pub fn nanos(self) -> i128 {
        self.nano
    }

    /// The sum, written with the suffixes of the first.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let nano = self.nano.saturating_add(other.nano);
        let suffixes = if self.nano == 0 { other.suffixes } else { self.suffixes };
        Self { nano, suffixes }
    }

    /// The difference, written with the suffixes of the first.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(Self { nano: -other.nano, ..other })
    }

    /// The amount in whole units, rounded up, as an amount.
    #[must_use]
    pub fn whole(self) -> Self {
        Self { nano: i128::from(self.units()) * NANO, ..self }
    }

    fn rounded_up(nano: i128, unit: i128) -> i64 {
        let up = nano.div_euclid(unit) + i128::from(nano.rem_euclid(unit) != 0);
        i64::try_from(up).unwrap_or(if up > 0 { i64::MAX } else { i64::MIN })
    }
}

impl From<u32> for Quantity {
    /// Whole units, written with decimal suffixes.
    fn from(units: u32) -> Self {
        Self::of_units(units.into())
    }
}

impl FromStr for Quantity {
    type Err = NotAQuantity;

    /// As Kubernetes reads them: a sign, a point or a suffix without any digit is zero.
    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        if text.is_empty() {
            return Err(NotAQuantity::Form);
        }
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (scale, suffixes) = scale(suffix)?;
        let magnitude = scaled(number, scale)?;
        let nano = if text.starts_with('-') { -magnitude } else { magnitude };
        Ok(Self { nano, suffixes })
    }
}

/// What a suffix multiplies by.
#[derive(Clone, Copy)]
enum Scale {
    TenTo(i32),
    TwoTo(u32),
}

fn scale(suffix: &str) -> Result<(Scale, Suffixes), NotAQuantity> {
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Ok((Scale::TenTo(*power), Suffixes::Decimal));
    }
    if let Some(power) = (1_u32..).zip(&BINARY[1..]).find_map(|(i, name)| (*name == suffix).then_some(i)) {
        return Ok((Scale::TwoTo(10 * power), Suffixes::Binary));
    }
    let power = suffix.strip_prefix(['e', 'E']).and_then(|exponent| exponent.parse::<i32>().ok());
    let Some(power) = power else { return Err(no_suffix(suffix)) };
    Ok((Scale::TenTo(power.clamp(-60, 60)), Suffixes::Exponent))
}

/// Whether a text that is no suffix has at least the form of one: letters of suffixes, and an exponent.
fn no_suffix(text: &str) -> NotAQuantity {
    let rest = text.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    if rest.bytes().all(|byte| byte.is_ascii_digit()) { NotAQuantity::Suffix } else { NotAQuantity::Form }
}

/// `number × scale` in units of 10⁻⁹, rounded up and capped.
fn scaled(number: &str, scale: Scale) -> Result<i128, NotAQuantity> {
    /// Digits that can be computed with.
    const DIGITS: usize = 20;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') {
        return Err(NotAQuantity::Form);
    }
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    // What has more digits is either beyond the cap or has digits far behind the point.
    let (kept, dropped) = digits.split_at(digits.len().min(DIGITS));
    let inexact = dropped.bytes().any(|digit| digit != b'0');
    let mut value = kept.parse::<i128>().map_err(|_| NotAQuantity::Form)? + i128::from(inexact);
    let places = |text: &str| i64::try_from(text.len()).map_err(|_| NotAQuantity::Form);
    let mut power = 9 + places(dropped)? - places(fraction)?;
    match scale {
        Scale::TenTo(more) => power += i64::from(more),
        Scale::TwoTo(bits) => value = value.saturating_mul(1 << bits),
    }
    while power > 0 && value < MAX {
        value = value.saturating_mul(10);
        power -= 1;
    }
    while power < 0 && value > 1 {
        value = value / 10 + i128::from(value % 10 != 0);
        power += 1;
    }
    Ok(value.min(MAX))
}

impl fmt::Display for Quantity {
    /// In canonical form: no fraction, the largest suffix that allows that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let small = self.nano.abs() < 1024 * NANO;
        match self.suffixes {
            _ if self.nano == 0 => f.write_str("0"),
            Suffixes::Binary if !small => {
                let mut value = i128::from(self.units());
                let mut power = 0;
                while value % 1024 == 0 && power + 1 < BINARY.len() {
                    value /= 1024;
                    power += 1;
                }
                write!(f, "{value}{}", BINARY[power])
            }
            family => {
                let (mut value, mut at) = (self.nano, 0);
                while value % 1000 == 0 && at + 1 < DECIMAL.len() {
                    value /= 1000;
                    at += 1;
                }
                let (suffix, power) = DECIMAL[at];
                match family {
                    Suffixes::Exponent if power != 0 => write!(f, "{value}e{power}"),
                    _ => write!(f, "{value}{suffix}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_canonical_form() {
        let check = |text: &str, canonical: &str| {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), canonical, "{text}");
        };
        check("0", "0");
        check("0Mi", "0");
        check("1", "1");
        check("+1", "1");
        check("-1.5", "-1500m");
        check("1000m", "1");
        check("0.5", "500m");
        check(".5", "500m");
        check("5.", "5");
        check("1500", "1500");
        check("1000", "1k");
        check("1.5Gi", "1536Mi");
        check("1024Mi", "1Gi");
        check("1023Ki", "1023Ki");
        check("0.5Ki", "512");
        check("1e3", "1e3");
        check("12E", "9223372036854775807");
        check("0.1n", "1n");
        check("2e-3", "2e-3");
    }

    #[test]
    fn refuses_what_is_not_an_amount() {
        for text in ["", "1x", "1.2.3", "..", "1 Gi"] {
            assert_eq!(text.parse::<Quantity>(), Err(NotAQuantity::Form), "{text}");
        }
        for text in ["1ki", "1e", "1ei", "1mm", "1Gi5", "--1"] {
            assert_eq!(text.parse::<Quantity>(), Err(NotAQuantity::Suffix), "{text}");
        }
    }

    #[test]
    fn amounts_are_read_exactly() {
        let check = |text: &str, nano: i128| {
            assert_eq!(text.parse().map(Quantity::nanos), Ok(nano), "{text}");
        };
        check("1", NANO);
        check("-1.5", -NANO * 3 / 2);
        check("1.5Gi", 3 * 512 * 1024 * 1024 * NANO);
        check("0.1n", 1);
        check("12E", MAX);
        check("123456789012345678901234567890", MAX);
        check("0.000000000000000000000000000000123456789012345678901", 1);
        for zero in ["m", ".", ".Ki", "-", "+", "e3", "0e60"] {
            check(zero, 0);
        }
    }

    #[test]
    fn only_whole_amounts_are_integers() {
        let integer = |text: &str| text.parse().ok().and_then(Quantity::integer);
        assert_eq!(["2k", "-1500m", "1Ki"].map(integer), [Some(2000), None, Some(1024)]);
    }

    #[test]
    fn the_difference_is_written_as_the_first_is() {
        let check = |a: &str, b: &str, difference: &str| {
            let [a, b] = [a, b].map(|text| text.parse::<Quantity>().unwrap());
            assert_eq!(a.minus(b).to_string(), difference);
        };
        check("2Gi", "1024Mi", "1Gi");
        check("1", "1500m", "-500m");
        check("0", "1Ki", "-1Ki");
    }

    #[test]
    fn whole_units_are_rounded_up() {
        let whole = |text: &str| text.parse::<Quantity>().unwrap().whole().to_string();
        assert_eq!(["1100m", "1Gi", "-1500m"].map(whole), ["2", "1Gi", "-1"]);
        assert_eq!(Quantity::from(2000).to_string(), "2k");
    }

    #[test]
    fn counts_units() {
        let quantity: Quantity = "1500m".parse().unwrap();
        assert_eq!((quantity.units(), quantity.millis()), (2, 1500));
        assert_eq!("64Mi".parse::<Quantity>().unwrap().units(), 64 << 20);
    }
}
