//! Durations as kubectl prints them: short, and coarser the longer they are.

use jiff::Timestamp;

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

#[cfg(test)]
mod tests {
    use super::*;

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
