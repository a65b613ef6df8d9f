//! How Go's standard library says things, where Kubernetes passes its words on to clients.

use std::borrow::Cow;

use serde_json::Value;
use skiff_schema::{Root, Schema, Type};

/// How deep Go's decoder goes.
const DEEPEST: usize = 10_000;

/// What is wrong with a text that shall be JSON, in the words of `encoding/json`; none for well-formed JSON.
pub fn syntax_error(text: &[u8]) -> Option<String> {
    Scanner { text, at: 0 }.document().err()
}

/// The name that Go's decoder has for the type of a JSON value.
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A value as `%v` prints it: `map[a:1 b:[x y]]`.
pub fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(printed).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let members = map.iter().map(|(key, value)| format!("{key}:{}", printed(value)));
            format!("map[{}]", members.collect::<Vec<_>>().join(" "))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// The JSON text of a value of a definition as Go writes the struct: with its fields in their order there. Where
/// `changed` has an object, as a patch or the tree of its paths has, Go has a map by then: in the order of its keys.
pub fn written(value: &Value, root: &Root, changed: &Value) -> String {
    let mut out = String::new();
    write(&mut out, root.schema(), root.ty(), value, Some(changed));
    escaped(&out).into_owned()
}

/// Whether [`escaped`] would surely leave a text as it is. By many bytes at once: every object that is written is asked.
pub fn is_plain(json: &[u8]) -> bool {
    let is_special = |byte: u8| matches!(byte, b'<' | b'>' | b'&' | 0xe2);
    !json.chunks(64).any(|chunk| chunk.iter().fold(false, |found, byte| found | is_special(*byte)))
}

/// A JSON text as `encoding/json` writes it: for the sake of browsers without these characters, which only strings have. Programs in
/// Go that keep a text as it comes (`RawExtension`) compare it with what they write.
pub fn escaped(json: &str) -> Cow<'_, str> {
    let is_special = |c: char| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
    if is_plain(json.as_bytes()) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    let mut rest = json;
    while let Some((place, special)) = rest.char_indices().find(|(_, c)| is_special(*c)) {
        out.push_str(&rest[..place]);
        out.push_str(&format!("\\u{:04x}", u32::from(special)));
        rest = &rest[place + special.len_utf8()..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn write(out: &mut String, schema: &Schema, ty: Type, value: &Value, changed: Option<&Value>) {
    let changed = changed.filter(|changed| changed.is_object());
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&str> = map.keys().map(String::as_str).collect();
            if let (Type::Object(id), None) = (ty, changed) {
                let definition = schema.get(id);
                skiff_ordered::sort_by_key(&mut keys, |key| definition.rank(key));
            }
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                let separator = if i > 0 { "," } else { "" };
                out.push_str(&format!("{separator}{}:", Value::from(key)));
                let ty = schema.at(ty, [key]).unwrap_or(Type::ANY);
                write(out, schema, ty, &map[key], changed.and_then(|changed| changed.get(key)));
            }
            out.push('}');
        }
        Value::Array(items) => {
            let inner = match ty {
                Type::List(inner) => schema.inner(inner),
                _ => Type::ANY,
            };
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(out, schema, inner, item, changed.and_then(|changed| changed.get(i.to_string())));
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// Reads JSON as the scanner of `encoding/json` does, for the sake of its errors.
struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
}

type Scanned<T = ()> = Result<T, String>;

/// What is open around a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Object,
    Array,
}

