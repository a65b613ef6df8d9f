//! Bodies in YAML → JSON.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use super::codec;

/// The JSON text of a body, and what the body said in vain.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) json: Bytes,
    /// The keys that stand twice in a map, with their places, a line for each.
    pub(crate) repeated: Option<String>,
}

/// What stands between the lines of [`Text::repeated`].
pub(crate) const NEXT: &str = "\n  ";

/// The JSON text of the first document of a YAML text, or why it has none in the words of Go's reader. The last of equal keys counts.
pub(crate) fn to_json(body: &[u8]) -> Result<Text, String> {
    let text = std::str::from_utf8(body).map_err(|_| "yaml: invalid leading UTF-8 octet".to_owned())?;
    let text = first_document(text);
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        legacy_octal_numbers: true,
    };
    let node = serde_saphyr::from_str_with_options::<Node>(text, options)
        .map_err(|error| in_words_of_go(text, &first_line(&error.to_string())))?;
    let mut reading = Reading { lines: text.lines().collect(), repeated: Vec::new() };
    let value = reading.value(node);
    let repeated = (!reading.repeated.is_empty()).then(|| reading.repeated.join(NEXT));
    Ok(Text { json: codec::to_json(&value), repeated })
}

/// A YAML text as it was written.
enum Node {
    Map(Vec<(Spanned<String>, Self)>),
    List(Vec<Self>),
    Scalar(Value),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Nodes)
    }
}

struct Nodes;

impl<'de> Visitor<'de> for Nodes {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }
}

/// What is found out while a text becomes JSON.
struct Reading<'t> {
    lines: Vec<&'t str>,
    repeated: Vec<String>,
}

impl Reading<'_> {
    fn value(&mut self, node: Node) -> Value {
        let entries = match node {
            Node::Scalar(value) => return value,
            Node::List(items) => return items.into_iter().map(|item| self.value(item)).collect(),
            Node::Map(entries) => entries,
        };
        let mut map = Map::new();
        for (key, node) in entries {
            let name = self.key(&key);
            if map.contains_key(&name) {
                let line = key.defined.line();
                self.repeated.push(format!("line {line}: key {name:?} already set in map"));
            }
            let value = self.value(node);
            map.insert(name, value);
        }
        Value::Object(map)
    }

    /// A key as JSON has it: what Go's reader takes for a boolean is its word.
    fn key(&self, key: &Spanned<String>) -> String {
        let number = |of: u64| usize::try_from(of).ok()?.checked_sub(1);
        let (line, column) = (number(key.defined.line()), number(key.defined.column()));
        let first = line.and_then(|line| self.lines.get(line)).zip(column);
        let first = first.and_then(|(line, column)| line.chars().nth(column));
        match key.value.as_str() {
            text if matches!(first, Some('"' | '\'')) => text.to_owned(),
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "True" | "TRUE" => "true".to_owned(),
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "False" | "FALSE" => "false".to_owned(),
            text => text.to_owned(),
        }
    }
}

/// A text up to the marker of its second document.
fn first_document(text: &str) -> &str {
    let mut at = 0;
    let mut begun = false;
    for line in text.split_inclusive('\n') {
        let marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marker && begun {
            return &text[..at];
        }
        let blank = line.trim().is_empty() || line.starts_with('#') || line.starts_with('%');
        begun |= marker || !blank;
        at += line.len();
    }
    text
}

/// What follows the first line shows the text, which may be a Secret's.
fn first_line(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// An error of the reader as Go's would say it, where it has words of its own.
fn in_words_of_go(text: &str, error: &str) -> String {
    if let Some((_, number)) = error.split_once("non-finite float `") {
        return format!("json: unsupported value: {}", not_finite(number));
    }
    let Some((place, what)) = error.split_once(": ") else { return format!("yaml: {error}") };
    let mut numbers = place.split(' ').filter_map(|word| word.parse::<usize>().ok());
    let (line, column) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if let Some(wanted) = what.find("did not find expected").and_then(|at| what.get(at..)) {
        // Where the parser gives up Go counts lines from zero, and does not tell of that one.
        return match line.saturating_sub(1) {
            0 => format!("yaml: {wanted}"),
            line => format!("yaml: line {line}: {wanted}"),
        };
    }
    match what {
        _ if what.starts_with("unclosed bracket ") => {
            format!("yaml: line {line}: did not find expected {}", missing(text, what.contains('{')))
        }
        _ if what.starts_with("unexpected character") || what.starts_with("tabs disallowed") => {
            format!("yaml: line {line}: found character that cannot start any token")
        }
        _ if what.starts_with("alias references unknown anchor") => {
            let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
            let name =
                line.chars().skip(column).take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
            format!("yaml: unknown anchor '{}' referenced", name.collect::<String>())
        }
        _ => format!("yaml: {error}"),
    }
}

/// What a text lacks that ends in a list or map in brackets.
fn missing(text: &str, is_map: bool) -> &'static str {
    match (text.trim_end().ends_with(['[', '{', ',', ':']), is_map) {
        (true, _) => "node content",
        (false, true) => "',' or '}'",
        (false, false) => "',' or ']'",
    }
}

/// A number that JSON does not have, as Go calls it.
fn not_finite(number: &str) -> &'static str {
    match number.to_ascii_lowercase() {
        number if number.starts_with('-') => "-Inf",
        number if number.contains("inf") => "+Inf",
        _ => "NaN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_document_is_read() {
        let check = |text: &str, json: &str, repeated: Option<&str>| {
            let read = to_json(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(&read.json), json, "{text}");
            assert_eq!(read.repeated.as_deref(), repeated, "{text}");
        };
        check("a: 1", r#"{"a":1}"#, None);
        check("[1.0, 1e2, 1.5, -3.0]", "[1,100,1.5,-3]", None);
        check("# remark\n---\na: |\n  ---\n---\nb: 2\n", r#"{"a":"---\n"}"#, None);
        check(
            "a: 1\nb: {c: 1, c: 2}\na: 2",
            r#"{"a":2,"b":{"c":2}}"#,
            Some("line 2: key \"c\" already set in map\n  line 3: key \"a\" already set in map"),
        );
        check("mode: 0644\nyes: on\n\"n\": 'off'", r#"{"mode":420,"n":"off","true":true}"#, None);
        check("a: &x {b: 1}\nc:\n  <<: *x\n  d: 2", r#"{"a":{"b":1},"c":{"b":1,"d":2}}"#, None);
    }

    #[test]
    fn errors_are_worded_as_go_words_them() {
        let check = |text: &str, why: &str| assert_eq!(to_json(text.as_bytes()).unwrap_err(), why, "{text}");
        check("a: [", "yaml: line 1: did not find expected node content");
        check("x: 1\na: {b: c", "yaml: line 2: did not find expected ',' or '}'");
        check("x: 1\na: {b: c: d}", "yaml: line 1: did not find expected ',' or '}'");
        check("x: 1\nb:\n  c: 1\n d: 2", "yaml: line 3: did not find expected key");
        check("a: @b", "yaml: line 1: found character that cannot start any token");
        check("a: *b", "yaml: unknown anchor 'b' referenced");
        check("a: -.inf", "json: unsupported value: -Inf");
        assert!(to_json(b"a: \"secret").unwrap_err().starts_with("yaml: line 1"));
        assert_eq!(to_json(&[0xff]).unwrap_err(), "yaml: invalid leading UTF-8 octet");
    }
}
