//! Bodies in YAML → JSON.

use bytes::Bytes;
use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;

use super::codec;

/// The JSON text of a body, and what the body said in vain.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) json: Bytes,
    /// A key that stands twice in a map, with its line; of several, the first.
    pub(crate) repeated: Option<String>,
}

/// The JSON text of the first document of a YAML text, or why it has none in the words of Go's reader. The last of equal keys counts.
pub(crate) fn to_json(body: &[u8]) -> Result<Text, String> {
    let text = std::str::from_utf8(body).map_err(|_| "yaml: invalid leading UTF-8 octet".to_owned())?;
    let text = first_document(text);
    let read = |duplicate_keys| {
        let options = serde_saphyr::options! { duplicate_keys: duplicate_keys };
        serde_saphyr::from_str_with_options::<Value>(text, options)
            .map_err(|error| first_line(&error.to_string()))
    };
    let (value, repeated) = match read(DuplicateKeyPolicy::Error) {
        Ok(value) => (value, None),
        Err(why) => match repeated(&why) {
            None => return Err(format!("yaml: {}", in_words_of_go(&why))),
            found => {
                let value = read(DuplicateKeyPolicy::LastWins);
                (value.map_err(|why| format!("yaml: {}", in_words_of_go(&why)))?, found)
            }
        },
    };
    let mut value = value;
    integers(&mut value);
    Ok(Text { json: codec::to_json(&value), repeated })
}

/// Writes numbers without a fraction as the integers that they are, however they are spelled, as Go does that has but one type for them.
fn integers(value: &mut Value) {
    // Those that integers of 64 bits and floating points share.
    const SHARED: f64 = 9.2e18;
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < SHARED);
            #[allow(clippy::cast_possible_truncation, reason = "it has no fraction, and is small enough")]
            if let Some(float) = whole {
                *value = Value::from(float as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(integers),
        Value::Object(map) => map.values_mut().for_each(integers),
        _ => {}
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

/// `line 7: key "data" already set in map` of `line 7 column 1: duplicate mapping key: data, …`.
fn repeated(error: &str) -> Option<String> {
    let (place, key) = error.split_once(": duplicate mapping key: ")?;
    let line = place.split_once(" column ").map_or(place, |(line, _)| line);
    let key = key.split_once(", set ").map_or(key, |(key, _)| key);
    Some(format!("{line}: key {key:?} already set in map"))
}

/// An error of the reader as Go's would say it, where it has words of its own.
fn in_words_of_go(error: &str) -> String {
    match error.split_once(": unclosed bracket ") {
        Some((place, _)) => {
            let line = place.split_once(" column ").map_or(place, |(line, _)| line);
            format!("{line}: did not find expected node content")
        }
        None => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_document_is_read() {
        let check = |text: &str, json: &str, repeated: Option<&str>| {
            let read = to_json(text.as_bytes()).unwrap();
            assert_eq!((&read.json[..], read.repeated.as_deref()), (json.as_bytes(), repeated), "{text}");
        };
        check("a: 1", r#"{"a":1}"#, None);
        check("[1.0, 1e2, 1.5, -3.0]", "[1,100,1.5,-3]", None);
        check("# remark\n---\na: |\n  ---\n---\nb: 2\n", r#"{"a":"---\n"}"#, None);
        check(
            "a: 1\nb:\n  c: 1\na: 2",
            r#"{"a":2,"b":{"c":1}}"#,
            Some(r#"line 4: key "a" already set in map"#),
        );
    }

    #[test]
    fn errors_are_worded_as_go_words_them() {
        let error = to_json(b"a: [").unwrap_err();
        assert_eq!(error, "yaml: line 1: did not find expected node content");
        assert!(to_json(b"a: \"secret").unwrap_err().starts_with("yaml: line 1"));
        assert_eq!(to_json(&[0xff]).unwrap_err(), "yaml: invalid leading UTF-8 octet");
    }
}
