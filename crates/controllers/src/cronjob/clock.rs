//! When a CronJob is due.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::CronJob;
use skiff_cron::{Schedule, ScheduleError};
use skiff_machinery::go;

/// Woken so much after the time, by a clock that may be a little behind.
const DELTA: Duration = Duration::from_millis(100);
/// With more missed times than these somebody is told.
const MANY: i64 = 100;

/// A schedule with the clocks that it goes by.
pub(super) struct Clock {
    schedule: Schedule,
    zone: TimeZone,
}

/// Why a CronJob has no clock.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoClock {
    Zone(String),
    Schedule(ScheduleError),
}

/// The last time that has come, since one that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Latest {
    since: Timestamp,
    pub(super) at: Option<Timestamp>,
    missed: Missed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missed {
    None,
    Few,
    Many,
}

impl Latest {
    /// Whether more times have been missed than can be right.
    pub(super) fn missed_many(&self) -> bool {
        self.missed == Missed::Many
    }
}

/// A schedule that can be read, and yet makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("time difference between two schedules is less than 1 second")]
pub(super) struct Senseless;

impl Clock {
    /// The clock of a CronJob; one that names no zone goes by `local` time.
    pub(super) fn of(cron: &CronJob, local: &TimeZone) -> Result<Self, NoClock> {
        let spec = &cron.spec;
        let zone = match spec.time_zone.as_deref() {
            None => local.clone(),
            Some(name) => zone(name).map_err(NoClock::Zone)?,
        };
        let schedule = Schedule::parse(&spec.schedule).map_err(NoClock::Schedule)?;
        Ok(Self { schedule, zone })
    }

    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.schedule.next(after, &self.zone)
    }

    /// The last time that has come by `now` since the CronJob last started something, or else was made. With `deadline`, times for
    /// which it is too late are none.
    pub(super) fn latest(&self, cron: &CronJob, now: Timestamp, deadline: bool) -> Result<Latest, Senseless> {
        let made = cron.metadata.creation_timestamp.as_ref();
        let last = cron.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
        let mut since = last.or(made).map_or(now, |time| time.0);
        if let Some(seconds) = cron.spec.starting_deadline_seconds.filter(|_| deadline) {
            let earliest = now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN);
            since = since.max(earliest);
        }
        let first = self.next(since).ok_or(Senseless)?;
        if now < first {
            return Ok(Latest { since, at: None, missed: Missed::None });
        }
        match self.next(first) {
            Some(second) if second <= now => self.latest_of_many(since, first, second, now),
            _ => Ok(Latest { since, at: Some(first), missed: Missed::None }),
        }
    }

    /// How many there were is estimated by the first two; the last ones are looked at.
    fn latest_of_many(
        &self,
        since: Timestamp,
        first: Timestamp,
        second: Timestamp,
        now: Timestamp,
    ) -> Result<Latest, Senseless> {
        let between = second.as_second() - first.as_second();
        if between < 1 {
            return Err(Senseless);
        }
        let number = (now.as_second() - first.as_second()) / between + 1;
        let skipped = SignedDuration::from_secs((number - 2) * between);
        let mut at = None;
        let mut candidate = self.next(first.checked_add(skipped).unwrap_or(first));
        while let Some(time) = candidate.filter(|time| *time <= now) {
            at = Some(time);
            candidate = self.next(time);
        }
        let missed = if number > MANY { Missed::Many } else { Missed::Few };
        Ok(Latest { since, at, missed })
    }

    /// How long until the time after the last one; `None` if there is none.
    pub(super) fn wait(&self, cron: &CronJob, now: Timestamp) -> Option<Duration> {
        let last = match self.latest(cron, now, false) {
            Ok(Latest { at: Some(at), .. }) => at,
            Ok(Latest { since, missed: Missed::None, .. }) => since,
            Ok(_) | Err(Senseless) => now,
        };
        let next = self.next(last)?;
        let wait =
            next.duration_since(now).checked_add(SignedDuration::try_from(DELTA).unwrap_or_default())?;
        Some(Duration::try_from(wait).unwrap_or_default())
    }
}

