//! YAML as kubectl writes it: keys in order, sequences as far left as their key, lines of some 80 letters, and the quotes
//! that a reader of YAML 1.1 needs.

use std::cmp::Ordering;

use serde_json::{Map, Value};

/// Behind this column a text is continued on the next line, at its next space.
const WIDTH: usize = 80;

/// The value as a document.
pub(crate) fn document(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => mapping(&mut text, map, 0, false),
        Value::Array(list) if !list.is_empty() => sequence(&mut text, list, 0, false),
        scalar => {
            write_scalar(&mut text, scalar, 0);
            text.push('\n');
        }
    }
    text
}

/// `inline`: the first line has been begun, with the dash of a sequence.
fn mapping(text: &mut String, map: &Map<String, Value>, indent: usize, inline: bool) {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|left, right| natural(left.0, right.0));
    for (number, (key, value)) in entries.into_iter().enumerate() {
        if number > 0 || !inline {
            text.push_str(&" ".repeat(indent));
        }
        match style(key) {
            Style::Plain => text.push_str(key),
            Style::Single => single(text, key, None),
            Style::Double | Style::Literal => double(text, key, None),
        }
        text.push(':');
        match value {
            Value::Object(map) if !map.is_empty() => {
                text.push('\n');
                mapping(text, map, indent + 2, false);
            }
            Value::Array(list) if !list.is_empty() => {
                text.push('\n');
                sequence(text, list, indent, false);
            }
            scalar => {
                text.push(' ');
                write_scalar(text, scalar, indent + 2);
                end_line(text);
            }
        }
    }
}

fn sequence(text: &mut String, list: &[Value], indent: usize, inline: bool) {
    for (number, value) in list.iter().enumerate() {
        if number > 0 || !inline {
            text.push_str(&" ".repeat(indent));
        }
        text.push_str("- ");
        match value {
            Value::Object(map) if !map.is_empty() => mapping(text, map, indent + 2, true),
            Value::Array(list) if !list.is_empty() => sequence(text, list, indent + 2, true),
            scalar => {
                write_scalar(text, scalar, indent + 2);
                end_line(text);
            }
        }
    }
}

/// A literal text has ended its last line itself.
fn end_line(text: &mut String) {
    if !text.ends_with('\n') {
        text.push('\n');
    }
}

fn write_scalar(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::String(value) => match style(value) {
            Style::Plain => plain(text, value, indent),
            Style::Single => single(text, value, Some(indent)),
            Style::Double => double(text, value, Some(indent)),
            Style::Literal => literal(text, value, indent),
        },
        Value::Array(_) => text.push_str("[]"),
        Value::Object(_) => text.push_str("{}"),
        other => text.push_str(&other.to_string()),
    }
}

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

