//! Trees as YAML text, as Kubernetes' writer writes them (`sigs.k8s.io/yaml`): keys sorted, texts plain where they read back as
//! texts, long lines folded at spaces.

use std::cmp::Ordering;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

/// Columns after which a line is folded.
const WIDTH: usize = 80;

/// The text of a tree.
pub fn to_string(value: &Value) -> String {
    let mut out = Writer { text: String::new(), column: 0 };
    match value {
        Value::Object(map) if !map.is_empty() => out.map(map, 0, false),
        Value::Array(items) if !items.is_empty() => out.list(items, 0, false),
        other => out.scalar(other, 0, Place::Value),
    }
    out.text.push('\n');
    out.text
}

/// Where a scalar stands: keys are never folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Key,
    Value,
}

struct Writer {
    text: String,
    column: usize,
}

impl Writer {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.column += text.chars().count();
    }

    fn line(&mut self, indent: usize) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
    }

    /// `inline`: the first key stands where the line is now.
    fn map(&mut self, map: &Map<String, Value>, indent: usize, inline: bool) {
        let mut keys: Vec<&String> = map.keys().collect();
        skiff_ordered::sort_by(&mut keys, |a, b| natural(a, b));
        for (at, key) in keys.into_iter().enumerate() {
            if at > 0 || !inline && !self.text.is_empty() {
                self.line(indent);
            }
            self.string(key, indent, Place::Key);
            self.push(":");
            match &map[key] {
                Value::Object(inner) if !inner.is_empty() => self.map(inner, indent + 2, false),
                // A list is as far in as its key.
                Value::Array(items) if !items.is_empty() => self.list(items, indent, false),
                other => {
                    self.push(" ");
                    self.scalar(other, indent + 2, Place::Value);
                }
            }
        }
    }

    fn list(&mut self, items: &[Value], indent: usize, inline: bool) {
        for (at, item) in items.iter().enumerate() {
            if at > 0 || !inline && !self.text.is_empty() {
                self.line(indent);
            }
            self.push("- ");
            match item {
                Value::Object(inner) if !inner.is_empty() => self.map(inner, indent + 2, true),
                Value::Array(inner) if !inner.is_empty() => self.list(inner, indent + 2, true),
                other => self.scalar(other, indent + 2, Place::Value),
            }
        }
    }

    fn scalar(&mut self, value: &Value, indent: usize, place: Place) {
        match value {
            Value::String(text) => self.string(text, indent, place),
            Value::Object(_) => self.push("{}"),
            Value::Array(_) => self.push("[]"),
            other => self.push(&other.to_string()),
        }
    }

    fn string(&mut self, text: &str, indent: usize, place: Place) {
        let looks = Looks::of(text);
        if text.contains('\n') {
            if place == Place::Value && looks.block {
                self.literal(text, indent);
            } else {
                self.double_quoted(text, indent, place);
            }
        } else if is_other(text) {
            self.double_quoted(text, indent, place);
        } else if looks.plain {
            self.folded(text, indent, place);
        } else if looks.single_quoted {
            self.push("'");
            self.folded(&text.replace('\'', "''"), indent, place);
            self.push("'");
        } else {
            self.double_quoted(text, indent, place);
        }
    }

    /// Breaks long lines where there is one space.
    fn folded(&mut self, text: &str, indent: usize, place: Place) {
        let chars: Vec<char> = text.chars().collect();
        for (at, char) in chars.iter().enumerate() {
            let alone = at > 0 && chars[at - 1] != ' ' && chars.get(at + 1).is_some_and(|next| *next != ' ');
            if *char == ' ' && place == Place::Value && self.column > WIDTH && alone {
                self.line(indent);
            } else {
                self.text.push(*char);
                self.column += 1;
            }
        }
    }

    fn literal(&mut self, text: &str, indent: usize) {
        let hint = if text.starts_with([' ', '\n']) { "2" } else { "" };
        let ends = match text.strip_suffix('\n') {
            None => "-",
            Some(rest) if rest.is_empty() || rest.ends_with('\n') => "+",
            Some(_) => "",
        };
        self.push(&format!("|{hint}{ends}"));
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            if line.is_empty() {
                self.text.push('\n');
                self.column = 0;
            } else {
                self.line(indent);
                self.push(line);
            }
        }
    }

    fn double_quoted(&mut self, text: &str, indent: usize, place: Place) {
        self.push("\"");
        let chars: Vec<char> = text.chars().collect();
        for (at, char) in chars.iter().enumerate() {
            let inside = at > 0 && at + 1 < chars.len();
            if *char == ' ' && place == Place::Value && self.column > WIDTH && inside {
                self.line(indent);
                if chars[at + 1] == ' ' {
                    self.push("\\");
                }
                continue;
            }
            self.push(&escaped(*char));
        }
        self.push("\"");
    }
}

