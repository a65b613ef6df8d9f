//! YAML as kubectl writes it: keys in order, sequences as far left as their key, lines of some 80 letters, and the quotes
//! that a reader of YAML 1.1 needs.

mod order;
mod style;

use serde_json::{Map, Value};

use order::natural;
use style::{Style, is_printable, style};

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
    skiff_ordered::sort_by(&mut entries, |left, right| natural(left.0, right.0));
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