fn style(text: &str) -> Style {
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

fn is_printable(c: char) -> bool {
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

fn column(text: &str) -> usize {
    text.rsplit('\n').next().map_or(0, |line| line.chars().count())
}

fn break_line(text: &mut String, indent: usize) {
    text.push('\n');
    text.push_str(&" ".repeat(indent));
}

fn plain(text: &mut String, value: &str, indent: usize) {
    folded(text, value, Some(indent), |_, _| true, |text, c| text.push(c));
}

fn single(text: &mut String, value: &str, indent: Option<usize>) {
    text.push('\'');
    let last = value.chars().count().saturating_sub(1);
    folded(
        text,
        value,
        indent,
        |at, _| at > 0 && at < last,
        |text, c| {
            text.push(c);
            if c == '\'' {
                text.push(c);
            }
        },
    );
    text.push('\'');
}

/// Writes letters, and a line's end for a space between words behind the width.
fn folded(
    text: &mut String,
    value: &str,
    indent: Option<usize>,
    may_break: impl Fn(usize, char) -> bool,
    write: impl Fn(&mut String, char),
) {
    let letters: Vec<char> = value.chars().collect();
    let mut column = column(text);
    for (at, c) in letters.iter().copied().enumerate() {
        let alone = c == ' ' && letters.get(at + 1) != Some(&' ') && (at == 0 || letters[at - 1] != ' ');
        if let Some(indent) = indent.filter(|_| alone && column > WIDTH && may_break(at, c)) {
            break_line(text, indent);
            column = indent;
            continue;
        }
        let before = text.len();
        write(text, c);
        column += text[before..].chars().count();
    }
}

fn double(text: &mut String, value: &str, indent: Option<usize>) {
    let letters: Vec<char> = value.chars().collect();
    let mut spaces = false;
    text.push('"');
    for (at, c) in letters.iter().copied().enumerate() {
        if c != ' ' {
            escaped(text, c);
            spaces = false;
            continue;
        }
        let inside = at > 0 && at + 1 < letters.len();
        match indent.filter(|_| inside && !spaces && column(text) > WIDTH) {
            Some(indent) => {
                break_line(text, indent);
                if letters.get(at + 1) == Some(&' ') {
                    text.push('\\');
                }
            }
            None => text.push(' '),
        }
        spaces = true;
    }
    text.push('"');
}

fn escaped(text: &mut String, c: char) {
    const NAMED: [(char, &str); 15] = [
        ('\0', "0"),
        ('\x07', "a"),
        ('\x08', "b"),
        ('\t', "t"),
        ('\n', "n"),
        ('\x0b', "v"),
        ('\x0c', "f"),
        ('\r', "r"),
        ('\x1b', "e"),
        ('"', "\""),
        ('\\', "\\"),
        ('\u{85}', "N"),
        ('\u{a0}', "_"),
        ('\u{2028}', "L"),
        ('\u{2029}', "P"),
    ];
    let named = NAMED.iter().find(|(letter, _)| *letter == c && (!is_printable(c) || "\"\\\n".contains(c)));
    match (named, u32::from(c)) {
        (Some((_, name)), _) => text.push_str(&format!("\\{name}")),
        (None, _) if is_printable(c) => text.push(c),
        (None, code @ 0..=0xff) => text.push_str(&format!("\\x{code:02X}")),
        (None, code @ 0..=0xffff) => text.push_str(&format!("\\u{code:04X}")),
        (None, code) => text.push_str(&format!("\\U{code:08X}")),
    }
}

fn literal(text: &mut String, value: &str, indent: usize) {
    text.push('|');
    if value.starts_with([' ', '\n']) {
        text.push('2');
    }
    match value.strip_suffix('\n') {
        None => text.push('-'),
        Some(rest) if rest.is_empty() || rest.ends_with('\n') => text.push('+'),
        Some(_) => {}
    }
    text.push('\n');
    for line in value.lines() {
        if !line.is_empty() {
            text.push_str(&" ".repeat(indent));
            text.push_str(line);
        }
        text.push('\n');
    }
}

/// Order of keys: letters behind other signs, numbers by what they count.
fn natural(left: &str, right: &str) -> Ordering {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let Some(at) = left.iter().zip(&right).position(|(a, b)| a != b) else {
        return left.len().cmp(&right.len());
    };
    let (a, b) = (left[at], right[at]);
    match (a.is_alphabetic(), b.is_alphabetic()) {
        (true, true) => return a.cmp(&b),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // Zeros in front count only before the first other digit of a number.
    let inside = (a == '0' || b == '0')
        && left[..at].iter().rev().take_while(|c| c.is_ascii_digit()).any(|c| *c != '0');
    let number = |letters: &[char]| {
        let digits: String = letters[at..].iter().take_while(|c| c.is_ascii_digit()).collect();
        let value: i64 = format!("{}{digits}", if inside { "1" } else { "0" }).parse().unwrap_or(i64::MAX);
        (value, digits.len())
    };
    number(&left).cmp(&number(&right)).then(a.cmp(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quotes_what_would_be_read_otherwise() {
        for (text, written) in [
            ("word", "word"),
            ("a\\b", "a\\b"),
            ("1", "\"1\""),
            ("yes", "\"yes\""),
            ("n", "\"n\""),
            ("nO", "nO"),
            ("1:30", "\"1:30\""),
            ("é", "é"),
            ("a#b", "a#b"),
            ("a #b", "'a #b'"),
            ("@x", "'@x'"),
            ("-", "'-'"),
            ("-x", "-x"),
            ("- a", "'- a'"),
            ("{x", "'{x'"),
            ("a,b", "a,b"),
            ("a: b", "'a: b'"),
            ("a:", "'a:'"),
            ("a:b", "a:b"),
            ("it's: x", "'it''s: x'"),
            ("2020-01-01", "\"2020-01-01\""),
            ("2026-11-30T05:03:52Z", "\"2026-11-30T05:03:52Z\""),
            ("0x1F", "\"0x1F\""),
            ("1e3", "\"1e3\""),
            (".5", "\".5\""),
            ("1.2.3", "1.2.3"),
            ("10.96.0.1", "10.96.0.1"),
            ("~", "\"~\""),
            ("=", "="),
            ("<<", "<<"),
            ("\"q\"", "'\"q\"'"),
            ("?", "'?'"),
            ("x?", "x?"),
            ("trail ", "'trail '"),
            ("x\ty", "\"x\\ty\""),
            ("l1\nl2 \nl3\n", "\"l1\\nl2 \\nl3\\n\""),
            ("", "\"\""),
        ] {
            assert_eq!(document(&json!(text)), format!("{written}\n"), "{text:?}");
        }
    }

    #[test]
    fn writes_mappings_and_sequences_as_kubectl_does() {
        let value = json!({
            "b": [{"x": 1, "a": []}, [true, null], "s"], "a10": {}, "a9": "l1\nl2", "y": "\nl2", "l": "a\n\n", "k": 1.5,
        });
        let text = "a9: |-\n  l1\n  l2\na10: {}\nb:\n- a: []\n  x: 1\n- - true\n  - null\n- s\nk: 1.5\nl: |+\n  a\n\n\"y\": |2-\n\n  l2\n";
        assert_eq!(document(&value), text);
    }

    #[test]
    fn long_texts_go_on_in_the_next_line() {
        let words = "word ".repeat(18);
        let line = |first: &str, words: usize| format!("{first}{}", vec!["word"; words].join(" "));
        let text = format!("{}\n  word word '\n", line("a: '", 16));
        assert_eq!(document(&json!({"a": words})), text);
        let text = format!("{}\n  word word\n", line("a: ", 16));
        assert_eq!(document(&json!({"a": words.trim()})), text);
    }
}
