//! Durations and points in time.

use std::fmt;

use jiff::civil;

use crate::error::EvalError;

/// Nanoseconds, positive or negative, of at most 292 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(i64);

const SECOND: i64 = 1_000_000_000;

impl Duration {
    /// A duration of so many nanoseconds.
    pub fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds.
    pub fn nanos(self) -> i64 {
        self.0
    }

    pub(crate) fn checked(nanos: i128) -> Result<Self, EvalError> {
        i64::try_from(nanos).map(Self).map_err(|_| EvalError::new("integer overflow"))
    }

    /// Reads `1h30m`, `-1.5s`, `100ms` and the like.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Some(Self(0));
        }
        if rest.is_empty() {
            return None;
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let (amount, after) = Self::amount(rest)?;
            total += amount;
            if total > 1 << 63 {
                return None;
            }
            rest = after;
        }
        i64::try_from(if negative { -total } else { total }).ok().map(Self)
    }

    /// One number with its unit, in nanoseconds, and what follows it.
    fn amount(text: &str) -> Option<(i128, &str)> {
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (whole, rest) = text.split_at(digits(text));
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(digits(rest)),
            None => ("", rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(end);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => i128::from(SECOND),
            "m" => 60 * i128::from(SECOND),
            "h" => 3600 * i128::from(SECOND),
            _ => return None,
        };
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()?.into() };
        let fraction = &fraction[..fraction.len().min(18)];
        let (mut part, mut scale): (i128, i128) = (0, 1);
        for digit in fraction.bytes() {
            part = part * 10 + i128::from(digit - b'0');
            scale *= 10;
        }
        Some((whole.checked_mul(unit)? + part * unit / scale, rest))
    }

    /// Reads what OpenAPI's format `duration` allows, which knows more units: `3 days`, `2w`.
    pub(crate) fn parse_schema(text: &str) -> Option<Self> {
        if let Some(duration) = Self::parse(text) {
            return Some(duration);
        }
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = rest.split_at(end);
        let seconds: i64 = match unit.trim().to_lowercase().as_str() {
            "sec" | "secs" | "second" | "seconds" => 1,
            "min" | "mins" | "minute" | "minutes" => 60,
            "hr" | "hrs" | "hour" | "hours" => 3600,
            "d" | "day" | "days" => 86_400,
            "w" | "wk" | "week" | "weeks" => 604_800,
            _ => return None,
        };
        let nanos = number.parse::<i64>().ok()?.checked_mul(seconds)?.checked_mul(SECOND)?;
        Some(Self(if negative { -nanos } else { nanos }))
    }

    /// As `string()` writes it: seconds with as many decimals as needed.
    pub(crate) fn seconds_text(self) -> String {
        format!("{}s", decimals(i128::from(self.0), 9))
    }
}

/// `value × 10^-places`, without zeros at the end.
fn decimals(value: i128, places: usize) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let digits = format!("{:0>1$}", value.unsigned_abs(), places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

/// `1h30m0s`, `1.5s`, `100ms`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i128::from(self.0);
        let magnitude = nanos.abs();
        let second = i128::from(SECOND);
        if magnitude < second {
            return match magnitude {
                0 => f.write_str("0s"),
                1..1_000 => write!(f, "{nanos}ns"),
                1_000..1_000_000 => write!(f, "{}µs", decimals(nanos, 3)),
                _ => write!(f, "{}ms", decimals(nanos, 6)),
            };
        }
        if nanos < 0 {
            f.write_str("-")?;
        }
        let (minutes, rest) = (magnitude / (60 * second), magnitude % (60 * second));
        match (minutes / 60, minutes % 60) {
            (0, 0) => {}
            (0, minutes) => write!(f, "{minutes}m")?,
            (hours, minutes) => write!(f, "{hours}h{minutes}m")?,
        }
        write!(f, "{}s", decimals(rest, 9))
    }
}

/// A point in time, between the years 1 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Since 1970.
    seconds: i64,
    nanos: u32,
}

/// A part of a date or time, in some time zone.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Year,
    /// From zero, as are the next two.
    Month,
    DayOfYear,
    DayOfMonth,
    /// From one.
    Date,
    /// From Sunday, which is zero.
    DayOfWeek,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

const EPOCH: civil::DateTime = civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_300_799;

impl Timestamp {
    /// The zero of Go's times.
    pub(crate) const ZERO: Self = Self { seconds: FIRST, nanos: 0 };

    pub(crate) fn from_seconds(seconds: i64) -> Result<Self, EvalError> {
        Self::checked(i128::from(seconds) * i128::from(SECOND))
    }

