//! The next time that a calendar has for given fields.
//!
//! From the month down to the minute, each part is moved on until it fits; one that comes round to its beginning makes the greater
//! ones be looked at again.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use crate::fields::Fields;

/// Years after which nobody looks any more.
const YEARS: i16 = 5;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

/// The first time after `after`.
pub(crate) fn next(fields: &Fields, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    if fields.allow_nothing() {
        return None;
    }
    let mut clock = Clock { at: Timestamp::from_second(after.as_second() + 1).ok()?, zone, moved: false };
    let last = clock.shows().year().saturating_add(YEARS);
    while clock.shows().year() <= last {
        if clock.to_month(fields)?
            && clock.to_day(fields)?
            && clock.to_hour(fields)?
            && clock.to_minute(fields)?
        {
            return Some(clock.at);
        }
    }
    None
}

/// A time as the clocks of a zone show it. Each move says whether the greater parts still fit; `None` is the end of time.
struct Clock<'a> {
    at: Timestamp,
    zone: &'a TimeZone,
    /// Whether the parts below the one that moves are at their beginning.
    moved: bool,
}

impl Clock<'_> {
    fn shows(&self) -> DateTime {
        self.zone.to_datetime(self.at)
    }

    fn to_month(&mut self, fields: &Fields) -> Option<bool> {
        while !fields.month.has(self.shows().month()) {
            let shown = self.shows();
            let first = self.begin(|| shown.date().first_of_month().to_datetime(Time::midnight()))?;
            self.set(first.checked_add(1.month()).ok()?)?;
            if self.shows().month() == 1 {
                return Some(false);
            }
        }
        Some(true)
    }

    fn to_day(&mut self, fields: &Fields) -> Option<bool> {
        while !fits(fields, self.shows().date()) {
            let shown = self.shows();
            let midnight = self.begin(|| shown.date().to_datetime(Time::midnight()))?;
            self.set(midnight.checked_add(1.day()).ok()?)?;
            // Where clocks are put forward at midnight there is none.
            let hour = i64::from(self.shows().hour());
            match hour {
                0 => {}
                13.. => self.add((24 - hour) * HOUR)?,
                _ => self.add(-hour * HOUR)?,
            }
            if self.shows().day() == 1 {
                return Some(false);
            }
        }
        Some(true)
    }

    fn to_hour(&mut self, fields: &Fields) -> Option<bool> {
        while !fields.hour.has(self.shows().hour()) {
            let shown = self.shows();
            self.begin(|| shown.date().at(shown.hour(), 0, 0, 0))?;
            self.add(HOUR)?;
            if self.shows().hour() == 0 {
                return Some(false);
            }
        }
        Some(true)
    }

    /// Also to its first second, the only one that there is in a schedule.
    fn to_minute(&mut self, fields: &Fields) -> Option<bool> {
        while !fields.minute.has(self.shows().minute()) || self.at.as_second().rem_euclid(MINUTE) != 0 {
            self.moved = true;
            self.add(MINUTE - self.at.as_second().rem_euclid(MINUTE))?;
            if self.shows().minute() == 0 {
                return Some(false);
            }
        }
        Some(true)
    }

    /// The first move of all sets the smaller parts to their beginning. Returns what is shown then.
    fn begin(&mut self, beginning: impl FnOnce() -> DateTime) -> Option<DateTime> {
        if !self.moved {
            self.moved = true;
            self.set(beginning())?;
        }
        Some(self.shows())
    }

    fn add(&mut self, seconds: i64) -> Option<()> {
        self.at = self.at.checked_add(SignedDuration::from_secs(seconds)).ok()?;
        Some(())
    }

    /// Goes to a time of the calendar. One that there is not is taken an hour earlier west of Greenwich and an hour later east of
    /// it, and of two the earlier there and the later here, as Go's library does.
    fn set(&mut self, shown: DateTime) -> Option<()> {
        let as_utc = TimeZone::UTC.to_timestamp(shown).ok()?;
        let less_offset_at = |at: Timestamp| {
            let offset = self.zone.to_offset(at).seconds();
            as_utc.checked_sub(SignedDuration::from_secs(offset.into())).ok()
        };
        self.at = less_offset_at(less_offset_at(as_utc)?)?;
        Some(())
    }
}

fn fits(fields: &Fields, day: Date) -> bool {
    fields.has_day(day.day(), day.weekday().to_sunday_zero_offset())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn times_that_there_are_not_are_near_those_that_there_are() {
        let check = |zone: &str, shown: DateTime, expected: &str| {
            let zone = TimeZone::get(zone).unwrap();
            let mut clock = Clock { at: Timestamp::UNIX_EPOCH, zone: &zone, moved: false };
            clock.set(shown).unwrap();
            assert_eq!(clock.at.to_string(), expected, "{shown}");
        };
        check("America/New_York", date(2026, 3, 8).at(2, 30, 0, 0), "2026-03-08T06:30:00Z");
        check("America/New_York", date(2026, 11, 1).at(1, 30, 0, 0), "2026-11-01T05:30:00Z");
        check("Europe/Berlin", date(2026, 3, 29).at(2, 30, 0, 0), "2026-03-29T01:30:00Z");
        check("Europe/Berlin", date(2026, 10, 25).at(2, 30, 0, 0), "2026-10-25T01:30:00Z");
        check("Europe/Berlin", date(2026, 7, 1).at(12, 0, 0, 0), "2026-07-01T10:00:00Z");
    }
}
