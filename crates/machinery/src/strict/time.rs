//! Times as Go reads them, and the words in which it refuses others.
//!
//! Source: `time.Parse` with the layouts of `meta/v1.Time` and `MicroTime`, which is more lenient than RFC 3339 in some places (hours
//! of one digit, fractions after a comma) and stricter than its readers elsewhere (no blank between day and hour).

use std::fmt::Write as _;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

const SECONDS: &str = "2006-01-02T15:04:05Z07:00";
const MICROSECONDS: &str = "2006-01-02T15:04:05.000000Z07:00";
/// The fraction in the second of them.
const FRACTION: &str = ".000000";
const ZONE: &str = "Z07:00";

/// A time, to the second, in UTC.
pub(super) fn time(text: &str) -> Result<String, String> {
    let time = Reader::new(text, SECONDS).timestamp()?;
    Ok(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A time, to the microsecond, in UTC.
pub(super) fn micro_time(text: &str) -> Result<String, String> {
    let time = Reader::new(text, MICROSECONDS).timestamp()?;
    Ok(time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
}

struct Reader<'t> {
    layout: &'static str,
    text: &'t str,
    /// What has not been read yet.
    rest: &'t [u8],
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, layout: &'static str) -> Self {
        Self { layout, text, rest: text.as_bytes() }
    }

    fn timestamp(mut self) -> Result<Timestamp, String> {
        let year = self.number("", "2006", 4)?;
        let month = self.within("-", "01", 1..=12, "month")?;
        let day = self.number("-", "02", 2)?;
        let hour = self.within("T", "15", 0..=23, "hour")?;
        let minute = self.within(":", "04", 0..=59, "minute")?;
        let second = self.within(":", "05", 0..=59, "second")?;
        let nanos = self.fraction()?;
        let offset = self.zone()?;
        if !self.rest.is_empty() {
            return Err(self.wrong(&format!(": extra text: {}", quoted(self.rest))));
        }
        let small = |number: u16| i8::try_from(number).unwrap_or(i8::MAX);
        let year = i16::try_from(year).unwrap_or(i16::MAX);
        let time =
            DateTime::new(year, small(month), small(day), small(hour), small(minute), small(second), nanos)
                .map_err(|_| self.wrong(": day out of range"))?;
        let utc = time.to_zoned(TimeZone::UTC).and_then(|time| time.timestamp().checked_sub(offset));
        utc.map_err(|_| self.wrong(": year out of range"))
    }

    /// A number after a separator. Its digits are as many as `digits`, but for hours, of which one will do.
    fn number(
        &mut self,
        separator: &'static str,
        element: &'static str,
        digits: usize,
    ) -> Result<u16, String> {
        self.rest = match self.rest.strip_prefix(separator.as_bytes()) {
            Some(rest) => rest,
            None => return Err(self.unread(self.rest, separator)),
        };
        let count = self.rest.iter().take(digits).take_while(|byte| byte.is_ascii_digit()).count();
        if count < digits && !(element == "15" && count == 1) {
            return Err(self.unread(self.rest, element));
        }
        let (number, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(decimal(number))
    }

    fn within(
        &mut self,
        separator: &'static str,
        element: &'static str,
        range: std::ops::RangeInclusive<u16>,
        name: &str,
    ) -> Result<u16, String> {
        let number = self.number(separator, element, 2)?;
        if range.contains(&number) { Ok(number) } else { Err(self.wrong(&format!(": {name} out of range"))) }
    }

    /// The nanoseconds: six digits where the layout has them, else as many as there are, or none.
    fn fraction(&mut self) -> Result<i32, String> {
        let (point, digits) = match self.rest {
            [b'.' | b',', digits @ ..] => (true, digits),
            _ => (false, self.rest),
        };
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let wanted = FRACTION.len() - 1;
        let count = match (self.layout == MICROSECONDS, point) {
            (true, true) if count >= wanted => wanted,
            (true, _) => return Err(self.unread(self.rest, FRACTION)),
            (false, true) if count > 0 => count,
            (false, _) => return Ok(0),
        };
        let (digits, rest) = digits.split_at(count);
        self.rest = rest;
        let nth = |at: usize| digits.get(at).map_or(0, |digit| i32::from(digit - b'0'));
        Ok((0..9).fold(0, |nanos, at| nanos * 10 + nth(at)))
    }

    /// How much later than in UTC it is there.
    fn zone(&mut self) -> Result<SignedDuration, String> {
        let rest = self.rest;
        if let [b'Z', rest @ ..] = rest {
            self.rest = rest;
            return Ok(SignedDuration::ZERO);
        }
        let (sign, hours, minutes, rest) = match *rest {
            [sign, h1, h2, b':', m1, m2, ref rest @ ..] => (sign, [h1, h2], [m1, m2], rest),
            _ => return Err(self.unread(rest, ZONE)),
        };
        let are_digits = hours.iter().chain(&minutes).all(u8::is_ascii_digit);
        for (number, most, name) in [(hours, 24, "hour"), (minutes, 60, "minute")] {
            if are_digits && decimal(&number) > most {
                return Err(self.wrong(&format!(": time zone offset {name} out of range")));
            }
        }
        let seconds = (i64::from(decimal(&hours)) * 60 + i64::from(decimal(&minutes))) * 60;
        self.rest = rest;
        match sign {
            b'+' if are_digits => Ok(SignedDuration::from_secs(seconds)),
            b'-' if are_digits => Ok(SignedDuration::from_secs(-seconds)),
            _ => Err(self.unread(&self.text.as_bytes()[self.text.len() - rest.len() - 6..], ZONE)),
        }
    }

    fn unread(&self, rest: &[u8], element: &str) -> String {
        let [text, layout, rest, element] =
            [self.text.as_bytes(), self.layout.as_bytes(), rest, element.as_bytes()].map(quoted);
        format!("parsing time {text} as {layout}: cannot parse {rest} as {element}")
    }

    fn wrong(&self, what: &str) -> String {
        format!("parsing time {}{what}", quoted(self.text.as_bytes()))
    }
}

/// The number that up to four digits stand for.
fn decimal(digits: &[u8]) -> u16 {
    digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit.wrapping_sub(b'0') % 10))
}