    /// Nanoseconds since 1970.
    pub fn nanos(self) -> i128 {
        i128::from(self.seconds) * i128::from(SECOND) + i128::from(self.nanos)
    }

    /// Seconds since 1970, rounded down.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    pub(crate) fn checked(nanos: i128) -> Result<Self, EvalError> {
        let overflow = || EvalError::new("timestamp overflow");
        let seconds = i64::try_from(nanos.div_euclid(i128::from(SECOND))).map_err(|_| overflow())?;
        let nanos = u32::try_from(nanos.rem_euclid(i128::from(SECOND))).map_err(|_| overflow())?;
        if (FIRST..=LAST).contains(&seconds) { Ok(Self { seconds, nanos }) } else { Err(overflow()) }
    }

    /// Reads `2006-01-02T15:04:05.999Z`, or with an offset like `+01:00` in place of the `Z`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (local, offset) = Self::parse_local(text)?;
        Self::at_offset(local, parse_offset(offset)?)
    }

    /// Reads what OpenAPI's format `date-time` allows: without offset it is UTC.
    pub(crate) fn parse_schema(text: &str) -> Option<Self> {
        let upper = text.to_uppercase();
        let (local, offset) = Self::parse_local(&upper)?;
        Self::at_offset(local, if offset.is_empty() { 0 } else { parse_offset(offset)? })
    }

    /// Reads `2006-01-02`: its midnight in UTC.
    pub(crate) fn parse_date(text: &str) -> Option<Self> {
        Self::at_offset(parse_day(text)?.at(0, 0, 0, 0), 0)
    }

    fn at_offset(local: civil::DateTime, offset: i64) -> Option<Self> {
        let since = local.duration_since(EPOCH).as_nanos();
        Self::checked(since - i128::from(offset) * i128::from(SECOND)).ok()
    }

    fn parse_local(text: &str) -> Option<(civil::DateTime, &str)> {
        let day = parse_day(text.get(..10)?)?;
        let time = text.get(10..)?.strip_prefix('T')?;
        let (hour, minute) = (two_digits(time.get(..2)?)?, two_digits(time.get(3..5)?)?);
        let second = two_digits(time.get(6..8)?)?;
        if time.get(2..3)? != ":" || time.get(5..6)? != ":" {
            return None;
        }
        let rest = time.get(8..)?;
        let (nanos, rest) = match rest.strip_prefix('.') {
            None => (0, rest),
            Some(rest) => {
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                let digits = format!("{:0<9}", rest.get(..end.min(9))?);
                if end == 0 {
                    return None;
                }
                (digits.parse().ok()?, rest.get(end..)?)
            }
        };
        let time = civil::Time::new(hour, minute, second, nanos).ok()?;
        Some((day.to_datetime(time), rest))
    }

    /// A part of the date or time in `zone`: a name of the time zone database or an offset like `-08:00`.
    pub(crate) fn part(self, part: Part, zone: &str) -> Result<i64, EvalError> {
        let local = self.local(zone)?;
        Ok(match part {
            Part::Year => local.year().into(),
            Part::Month => i64::from(local.month()) - 1,
            Part::DayOfYear => i64::from(local.day_of_year()) - 1,
            Part::DayOfMonth => i64::from(local.day()) - 1,
            Part::Date => local.day().into(),
            Part::DayOfWeek => local.weekday().to_sunday_zero_offset().into(),
            Part::Hours => local.hour().into(),
            Part::Minutes => local.minute().into(),
            Part::Seconds => local.second().into(),
            Part::Milliseconds => i64::from(local.subsec_nanosecond()) / 1_000_000,
        })
    }

    fn local(self, zone: &str) -> Result<civil::DateTime, EvalError> {
        let unknown = || EvalError::new(format!("unknown time zone {zone}"));
        let offset = match zone.split_once(':') {
            Some((hours, minutes)) => {
                let (hours, minutes): (i64, i64) = (number(hours)?, number(minutes)?);
                let minutes = if zone.starts_with('-') { -minutes } else { minutes };
                hours.saturating_mul(60).saturating_add(minutes).saturating_mul(60)
            }
            None => {
                let name = if zone.is_empty() { "UTC" } else { zone };
                let zone = jiff::tz::TimeZone::get(name).map_err(|_| unknown())?;
                zone.to_offset(self.instant()).seconds().into()
            }
        };
        self.shifted(offset).ok_or_else(|| EvalError::new("timestamp overflow"))
    }

    /// The date and time at a place so many seconds east of Greenwich.
    fn shifted(self, offset: i64) -> Option<civil::DateTime> {
        let nanos = i32::try_from(self.nanos).ok()?;
        let since = jiff::SignedDuration::new(self.seconds.saturating_add(offset), nanos);
        EPOCH.checked_add(since).ok()
    }

    /// For asking a time zone; the last day of the last year is beyond what can be asked for.
    fn instant(self) -> jiff::Timestamp {
        jiff::Timestamp::from_second(self.seconds).unwrap_or(jiff::Timestamp::MAX)
    }
}