fn escaped(char: char) -> String {
    match char {
        '\0' => "\\0".to_owned(),
        '\x07' => "\\a".to_owned(),
        '\x08' => "\\b".to_owned(),
        '\t' => "\\t".to_owned(),
        '\n' => "\\n".to_owned(),
        '\x0b' => "\\v".to_owned(),
        '\x0c' => "\\f".to_owned(),
        '\r' => "\\r".to_owned(),
        '\x1b' => "\\e".to_owned(),
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\u{85}' => "\\N".to_owned(),
        '\u{a0}' => "\\_".to_owned(),
        '\u{2028}' => "\\L".to_owned(),
        '\u{2029}' => "\\P".to_owned(),
        char if is_printable(char) => char.to_string(),
        char if u32::from(char) <= 0xff => format!("\\x{:02X}", u32::from(char)),
        char if u32::from(char) <= 0xffff => format!("\\u{:04X}", u32::from(char)),
        char => format!("\\U{:08X}", u32::from(char)),
    }
}

fn is_printable(char: char) -> bool {
    matches!(char, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && char != '\u{feff}'
}

/// In which styles a text can be written.
#[derive(Clone, Copy, Debug)]
struct Looks {
    plain: bool,
    single_quoted: bool,
    block: bool,
}

impl Looks {
    fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let special = chars.iter().any(|char| *char != '\n' && !is_printable(*char) || *char == '\u{feff}');
        let space_break = text.contains(" \n");
        let at_ends = text.starts_with([' ', '\n']) || text.ends_with([' ', '\n']);
        let plain = !at_ends
            && !text.contains('\n')
            && !has_indicators(&chars)
            && !text.starts_with("---")
            && !text.starts_with("...");
        Self {
            plain: plain && !special && !text.is_empty(),
            single_quoted: !special && !space_break && !text.contains("\n "),
            block: !special && !space_break && !text.ends_with(' '),
        }
    }
}

