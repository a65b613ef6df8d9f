//! Parts of dates, times and durations.

use crate::error::EvalError;
use crate::value::Value;
use crate::value::time::Part;

use super::{Outcome, Table};

pub(super) const FUNCTIONS: Table = &[
    (
        "getFullYear",
        &["timestamp_to_year timestamp.() -> int", "timestamp_to_year_with_tz timestamp.(string) -> int"],
        |_, args| part(args, Part::Year),
    ),
    (
        "getMonth",
        &["timestamp_to_month timestamp.() -> int", "timestamp_to_month_with_tz timestamp.(string) -> int"],
        |_, args| part(args, Part::Month),
    ),
    (
        "getDayOfYear",
        &[
            "timestamp_to_day_of_year timestamp.() -> int",
            "timestamp_to_day_of_year_with_tz timestamp.(string) -> int",
        ],
        |_, args| part(args, Part::DayOfYear),
    ),
    (
        "getDayOfMonth",
        &[
            "timestamp_to_day_of_month timestamp.() -> int",
            "timestamp_to_day_of_month_with_tz timestamp.(string) -> int",
        ],
        |_, args| part(args, Part::DayOfMonth),
    ),
    (
        "getDate",
        &[
            "timestamp_to_day_of_month_1_based timestamp.() -> int",
            "timestamp_to_day_of_month_1_based_with_tz timestamp.(string) -> int",
        ],
        |_, args| part(args, Part::Date),
    ),
    (
        "getDayOfWeek",
        &[
            "timestamp_to_day_of_week timestamp.() -> int",
            "timestamp_to_day_of_week_with_tz timestamp.(string) -> int",
        ],
        |_, args| part(args, Part::DayOfWeek),
    ),
    (
        "getHours",
        &[
            "timestamp_to_hours timestamp.() -> int",
            "timestamp_to_hours_with_tz timestamp.(string) -> int",
            "duration_to_hours duration.() -> int",
        ],
        |_, args| part(args, Part::Hours),
    ),
    (
        "getMinutes",
        &[
            "timestamp_to_minutes timestamp.() -> int",
            "timestamp_to_minutes_with_tz timestamp.(string) -> int",
            "duration_to_minutes duration.() -> int",
        ],
        |_, args| part(args, Part::Minutes),
    ),
    (
        "getSeconds",
        &[
            "timestamp_to_seconds timestamp.() -> int",
            "timestamp_to_seconds_tz timestamp.(string) -> int",
            "duration_to_seconds duration.() -> int",
        ],
        |_, args| part(args, Part::Seconds),
    ),
    (
        "getMilliseconds",
        &[
            "timestamp_to_milliseconds timestamp.() -> int",
            "timestamp_to_milliseconds_with_tz timestamp.(string) -> int",
            "duration_to_milliseconds duration.() -> int",
        ],
        |_, args| part(args, Part::Milliseconds),
    ),
];

fn part<'a>(args: &[Value<'a>], part: Part) -> Outcome<'a> {
    let value = match args {
        [Value::Timestamp(time)] => time.part(part, "UTC")?,
        [Value::Timestamp(time), Value::String(zone)] => time.part(part, zone)?,
        // Durations have no parts: they are given whole, in another unit.
        [Value::Duration(duration)] => {
            let unit = match part {
                Part::Hours => 3_600_000_000_000,
                Part::Minutes => 60_000_000_000,
                Part::Seconds => 1_000_000_000,
                Part::Milliseconds => 1_000_000,
                _ => return Err(EvalError::no_such_overload()),
            };
            duration.nanos() / unit
        }
        _ => return Err(EvalError::no_such_overload()),
    };
    Ok(Value::Int(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Duration;

    #[test]
    fn durations_are_given_in_whole_units() {
        let check = |of: Part, nanos: i64, units: i64| {
            let result = part(&[Value::Duration(Duration::from_nanos(nanos))], of);
            assert!(matches!(result, Ok(Value::Int(value)) if value == units), "{result:?}");
        };
        check(Part::Hours, 5_400_000_000_000, 1);
        check(Part::Minutes, 5_400_000_000_000, 90);
        check(Part::Milliseconds, -1_500_000, -1);
    }
}
