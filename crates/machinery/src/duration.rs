//! Durations: as kubectl prints them, short, and coarser the longer they are; and as Go reads them.

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use crate::go;

/// A duration in whole seconds (may be negative), e.g. `5m10s` or `3d4h`.
pub fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, unit: char, small: i64, rest: char| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{rest}"),
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(seconds / MINUTE, 'm', seconds % MINUTE, 's'),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds / HOUR, 'h', seconds % HOUR / MINUTE, 'm'),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds / DAY, 'd', seconds % DAY / HOUR, 'h'),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(seconds / YEAR, 'y', seconds % YEAR / DAY, 'd'),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// The time from an RFC 3339 timestamp to `now`; `<unknown>` without a (readable) timestamp.
pub fn since(timestamp: &str, now: Timestamp) -> String {
    match timestamp.parse::<Timestamp>() {
        Ok(then) => human(now.duration_since(then).as_secs()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// A text that is no duration, in Go's words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("time: {0}")]
pub struct DurationError(String);

/// Reads a duration as Go does: numbers with units, such as `1h30m`, `-1.5s` and `0`.
///
/// # Errors
///
/// What is wrong with the text.
pub fn parse(text: &str) -> Result<SignedDuration, DurationError> {
    let quoted = || go::quoted(text);
    let invalid = || DurationError(format!("invalid duration {}", quoted()));
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if unsigned.is_empty() {
        return Err(invalid());
    }
    let (mut rest, mut total) = (unsigned, 0_i128);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(invalid());
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        if name.is_empty() {
            return Err(DurationError(format!("missing unit in duration {}", quoted())));
        }
        let Some(unit) = nanoseconds(name) else {
            let why = format!("unknown unit {} in duration {}", go::quoted(name), quoted());
            return Err(DurationError(why));
        };
        total += scaled(whole, fraction, unit).ok_or_else(invalid)?;
        rest = after;
    }
    let nanos = i64::try_from(if text.starts_with('-') { -total } else { total }).map_err(|_| invalid())?;
    Ok(SignedDuration::from_nanos(nanos))
}

fn nanoseconds(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `None` if it is too long. Digits of a fraction that a duration cannot hold are left out.
fn scaled(whole: &str, fraction: &str, unit: i128) -> Option<i128> {
    let number =
        |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<i64>().ok().map(i128::from) };
    let digits = &fraction[..fraction.len().min(18)];
    let places = u32::try_from(digits.len()).ok()?;
    Some(number(whole)? * unit + number(digits)? * unit / 10_i128.pow(places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_go() {
        let check =
            |text: &str, millis: i64| assert_eq!(parse(text).unwrap(), SignedDuration::from_millis(millis));
        check("0", 0);
        check("+5s", 5_000);
        check("-1.5s", -1_500);
        check("1h30m", 5_400_000);
        check("1m.5s", 60_500);
        check("100ms1s", 1_100);
        check("1.s", 1_000);
        assert_eq!(parse("3\u{b5}s").unwrap(), SignedDuration::from_micros(3));
        let refuse =
            |text: &str, why: &str| assert_eq!(parse(text).unwrap_err().to_string(), format!("time: {why}"));
        refuse("", r#"invalid duration """#);
        refuse("s", r#"invalid duration "s""#);
        refuse("-.s", r#"invalid duration "-.s""#);
        refuse("3", r#"missing unit in duration "3""#);
        refuse("3d", r#"unknown unit "d" in duration "3d""#);
        refuse("9999999999h", r#"invalid duration "9999999999h""#);
    }

    #[test]
    fn prints_as_kubectl() {
        let check = |seconds: i64, text: &str| assert_eq!(human(seconds), text);
        check(-2, "<invalid>");
        check(-1, "0s");
        check(0, "0s");
        check(119, "119s");
        check(120, "2m");
        check(121, "2m1s");
        check(600, "10m");
        check(10_799, "179m");
        check(10_800, "3h");
        check(10_860, "3h1m");
        check(28_800, "8h");
        check(172_799, "47h");
        check(172_800, "2d");
        check(176_400, "2d1h");
        check(691_200, "8d");
        check(63_072_000, "2y");
        check(63_158_400, "2y1d");
        check(252_288_000, "8y");
    }

    #[test]
    fn counts_from_a_timestamp() {
        let now: Timestamp = "2026-01-01T00:05:10Z".parse().unwrap();
        assert_eq!(since("2026-01-01T00:00:00Z", now), "5m10s");
        assert_eq!(since("", now), "<unknown>");
    }
}
