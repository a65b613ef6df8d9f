//! Durations as people read them: the AGE column.

use jiff::SignedDuration;

/// Two units at most, coarser the longer it is: `45s`, `3m20s`, `5h10m`, `2d3h`, `400d`, `3y10d`.
/// More than a second in the future is `<invalid>`.
pub fn human(elapsed: SignedDuration) -> String {
    let seconds = elapsed.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}

fn two(large: i64, large_unit: char, small: i64, small_unit: char) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_in_kubectl() {
        let check = |seconds: i64, text: &str| assert_eq!(human(SignedDuration::from_secs(seconds)), text);
        check(-2, "<invalid>");
        check(-1, "0s");
        check(0, "0s");
        check(119, "119s");
        check(120, "2m");
        check(200, "3m20s");
        check(600, "10m");
        check(179 * 60, "179m");
        check(3 * 3600, "3h");
        check(3 * 3600 + 600, "3h10m");
        check(8 * 3600 + 600, "8h");
        check(47 * 3600, "47h");
        check(48 * 3600, "2d");
        check(51 * 3600, "2d3h");
        check(8 * 86_400, "8d");
        check(729 * 86_400, "729d");
        check(730 * 86_400, "2y");
        check(740 * 86_400, "2y10d");
        check(9 * 365 * 86_400, "9y");
    }
}
