//! Texts with a meaning: checked, and brought into the form in which Kubernetes writes them.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use crate::quantity::Quantity;

/// An amount, in canonical form.
pub(super) fn quantity(text: &str) -> Result<String, String> {
    text.trim().parse::<Quantity>().map(|q| q.to_string()).map_err(|error| error.to_string())
}

/// A number as Go writes it: without a point where it is whole.
pub(crate) fn float(value: f64) -> Value {
    /// Below this, every whole number has a form of its own in both types.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        #[allow(clippy::cast_possible_truncation, reason = "it is whole and within the bounds")]
        return Value::from(value as i64);
    }
    value.into()
}

/// The text of such a number in JSON: with an exponent where it is far from one.
pub(super) fn float_text(value: f64) -> String {
    if value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

/// Bytes as they are written.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Base64 as Go writes it again: without the line breaks that its decoder skips, and without what was in the last bits.
pub(super) fn bytes(text: &str) -> Result<String, String> {
    let corrupt = |at: usize| format!("illegal base64 data at input byte {at}");
    if let Some(at) = illegal_byte(text.as_bytes()) {
        return Err(corrupt(at));
    }
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = LENIENT.decode(&text).map_err(|_| corrupt(text.len()))?;
    Ok(STANDARD.encode(bytes))
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Which byte Go's decoder finds fault with: digits come in fours, of which the last ones may be padding.
fn illegal_byte(text: &[u8]) -> Option<usize> {
    let is_break = |byte: u8| matches!(byte, b'\r' | b'\n');
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let after_breaks = |at: usize| (at..text.len()).find(|at| !is_break(text[*at])).unwrap_or(text.len());
    let (mut at, mut digits) = (0, 0);
    loop {
        match text.get(at).copied() {
            None => return (digits > 0).then(|| text.len() - digits),
            Some(byte) if is_break(byte) => {}
            Some(byte) if is_digit(byte) => digits = (digits + 1) % 4,
            Some(b'=') if digits >= 2 => break,
            Some(_) => return Some(at),
        }
        at += 1;
    }
    let mut end = at + 1;
    if digits == 2 {
        let second = after_breaks(end);
        match text.get(second) {
            None => return Some(text.len()),
            Some(b'=') => end = second + 1,
            Some(_) => return Some(second - 1),
        }
    }
    let rest = after_breaks(end);
    (rest < text.len()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_go_reads_it() {
        let check = |text: &str, expected: Result<&str, usize>| {
            let expected = expected.map(str::to_owned);
            let expected = expected.map_err(|at| format!("illegal base64 data at input byte {at}"));
            assert_eq!(bytes(text), expected, "{text:?}");
        };
        check("MQ==", Ok("MQ=="));
        check("MR==", Ok("MQ=="));
        check("M\nQ=\n=\n", Ok("MQ=="));
        check("", Ok(""));
        check("1", Err(0));
        check("12", Err(0));
        check("12345", Err(4));
        check("?", Err(0));
        check("MQ=", Err(3));
        check("MQ==x", Err(4));
        check("M===", Err(1));
        check("MQ=x", Err(2));
    }
}
