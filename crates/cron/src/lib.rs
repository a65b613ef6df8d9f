//! Cron schedules as CronJobs write them: five fields, or a descriptor such as `@hourly` or `@every 90m`.
//!
//! What reads `spec.schedule` reads it here: admission, which refuses what cannot be read, and the controller, which asks when the next
//! time is. Words of errors, and what happens where clocks are put forward or back, are those of the parser that Kubernetes
//! uses: a time that a day has not is left out, but for midnight, in whose place the first time of the day comes.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

mod calendar;
mod fields;

use fields::Fields;

/// A schedule that cannot be read, in Kubernetes' words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ScheduleError(String);

/// When something happens again and again.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The one that the text itself names, before the fields.
    zone: Option<TimeZone>,
    when: When,
}

#[derive(Clone, Debug)]
enum When {
    At(Box<Fields>),
    Every(SignedDuration),
}

impl Schedule {
    /// Reads the text of a schedule.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        if text.is_empty() {
            return Err(ScheduleError("empty spec string".into()));
        }
        let (zone, rest) = zone(text)?;
        let when = match rest.strip_prefix('@') {
            Some(_) => descriptor(rest)?,
            None => When::At(Box::new(Fields::parse(rest).map_err(ScheduleError)?)),
        };
        Ok(Self { zone, when })
    }

    /// The first time after `after`, by the clocks of `zone` unless the schedule names another; `None` if none comes within five years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.when {
            When::At(fields) => calendar::next(fields, after, self.zone.as_ref().unwrap_or(zone)),
            When::Every(delay) => Timestamp::from_second(after.as_second()).ok()?.checked_add(*delay).ok(),
        }
    }
}

/// Splits a leading `TZ=` or `CRON_TZ=` off.
fn zone(text: &str) -> Result<(Option<TimeZone>, &str), ScheduleError> {
    let Some(named) = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) else {
        return Ok((None, text));
    };
    let Some((name, rest)) = named.split_once(' ') else {
        return Err(ScheduleError("invalid schedule format: no fields after the time zone".into()));
    };
    let zone = match name {
        "" | "UTC" => TimeZone::UTC,
        "Local" => TimeZone::system(),
        name => TimeZone::get(name)
            .map_err(|_| ScheduleError(format!("provided bad location {name}: unknown time zone {name}")))?,
    };
    Ok((Some(zone), rest.trim()))
}

fn descriptor(text: &str) -> Result<When, ScheduleError> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => return every(text),
    };
    Fields::parse(fields).map(|fields| When::At(Box::new(fields))).map_err(ScheduleError)
}