/// A text as the package `time` quotes it.
fn quoted(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(*byte)]),
            b' '..=b'\x7f' => out.push(char::from(*byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_reads_them() {
        let check = |text: &str, expected: &str| assert_eq!(time(text).as_deref(), Ok(expected), "{text:?}");
        check("2026-01-01T02:00:00.5+02:00", "2026-01-01T00:00:00Z");
        check("2026-01-01T2:03:04,123456789123Z", "2026-01-01T02:03:04Z");
        check("2024-02-29T00:00:00-24:60", "2024-03-01T01:00:00Z");
        check("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z");
        assert_eq!(micro_time("2026-01-01T00:00:00.123456Z").as_deref(), Ok("2026-01-01T00:00:00.123456Z"));
    }

    #[test]
    fn other_texts_are_refused_in_its_words() {
        let check = |text: &str, why: &str| {
            assert_eq!(time(text), Err(format!("parsing time {why}")), "{text:?}");
        };
        let cannot = |text: &str, rest: &str, element: &str| {
            let why =
                format!("{text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {rest:?} as {element:?}");
            check(text, &why);
        };
        cannot("", "", "2006");
        cannot("x", "x", "2006");
        cannot("2026-01-01", "", "T");
        cannot("2026-01-01 00:00:00Z", " 00:00:00Z", "T");
        cannot("2026-1-01T00:00:00Z", "1-01T00:00:00Z", "01");
        cannot("2026-01-01T00:00:00", "", "Z07:00");
        cannot("2026-01-01T00:00:00z", "z", "Z07:00");
        cannot("2026-01-01T00:00:00*01:00", "*01:00", "Z07:00");
        check("2026-13-01T00:00:00Z", "\"2026-13-01T00:00:00Z\": month out of range");
        check("2026-02-29T00:00:00Z", "\"2026-02-29T00:00:00Z\": day out of range");
        check("2026-01-01T24:00:00Z", "\"2026-01-01T24:00:00Z\": hour out of range");
        check("2026-01-01T00:00:00Zx", "\"2026-01-01T00:00:00Zx\": extra text: \"x\"");
        check(
            "2026-01-01T00:00:00+25:00",
            "\"2026-01-01T00:00:00+25:00\": time zone offset hour out of range",
        );
        check(
            "ä",
            "\"\\xc3\\xa4\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\\xc3\\xa4\" as \"2006\"",
        );
    }

    #[test]
    fn microseconds_have_six_digits() {
        let check = |text: &str, rest: &str, element: &str| {
            let layout = "2006-01-02T15:04:05.000000Z07:00";
            let why = format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}");
            assert_eq!(micro_time(text), Err(why));
        };
        check("2026-01-01T00:00:00Z", "Z", ".000000");
        check("2026-01-01T00:00:00.12Z", ".12Z", ".000000");
        check("2026-01-01T00:00:00.1234567Z", "7Z", "Z07:00");
    }
}
