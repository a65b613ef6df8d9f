//! Dates, times and durations.

/// `2006-01-02`
pub(super) fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = bytes.len() == 10
        && bytes
            .iter()
            .enumerate()
            .all(|(at, b)| if at == 4 || at == 7 { *b == b'-' } else { b.is_ascii_digit() });
    if !shape {
        return false;
    }
    let number = |range: std::ops::Range<usize>| text[range].parse::<u32>().unwrap_or_default();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// RFC 3339; any letter may stand before the fraction, and what follows a further `t` is passed over.
pub(super) fn is_date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else { return false };
    is_date(date) && is_time(time)
}

fn is_time(text: &str) -> bool {
    let two = |range: std::ops::Range<usize>| {
        text.get(range).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
    };
    let (Some(hours), Some(minutes), Some(seconds)) = (two(0..2), two(3..5), two(6..8)) else { return false };
    let colons = text.as_bytes()[2] == b':' && text.as_bytes()[5] == b':';
    let in_range = hours <= "23" && minutes <= "59" && seconds <= "59";
    let Some(rest) = text.get(8..) else { return false };
    let is_zone = |zone: &str| {
        zone == "z"
            || zone.strip_prefix(['+', '-']).is_some_and(|offset| {
                offset.len() == 5
                    && offset
                        .bytes()
                        .enumerate()
                        .all(|(at, b)| if at == 2 { b == b':' } else { b.is_ascii_digit() })
            })
    };
    let mut letters = rest.chars();
    let is_fraction_and_zone = letters.next().is_some_and(|mark| mark != '\n') && {
        let digits = letters.as_str();
        let zone = digits.trim_start_matches(|c: char| c.is_ascii_digit());
        zone.len() < digits.len() && is_zone(zone)
    };
    colons && in_range && (is_zone(rest) || is_fraction_and_zone)
}

/// A duration of Go (`1h30m`), or words with numbers and units among them (`5 days`).
pub(super) fn is_duration(text: &str) -> bool {
    is_go_duration(text) || has_units(text)
}

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let most = 1_u64 << 63;
    let mut total = 0_u64;
    loop {
        let whole = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (digits, after) = rest.split_at(whole);
        let (fraction, after) = match after.strip_prefix('.') {
            None => ("", after),
            Some(inner) => {
                inner.split_at(inner.len() - inner.trim_start_matches(|c: char| c.is_ascii_digit()).len())
            }
        };
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let Some((_, nanoseconds)) = UNITS.iter().find(|(name, _)| *name == unit) else { return false };
        let number = if digits.is_empty() { Ok(0) } else { digits.parse::<u64>() };
        if digits.is_empty() && fraction.is_empty() {
            return false;
        }
        let part = number.ok().and_then(|number| number.checked_mul(*nanoseconds));
        match part.and_then(|part| total.checked_add(part)).filter(|sum| *sum <= most) {
            Some(sum) => total = sum,
            None => return false,
        }
        rest = after;
        if rest.is_empty() {
            // The most negative one has no positive counterpart.
            return total < most || text.starts_with('-');
        }
    }
}

/// The unit's names; the last of each group may have more letters.
const WORDS: [&[&str]; 8] = [
    &["ns", "nano"],
    &["us", "µs", "micro"],
    &["ms", "milli"],
    &["s", "sec"],
    &["m", "min"],
    &["h", "hr", "hour"],
    &["d", "day"],
    &["w", "wk", "week"],
];

/// Whether a number with a unit is found anywhere, and no number with a word is too great.
fn has_units(text: &str) -> bool {
    let (mut rest, mut found) = (text, false);
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (digits, after) = split_while(&rest[start..], |c| c.is_ascii_digit());
        let (_, after) = split_while(after, |c| matches!(c, '\t' | '\n' | '\x0c' | '\r' | ' '));
        let (word, after) = split_while(after, |c| c.is_ascii_alphabetic() || c == 'µ');
        rest = after;
        if word.is_empty() {
            continue;
        }
        if digits.parse::<i64>().is_err() {
            return false;
        }
        let word = word.to_lowercase();
        found |= WORDS.iter().any(|names| {
            names.contains(&word.as_str()) || names.last().is_some_and(|last| word.starts_with(last))
        });
    }
    found
}

fn split_while(text: &str, fits: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !fits(c)).unwrap_or(text.len()))
}