/// The zone of that name, or why there is none.
pub(super) fn zone(name: &str) -> Result<TimeZone, String> {
    match name {
        "" | "UTC" => Ok(TimeZone::UTC),
        name => TimeZone::get(name)
            .map_err(|_| format!("invalid timeZone: {}: unknown time zone {name}", go::quoted(name))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A CronJob made at midnight.
    fn cron(schedule: &str, last: Value, deadline: Value) -> CronJob {
        serde_json::from_value(json!({
            "metadata": {"name": "c", "creationTimestamp": "2026-07-01T00:00:00Z"},
            "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": {}}}, "startingDeadlineSeconds": deadline},
            "status": {"lastScheduleTime": last},
        }))
        .unwrap()
    }

    fn at(time: &str) -> Timestamp {
        format!("2026-07-{time}Z").parse().unwrap()
    }

    #[test]
    fn the_last_time_that_has_come() {
        let check =
            |schedule: &str, last: &str, deadline: Value, now: &str, expected: Option<&str>, many: bool| {
                let last = if last.is_empty() { Value::Null } else { json!(format!("2026-07-{last}Z")) };
                let cron = cron(schedule, last, deadline);
                let latest = Clock::of(&cron, &TimeZone::UTC).unwrap().latest(&cron, at(now), true).unwrap();
                assert_eq!((latest.at, latest.missed_many()), (expected.map(at), many), "{schedule} {now}");
            };
        let none = Value::Null;
        check("0 * * * *", "", none.clone(), "01T00:30:00", None, false);
        check("0 * * * *", "", none.clone(), "01T01:00:00", Some("01T01:00:00"), false);
        check("0 * * * *", "01T01:00:00", none.clone(), "01T01:30:00", None, false);
        check("0 * * * *", "01T01:00:00", none.clone(), "01T05:30:00", Some("01T05:00:00"), false);
        check("0 * * * *", "01T01:00:00", none.clone(), "09T05:30:00", Some("09T05:00:00"), true);
        check("@every 90s", "01T01:00:00", none.clone(), "01T01:10:00", Some("01T01:09:00"), false);
        // Not evenly spread: the weekend has none.
        check("30 6-16/4 * * 1-5", "03T14:30:00", none, "06T03:00:00", None, false);
        check("0 * * * *", "01T01:00:00", json!(60), "01T05:30:00", None, false);
        check("0 * * * *", "01T01:00:00", json!(1800), "01T05:30:00", None, false);
        check("0 * * * *", "01T01:00:00", json!(1801), "01T05:30:00", Some("01T05:00:00"), false);
        check("* * * * *", "01T01:00:00", json!(200), "09T05:30:10", Some("09T05:30:00"), false);
        let never = cron("0 0 31 2 *", Value::Null, Value::Null);
        let clock = Clock::of(&never, &TimeZone::UTC).unwrap();
        assert_eq!(clock.latest(&never, at("01T01:00:00"), true), Err(Senseless));
        assert_eq!(clock.wait(&never, at("01T01:00:00")), None);
    }

    #[test]
    fn the_time_until_the_next() {
        let check = |schedule: &str, last: &str, now: &str, expected: u64| {
            let cron = cron(schedule, json!(format!("2026-07-{last}Z")), json!(10));
            let wait = Clock::of(&cron, &TimeZone::UTC).unwrap().wait(&cron, at(now)).unwrap();
            assert_eq!(wait, Duration::from_secs(expected) + DELTA, "{schedule} {now}");
        };
        check("0 * * * *", "01T01:00:00", "01T01:00:01", 3599);
        check("0 * * * *", "01T01:00:00", "01T03:30:00", 1800);
        check("@every 90s", "01T01:00:00", "01T01:10:00", 30);
    }

    #[test]
    fn clocks_are_those_of_the_zone() {
        let mut cron = cron("0 9 * * *", Value::Null, Value::Null);
        let next = |cron: &CronJob| {
            let clock = Clock::of(cron, &TimeZone::get("Asia/Tokyo").unwrap()).unwrap();
            clock.next(at("01T00:30:00")).unwrap()
        };
        assert_eq!(next(&cron), at("02T00:00:00"));
        cron.spec.time_zone = Some("Europe/Berlin".into());
        assert_eq!(next(&cron), at("01T07:00:00"));
        cron.spec.time_zone = Some("Nowhere".into());
        let error = Clock::of(&cron, &TimeZone::UTC).err().unwrap();
        assert_eq!(error, NoClock::Zone("invalid timeZone: \"Nowhere\": unknown time zone Nowhere".into()));
    }
}
