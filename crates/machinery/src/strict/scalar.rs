//! Texts with a meaning: checked, and brought into the form in which Kubernetes writes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
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

/// A time, to the second, in UTC.
pub(super) fn time(text: &str) -> Result<String, String> {
    let time = timestamp(text, "2006-01-02T15:04:05Z07:00")?;
    Ok(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A time, to the microsecond, in UTC.
pub(super) fn micro_time(text: &str) -> Result<String, String> {
    let time = timestamp(text, "2006-01-02T15:04:05.000000Z07:00")?;
    Ok(time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
}

fn timestamp(text: &str, layout: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| {
        let (rest, element) = mismatch(text);
        format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}")
    })
}

/// Where a text stops to be a time, and what Go expects there.
fn mismatch(text: &str) -> (&str, &'static str) {
    const ELEMENTS: [(&str, usize); 11] = [
        ("2006", 4),
        ("-", 0),
        ("01", 2),
        ("-", 0),
        ("02", 2),
        ("T", 0),
        ("15", 2),
        (":", 0),
        ("04", 2),
        (":", 0),
        ("05", 2),
    ];
    let mut rest = text;
    for (element, digits) in ELEMENTS {
        let end = match digits {
            0 => rest.starts_with(element).then_some(1),
            count => rest.bytes().take(count).all(|byte| byte.is_ascii_digit()).then_some(count),
        };
        match end.and_then(|end| rest.get(end..)) {
            Some(after) => rest = after,
            None => return (rest, element),
        }
    }
    (rest, "Z07:00")
}

/// Base64, without the line breaks that Go's decoder skips.
pub(super) fn bytes(text: &str) -> Result<String, String> {
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match STANDARD.decode(&text) {
        Ok(_) => Ok(text),
        Err(base64::DecodeError::InvalidByte(at, _)) => {
            Err(format!("illegal base64 data at input byte {at}"))
        }
        Err(_) => Err(format!("illegal base64 data at input byte {}", text.len())),
    }
}