impl Scanner<'_> {
    fn document(&mut self) -> Scanned {
        let mut open: Vec<Open> = Vec::new();
        loop {
            self.value(&mut open)?;
            // What was read may have been the last member of what is open.
            loop {
                self.blanks();
                let Some(around) = open.last().copied() else {
                    return match self.text.get(self.at) {
                        None => Ok(()),
                        Some(byte) => Err(unexpected(*byte, "after top-level value")),
                    };
                };
                let (end, place) = match around {
                    Open::Object => (b'}', "after object key:value pair"),
                    Open::Array => (b']', "after array element"),
                };
                match self.next()? {
                    b',' if around == Open::Object => self.key()?,
                    b',' => {}
                    byte if byte == end => {
                        open.pop();
                        continue;
                    }
                    byte => return Err(unexpected(byte, place)),
                }
                break;
            }
        }
    }

    /// Reads up to the first scalar or empty container, opening what is around it.
    fn value(&mut self, open: &mut Vec<Open>) -> Scanned {
        loop {
            self.blanks();
            let (byte, kind, end) = match self.next()? {
                byte @ b'{' => (byte, Open::Object, b'}'),
                byte @ b'[' => (byte, Open::Array, b']'),
                byte => return self.scalar(byte),
            };
            if open.len() >= DEEPEST {
                return Err(unexpected(byte, "exceeded max depth"));
            }
            self.blanks();
            if self.text.get(self.at) == Some(&end) {
                self.at += 1;
                return Ok(());
            }
            if kind == Open::Object {
                self.key()?;
            }
            open.push(kind);
        }
    }

    fn key(&mut self) -> Scanned {
        self.blanks();
        match self.next()? {
            b'"' => self.string()?,
            byte => return Err(unexpected(byte, "looking for beginning of object key string")),
        }
        self.blanks();
        match self.next()? {
            b':' => Ok(()),
            byte => Err(unexpected(byte, "after object key")),
        }
    }

    fn scalar(&mut self, first: u8) -> Scanned {
        match first {
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' => {
                let digit = self.digit("in numeric literal")?;
                self.number(digit)
            }
            b'0'..=b'9' => self.number(first),
            byte => Err(unexpected(byte, "looking for beginning of value")),
        }
    }

    fn literal(&mut self, word: &str) -> Scanned {
        for expected in &word.as_bytes()[1..] {
            let byte = self.next()?;
            if byte != *expected {
                let expected = char::from(*expected);
                return Err(unexpected(byte, &format!("in literal {word} (expecting '{expected}')")));
            }
        }
        Ok(())
    }

    /// The rest of a number whose first digit has been read.
    fn number(&mut self, first: u8) -> Scanned {
        if first != b'0' {
            self.digits();
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    fn digit(&mut self, place: &str) -> Scanned<u8> {
        let byte = self.next()?;
        if byte.is_ascii_digit() { Ok(byte) } else { Err(unexpected(byte, place)) }
    }

    /// The rest of a string behind its opening quote.
    fn string(&mut self) -> Scanned {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let byte = self.next()?;
                            if !byte.is_ascii_hexdigit() {
                                return Err(unexpected(byte, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    byte => return Err(unexpected(byte, "in string escape code")),
                },
                byte if byte < b' ' => return Err(unexpected(byte, "in string literal")),
                _ => {}
            }
        }
    }

    fn blanks(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Scanned<u8> {
        let byte = self.text.get(self.at).copied();
        self.at += 1;
        byte.ok_or_else(|| "unexpected end of JSON input".to_owned())
    }
}

fn unexpected(byte: u8, place: &str) -> String {
    // Go takes the byte for a character of its own.
    let shown = match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        byte => {
            let quoted = quoted(&char::from(byte).to_string());
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    };
    format!("invalid character {shown} {place}")
}

/// A text as `%q` prints it.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            char if char < ' ' || char == '\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(char))),
            char if char.is_control() || char == '\u{ad}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(char)));
            }
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::root;
    use serde_json::json;

    #[test]
    fn syntax_errors_are_worded_as_go_words_them() {
        let check = |text: &str, error: &str| {
            assert_eq!(syntax_error(text.as_bytes()).as_deref(), Some(error), "{text}");
        };
        for text in [
            "", " ", "{", "[", "{\"a\"", "{\"a\":", "{\"a\":1", "[1,", "\"a", "tru", "-", "1.", "1e",
            "\"\\u00",
        ] {
            check(text, "unexpected end of JSON input");
        }
        check("a: 1", "invalid character 'a' looking for beginning of value");
        check("\u{feff}{}", "invalid character 'ï' looking for beginning of value");
        check("{'a': 1}", r"invalid character '\'' looking for beginning of object key string");
        check("{\"a\":1,}", "invalid character '}' looking for beginning of object key string");
        check("{\"a\" 1}", "invalid character '1' after object key");
        check("{\"a\":1 \"b\"", "invalid character '\"' after object key:value pair");
        check("[1,]", "invalid character ']' looking for beginning of value");
        check("[1 2]", "invalid character '2' after array element");
        check("{}x", "invalid character 'x' after top-level value");
        check("01", "invalid character '1' after top-level value");
        check("-a", "invalid character 'a' in numeric literal");
        check("1.a", "invalid character 'a' after decimal point in numeric literal");
        check("1ea", "invalid character 'a' in exponent of numeric literal");
        check("trUe", "invalid character 'U' in literal true (expecting 'u')");
        check("\"\\x\"", "invalid character 'x' in string escape code");
        check("\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape");
        check("\"\n\"", "invalid character '\\n' in string literal");
        check(&"[".repeat(DEEPEST + 1), "invalid character '[' exceeded max depth");
    }

    #[test]
    fn json_has_no_syntax_errors() {
        for text in [
            "{}",
            "[]",
            " [1, -2.5e+7, \"\\u00e4\\n\", {\"a\": {\"b\": [true, false, null]}, \"c\": {}}] ",
            "0",
        ] {
            assert_eq!(syntax_error(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn values_are_printed_as_go_prints_them() {
        let value = json!({"b": [1, "x", null, true], "a": {"c": 1.5}});
        assert_eq!(printed(&value), "map[a:map[c:1.5] b:[1 x <nil> true]]");
        assert_eq!(quoted("a\u{7}\"\\\u{1}é"), r#""a\a\"\\\x01é""#);
    }

    #[test]
    fn objects_are_written_as_go_writes_them() {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"b": "<", "a": ""}, "immutable": true,
            "metadata": {"uid": "u", "name": "n", "ownerReferences": [{"uid": "o", "kind": "K", "apiVersion": "v1"}]}});
        let root = root("io.k8s.api.core.v1.ConfigMap");
        assert_eq!(
            written(&map, &root, &Value::Null),
            r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"n","uid":"u","ownerReferences":[{"apiVersion":"v1","kind":"K","uid":"o"}]},"immutable":true,"data":{"a":"","b":"\u003c"}}"#
        );
        assert_eq!(
            written(&map, &root, &json!({"data": {"a": ""}})),
            r#"{"apiVersion":"v1","data":{"a":"","b":"\u003c"},"immutable":true,"kind":"ConfigMap","metadata":{"name":"n","uid":"u","ownerReferences":[{"apiVersion":"v1","kind":"K","uid":"o"}]}}"#
        );
    }
}