fn number(text: &str) -> Result<i64, EvalError> {
    text.parse().map_err(|_| EvalError::new(format!("strconv.Atoi: parsing {text:?}: invalid syntax")))
}

fn two_digits(text: &str) -> Option<i8> {
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?
}

fn parse_day(text: &str) -> Option<civil::Date> {
    let (year, rest) = (text.get(..4)?, text.get(4..)?);
    let shaped = rest.len() == 6 && rest.get(..1)? == "-" && rest.get(3..4)? == "-";
    if !shaped || !year.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    civil::Date::new(year.parse().ok()?, two_digits(rest.get(1..3)?)?, two_digits(rest.get(4..)?)?).ok()
}

/// Seconds east of Greenwich.
fn parse_offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let (hours, minutes) = rest.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (i64::from(two_digits(hours)?), i64::from(two_digits(minutes)?));
    (hours <= 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// In UTC, with as many decimals of the second as needed.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shifted(0) {
            Some(utc) => write!(f, "{utc}Z"),
            None => write!(f, "{}s", self.seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        let check = |text: &str, nanos: i64, written: &str, seconds: &str| {
            let duration = Duration::parse(text).unwrap();
            assert_eq!(duration.nanos(), nanos, "{text}");
            assert_eq!(duration.to_string(), written, "{text}");
            assert_eq!(duration.seconds_text(), seconds, "{text}");
        };
        check("1h30m", 5_400_000_000_000, "1h30m0s", "5400s");
        check("-1.5s", -1_500_000_000, "-1.5s", "-1.5s");
        check("100ms", 100_000_000, "100ms", "0.1s");
        check("1us1ns", 1_001, "1.001µs", "0.000001001s");
        check(".5m", 30_000_000_000, "30s", "30s");
        check("0", 0, "0s", "0s");
        check("90m1s", 5_401_000_000_000, "1h30m1s", "5401s");
        for text in ["", "-", "1", "h", "1.h.", "9999999h", "1 h", "1d", "s1"] {
            assert_eq!(Duration::parse(text), None, "{text}");
        }
        assert_eq!(Duration::parse_schema("3 days"), Duration::parse("72h"));
    }

    #[test]
    fn points_in_time_are_read_and_written() {
        let check = |text: &str, written: Option<&str>| {
            assert_eq!(Timestamp::parse(text).map(|time| time.to_string()).as_deref(), written, "{text}");
        };
        check("2024-02-29T12:34:56.789Z", Some("2024-02-29T12:34:56.789Z"));
        check("2024-02-29T00:00:00+01:00", Some("2024-02-28T23:00:00Z"));
        check("0001-01-01T00:00:00Z", Some("0001-01-01T00:00:00Z"));
        check("9999-12-31T23:59:59.999999999Z", Some("9999-12-31T23:59:59.999999999Z"));
        for text in [
            "2023-02-29T00:00:00Z",
            "2024-02-29",
            "2024-02-29t00:00:00Z",
            "2024-02-29T24:00:00Z",
            "0000-01-01T00:00:00Z",
        ] {
            check(text, None);
        }
        assert!(Timestamp::parse_schema("2024-02-29t12:34:56").is_some());
    }

    #[test]
    fn parts_are_those_of_the_time_zone() {
        let time = Timestamp::parse("2024-03-01T00:30:00.5Z").unwrap();
        let check =
            |part: Part, zone: &str, value: i64| assert_eq!(time.part(part, zone), Ok(value), "{zone}");
        check(Part::Date, "UTC", 1);
        check(Part::Date, "-01:00", 29);
        check(Part::Month, "-01:00", 1);
        check(Part::Hours, "02:30", 3);
        check(Part::DayOfYear, "", 60);
        check(Part::DayOfWeek, "", 5);
        check(Part::Milliseconds, "", 500);
        assert_eq!(
            time.part(Part::Year, "Nowhere/X").unwrap_err().to_string(),
            "unknown time zone Nowhere/X"
        );
    }
}