/// Whether something in a text would mean something outside of flow collections.
fn has_indicators(chars: &[char]) -> bool {
    let ends = |at: usize| chars.get(at + 1).is_none_or(|next| matches!(next, ' ' | '\n' | '\t'));
    chars.iter().enumerate().any(|(at, char)| match (at, char) {
        (
            0,
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`',
        ) => true,
        (0, '?' | '-' | ':') => ends(at),
        (_, ':') => ends(at),
        (at, '#') => matches!(chars[at - 1], ' ' | '\n' | '\t'),
        _ => false,
    })
}

static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?0(?:[xX][0-9a-fA-F]+|[oO]?[0-7]+|[bB][01]+))$";
    Regex::new(pattern).expect("the pattern is right")
});
static SIXTIES: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$";
    Regex::new(pattern).expect("the pattern is right")
});
static TIME: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt ])[0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:\.[0-9]+)?(?:Z|[-+][0-9]{2}:[0-9]{2})?)?$";
    Regex::new(pattern).expect("the pattern is right")
});

/// Whether a text without quotes would be read as something else.
fn is_other(text: &str) -> bool {
    const WORDS: [&str; 11] = ["y", "yes", "true", "on", "n", "no", "false", "off", "null", "~", ".nan"];
    const INFINITIES: [&str; 3] = [".inf", "+.inf", "-.inf"];
    let lower = text.to_ascii_lowercase();
    // In small letters, in capitals, or with one.
    let is_word = |word: &&str| {
        let titled = word[..1].to_ascii_uppercase() + &word[1..];
        lower == **word && (text == *word || text == word.to_ascii_uppercase() || text == titled)
    };
    let number = text.replace('_', "");
    text.is_empty()
        || text == "<<"
        || WORDS.iter().any(is_word)
        || INFINITIES.contains(&lower.as_str())
        || matches!(text, ".NaN" | ".NAN")
        || text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
            && (NUMBER.is_match(&number) || SIXTIES.is_match(text) || TIME.is_match(text))
}

/// The order of keys: numbers in them by their size, letters after all else.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = (0..a.len().min(b.len())).find(|at| a[*at] != b[*at]) else {
        return a.len().cmp(&b.len());
    };
    let (left, right) = (a[at], b[at]);
    let number = |chars: &[char]| -> (usize, usize) {
        let digits: String = chars[at..].iter().take_while(|char| char.is_ascii_digit()).collect();
        (digits.parse().unwrap_or(usize::MAX), digits.len())
    };
    if left.is_alphabetic() != right.is_alphabetic() || !left.is_ascii_digit() || !right.is_ascii_digit() {
        return (left.is_alphabetic(), left).cmp(&(right.is_alphabetic(), right));
    }
    number(&a).cmp(&number(&b)).then(left.cmp(&right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn trees_are_written_as_kubernetes_writes_them() {
        let tree = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"l": "1"}, "managedFields": [
                {"fieldsV1": {"f:metadata": {".": {}, "k:{\"name\":\"a\"}": {}}}, "manager": "m"}]},
            "spec": {"args": ["a b", "", "yes", "- x", "#"], "number": 3, "none": null, "list": [], "ok": true, "nested": [[1]]},
        });
        let expected = "apiVersion: v1
kind: Pod
metadata:
  creationTimestamp: \"2026-01-01T00:00:00Z\"
  labels:
    l: \"1\"
  managedFields:
  - fieldsV1:
      f:metadata:
        .: {}
        k:{\"name\":\"a\"}: {}
    manager: m
spec:
  args:
  - a b
  - \"\"
  - \"yes\"
  - '- x'
  - '#'
  list: []
  nested:
  - - 1
  none: null
  number: 3
  ok: true
";
        assert_eq!(to_string(&tree), expected);
    }

    #[test]
    fn texts_of_many_lines_stay_so() {
        let check = |text: &str, expected: &str| {
            assert_eq!(to_string(&json!({"a": text})), expected, "{text:?}");
        };
        check("x\ny\n", "a: |\n  x\n  y\n");
        check("x\n\ny", "a: |-\n  x\n\n  y\n");
        check("x\n\n", "a: |+\n  x\n\n");
        check(" x\ny", "a: |2-\n   x\n  y\n");
        check("x \ny", "a: \"x \\ny\"\n");
    }

    #[test]
    fn long_texts_are_folded() {
        let text = "word ".repeat(20);
        let expected = format!("a: {}\n  {}\n", "word ".repeat(16).trim_end(), "word ".repeat(4).trim_end());
        assert_eq!(to_string(&json!({"a": text.trim_end()})), expected);
    }

    #[test]
    fn texts_that_look_like_something_else_are_quoted() {
        for text in ["1", "1.5", "0x1f", "1_000", "on", "NULL", "~", "12:30:45", "2026-01-01", ".inf", "-1e3"]
        {
            assert_eq!(to_string(&json!(text)), format!("\"{text}\"\n"));
        }
        for text in ["1a", "v1", "onn", "a:b", "12:30:99", "10.0.0.1", "1h", "-x"] {
            assert_eq!(to_string(&json!(text)), format!("{text}\n"));
        }
        assert_eq!(to_string(&json!("a: b")), "'a: b'\n");
        assert_eq!(to_string(&json!("it's: b")), "'it''s: b'\n");
        assert_eq!(to_string(&json!("a\tb")), "\"a\\tb\"\n");
    }

    #[test]
    fn keys_are_in_natural_order() {
        let mut keys = vec!["b", "a10", "a9", ".", "A"];
        keys.sort_by(|a, b| natural(a, b));
        assert_eq!(keys, [".", "A", "a9", "a10", "b"]);
    }
}