/// Whole seconds, at least one.
fn every(text: &str) -> Result<When, ScheduleError> {
    let Some(delay) = text.strip_prefix("@every ") else {
        return Err(ScheduleError(format!("unrecognized descriptor: {text}")));
    };
    let delay = skiff_machinery::duration::parse(delay)
        .map_err(|error| ScheduleError(format!("failed to parse duration {text}: {error}")))?;
    Ok(When::Every(SignedDuration::from_secs(delay.as_secs().max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_as_kubernetes_does() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Schedule::parse(text).unwrap_err().to_string(), expected, "{text}");
        };
        check("", "empty spec string");
        check("a b", "expected exactly 5 fields, found 2: [a b]");
        check("* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]");
        check("60 * * * *", "end of range (60) above maximum (59): 60");
        check("* * 0 * *", "beginning of range (0) below minimum (1): 0");
        check("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1");
        check("1-2-3 * * * *", "too many hyphens: 1-2-3");
        check("1/2/3 * * * *", "too many slashes: 1/2/3");
        check("*/0 * * * *", "step of range should be a positive number: */0");
        check("x * * * *", r#"failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax"#);
        check("*/-1 * * * *", "negative number (-1) not allowed: -1");
        check(
            "99999999999999999999 * * * *",
            r#"failed to parse int from 99999999999999999999: strconv.Atoi: parsing "99999999999999999999": value out of range"#,
        );
        check("@often", "unrecognized descriptor: @often");
        check("@every x", r#"failed to parse duration @every x: time: invalid duration "x""#);
        check("TZ=Nowhere * * * * *", "provided bad location Nowhere: unknown time zone Nowhere");
        assert!(Schedule::parse("CRON_TZ=UTC").is_err());
    }

    /// The times that follow `after` in `zone`, written with its offset.
    fn check(schedule: &str, zone: &str, after: &str, expected: &[&str]) {
        let (schedule, zone) = (Schedule::parse(schedule).unwrap(), TimeZone::get(zone).unwrap());
        let mut now: Timestamp = after.parse().unwrap();
        let next = expected.iter().map(|_| {
            now = schedule.next(now, &zone).unwrap();
            now.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        });
        assert_eq!(next.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn times_follow_one_another() {
        let utc = |schedule: &str, after: &str, expected: &[&str]| {
            let expected: Vec<String> = expected.iter().map(|time| format!("{time}+00:00")).collect();
            check(schedule, "UTC", after, &expected.iter().map(String::as_str).collect::<Vec<_>>());
        };
        utc("*/15 * * * *", "2026-07-09T14:45:00Z", &["2026-07-09T15:00:00", "2026-07-09T15:15:00"]);
        utc("* * * * *", "2026-07-09T14:45:59.5Z", &["2026-07-09T14:46:00"]);
        utc("20-35/15 * * * *", "2026-07-09T14:46:00Z", &["2026-07-09T15:20:00", "2026-07-09T15:35:00"]);
        utc("5/20 * * * *", "2026-07-09T14:00:00Z", &["2026-07-09T14:05:00", "2026-07-09T14:25:00"]);
        utc("0 0 31 * *", "2026-01-31T00:00:00Z", &["2026-03-31T00:00:00", "2026-05-31T00:00:00"]);
        utc("0 0 29 feb ?", "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00"]);
        utc("59 23 31 DEC *", "2026-12-31T23:59:00Z", &["2027-12-31T23:59:00"]);
        // With days of both kinds either of them counts, and with a star both do.
        utc("0 0 13 * fri", "2026-02-10T00:00:00Z", &["2026-02-13T00:00:00", "2026-02-20T00:00:00"]);
        utc("0 0 */10 * sun", "2026-07-10T00:00:00Z", &["2026-07-11T00:00:00", "2026-07-12T00:00:00"]);
        utc("0 0 * * mon-wed", "2026-07-10T00:00:00Z", &["2026-07-13T00:00:00", "2026-07-14T00:00:00"]);
        utc("1,,3 4 * * *", "2026-07-10T00:00:00Z", &["2026-07-10T04:01:00", "2026-07-10T04:03:00"]);
        utc("@hourly", "2026-07-09T14:45:00Z", &["2026-07-09T15:00:00"]);
        utc("@weekly", "2026-07-09T14:45:00Z", &["2026-07-12T00:00:00"]);
        utc("@monthly", "2026-12-09T14:45:00Z", &["2027-01-01T00:00:00"]);
        utc("@yearly", "2026-12-09T14:45:00Z", &["2027-01-01T00:00:00"]);
        utc("@every 1h30m", "2026-07-09T14:45:10.5Z", &["2026-07-09T16:15:10", "2026-07-09T17:45:10"]);
        utc("@every 5ms", "2026-07-09T14:45:10Z", &["2026-07-09T14:45:11"]);
        utc("TZ=Asia/Tokyo 0 9 * * *", "2026-07-09T14:45:10Z", &["2026-07-10T00:00:00"]);
        for never in ["59 23 31 2 *", ", * * * *"] {
            let never = Schedule::parse(never).unwrap();
            assert_eq!(never.next("2026-01-01T00:00:00Z".parse().unwrap(), &TimeZone::UTC), None);
        }
    }

    #[test]
    fn clocks_are_put_forward_and_back() {
        let york = "America/New_York";
        // What is left out does not come that day; an hour that there is twice comes twice.
        check("30 2 * 3 *", york, "2026-03-08T05:00:00Z", &["2026-03-09T02:30:00-04:00"]);
        check("0 * * * *", york, "2026-03-08T06:30:00Z", &["2026-03-08T03:00:00-04:00"]);
        check(
            "0 1 * * *",
            york,
            "2026-11-01T04:00:00Z",
            &["2026-11-01T01:00:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-02T01:00:00-05:00"],
        );
        check(
            "30 * * * *",
            york,
            "2026-11-01T05:00:00Z",
            &["2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00", "2026-11-01T02:30:00-05:00"],
        );
        check("0 3 * * *", york, "2026-11-01T04:00:00Z", &["2026-11-01T03:00:00-05:00"]);
        let berlin = "Europe/Berlin";
        check("30 2 * * *", berlin, "2026-03-28T12:00:00Z", &["2026-03-30T02:30:00+02:00"]);
        check("0 4 * * *", berlin, "2026-03-28T12:00:00Z", &["2026-03-29T04:00:00+02:00"]);
        // A day without a midnight begins at one.
        let paulo = "America/Sao_Paulo";
        check("0 1 * * *", paulo, "2018-11-03T12:00:00Z", &["2018-11-04T01:00:00-02:00"]);
        check("0 0 5 * *", paulo, "2018-11-03T12:00:00Z", &["2018-11-05T00:00:00-02:00"]);
    }
}
