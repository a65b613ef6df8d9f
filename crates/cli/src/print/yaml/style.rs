//! Which texts need quotes, for a reader of YAML 1.1.

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// The plainest in which a text is read as itself.
pub(super) fn style(text: &str) -> Style {
    let special = text.chars().any(|c| !is_printable(c));
    let space_break = text.contains(" \n");
    if text.contains('\n') {
        return if special || space_break || text.ends_with(' ') { Style::Double } else { Style::Literal };
    }
    if means_something_else(text) || special {
        return Style::Double;
    }
    if text.starts_with(' ') || text.ends_with(' ') || has_indicators(text) {
        Style::Single
    } else {
        Style::Plain
    }
}

pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        && c != '\u{feff}'
}

/// Whether letters of the text have a meaning in YAML where they stand.
fn has_indicators(text: &str) -> bool {
    if text.starts_with("---") || text.starts_with("...") {
        return true;
    }
    let letters: Vec<char> = text.chars().collect();
    let blank = |at: usize| letters.get(at).is_none_or(|c| c.is_whitespace());
    letters.iter().enumerate().any(|(at, c)| match c {
        '?' | '-' if at == 0 => blank(at + 1),
        ':' => blank(at + 1),
        '#' => at == 0 || blank(at - 1),
        ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => at == 0,
        _ => false,
    })
}

/// Whether the text without quotes would be read as a number, a truth, a time or nothing.
fn means_something_else(text: &str) -> bool {
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "~"];
    const NUMBERS: [&str; 5] = [".nan", ".inf", "+.inf", "-.inf", ""];
    let cased = |word: &str| {
        let capital = word[..1].to_uppercase() + &word[1..];
        text == word || text == capital || text == word.to_uppercase()
    };
    WORDS.iter().any(|word| cased(word))
        || NUMBERS.iter().any(|word| text.eq_ignore_ascii_case(word))
        || is_number(text)
        || is_base_60(text)
        || is_time(text)
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    let bare = unsigned.replace('_', "");
    let digits = |text: &str, radix: u32| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    for (prefix, radix) in [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8)] {
        if let Some(rest) = bare.strip_prefix(prefix) {
            return digits(rest, radix);
        }
    }
    let (mantissa, exponent) =
        bare.split_once(['e', 'E']).map_or((bare.as_str(), None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let exponent = exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e), 10));
    exponent && is_digits(whole) && is_digits(fraction) && !(whole.is_empty() && fraction.is_empty())
}

/// `1:30`, which YAML 1.1 takes for 90.
fn is_base_60(text: &str) -> bool {
    let mut parts = text.strip_prefix(['+', '-']).unwrap_or(text).split(':');
    let first = parts.next().unwrap_or_default();
    let starts = first.starts_with(|c: char| c.is_ascii_digit());
    let first = starts && first.chars().all(|c| c.is_ascii_digit() || c == '_');
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else { return false };
    let sixty = |text: &str| match text.as_bytes() {
        [a] => a.is_ascii_digit(),
        [a, b] => (b'0'..=b'5').contains(a) && b.is_ascii_digit(),
        _ => false,
    };
    let (last, fraction) = last.split_once('.').unwrap_or((last, ""));
    first
        && middle.iter().all(|part| sixty(part))
        && sixty(last)
        && fraction.chars().all(|c| c.is_ascii_digit() || c == '_')
}

/// `2020-01-01`, and with a time of day behind.
fn is_time(text: &str) -> bool {
    let (date, time) = text.split_once(['T', 't', ' ']).map_or((text, None), |(d, t)| (d, Some(t)));
    let numbers = |text: &str, sizes: &[std::ops::RangeInclusive<usize>], separator: char| {
        let parts: Vec<&str> = text.split(separator).collect();
        parts.len() == sizes.len()
            && parts
                .iter()
                .zip(sizes)
                .all(|(part, size)| size.contains(&part.len()) && part.chars().all(|c| c.is_ascii_digit()))
    };
    let is_date = numbers(date, &[4..=4, 1..=2, 1..=2], '-');
    let Some(time) = time else { return is_date };
    let zone = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, _) = time[..zone].split_once('.').unwrap_or((&time[..zone], ""));
    is_date && numbers(clock, &[1..=2, 1..=2, 1..=2], ':')
}
