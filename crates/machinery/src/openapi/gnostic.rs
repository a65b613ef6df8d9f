//! The documents in protobuf: their parts written from JSON by tables of the fields' numbers, which are those of gnostic's
//! `OpenAPIv2.proto` and `OpenAPIv3.proto`.

pub(super) mod v2;
pub(super) mod v3;

use serde_json::{Map, Number, Value};

use crate::protobuf::write::{bytes, double, nested, whole};

/// How an object of OpenAPI is written.
pub(super) struct Message {
    /// Its members, by the numbers of their fields.
    pub(super) fields: &'static [(&'static str, u16, Form)],
    /// The number of the members that OpenAPI does not define (`x-…`), each with its name before it.
    pub(super) extensions: Option<u16>,
    /// The number and form of all other members, whose names are not known beforehand, each with its name before it.
    pub(super) others: Option<(u16, Form)>,
}

/// How a value is written.
pub(super) enum Form {
    Text,
    Flag,
    Integer,
    Number,
    /// Anything, as a message with its text in YAML (of which JSON is a part).
    Yaml,
    /// A list, each item as a field of its own.
    Each(&'static Form),
    Message(&'static Message),
    /// A message with a field for each way to write such a value, of which the first that fits is there.
    Choice(&'static [Alternative]),
}

/// One of several ways to write a value.
pub(super) struct Alternative {
    pub(super) fits: fn(&Value) -> bool,
    pub(super) number: u16,
    pub(super) form: Form,
}

impl Form {
    /// Writes a field. What is not as OpenAPI has it is left out.
    pub(super) fn write(&self, out: &mut Vec<u8>, number: u16, value: &Value) {
        match (self, value) {
            (Self::Text, Value::String(text)) => bytes(out, number, text.as_bytes()),
            (Self::Flag, Value::Bool(flag)) => whole(out, number, (*flag).into()),
            (Self::Integer, Value::Number(value)) => {
                if let Some(value) = integer(value) {
                    whole(out, number, value);
                }
            }
            (Self::Number, Value::Number(value)) => {
                double(out, number, value.as_f64().unwrap_or_default());
            }
            (Self::Yaml, value) => nested(out, number, |out| bytes(out, 2, value.to_string().as_bytes())),
            (Self::Each(form), Value::Array(items)) => {
                items.iter().for_each(|item| form.write(out, number, item));
            }
            (Self::Message(message), Value::Object(map)) => {
                nested(out, number, |out| message.write(out, map));
            }
            (Self::Choice(alternatives), value) => {
                let fitting = alternatives.iter().find(|alternative| (alternative.fits)(value));
                nested(out, number, |out| {
                    if let Some(Alternative { number, form, .. }) = fitting {
                        form.write(out, *number, value);
                    }
                });
            }
            _ => {}
        }
    }

    /// Writes an entry: a message of a name and a value.
    pub(super) fn write_named(&self, out: &mut Vec<u8>, number: u16, name: &str, value: &Value) {
        nested(out, number, |out| {
            bytes(out, 1, name.as_bytes());
            self.write(out, 2, value);
        });
    }

    /// Whether readers take it for this value when there is no field.
    fn is_zero(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text, Value::String(text)) => text.is_empty(),
            (Self::Flag, Value::Bool(flag)) => !flag,
            (Self::Integer | Self::Number, Value::Number(value)) => value.as_f64() == Some(0.0),
            _ => false,
        }
    }
}

impl Message {
    fn write(&self, out: &mut Vec<u8>, map: &Map<String, Value>) {
        for (name, number, form) in self.fields {
            if let Some(value) = map.get(*name).filter(|value| !form.is_zero(value)) {
                form.write(out, *number, value);
            }
        }
        for (name, value) in map {
            if let Some(number) = self.extensions.filter(|_| name.starts_with("x-")) {
                Form::Yaml.write_named(out, number, name, value);
            } else if let Some((number, form)) = &self.others
                && !self.fields.iter().any(|(known, ..)| known == name)
            {
                form.write_named(out, *number, name, value);
            }
        }
    }
}

/// A number without a fraction, also if it is written with one (`3.0`).
fn integer(value: &Number) -> Option<i64> {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "what is out of range becomes the nearest that is in range"
    )]
    let of_float = |value: f64| (value.fract() == 0.0).then_some(value as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(of_float))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    static MESSAGE: Message = Message {
        fields: &[
            ("text", 1, Form::Text),
            ("flag", 2, Form::Flag),
            ("count", 3, Form::Integer),
            ("share", 4, Form::Number),
            ("any", 5, Form::Yaml),
            ("list", 6, Form::Each(&Form::Text)),
            ("inner", 7, Form::Message(&MESSAGE)),
            ("choice", 8, Form::Choice(CHOICE)),
        ],
        extensions: Some(9),
        others: Some((10, Form::Text)),
    };

    const CHOICE: &[Alternative] = &[
        Alternative { fits: Value::is_boolean, number: 1, form: Form::Flag },
        Alternative { fits: Value::is_string, number: 2, form: Form::Text },
    ];

    #[test]
    fn members_are_fields_with_their_numbers() {
        let check = |value: Value, expected: &[u8]| {
            let mut out = Vec::new();
            MESSAGE.write(&mut out, value.as_object().unwrap());
            assert_eq!(out, expected, "{value}");
        };
        check(json!({"text": "ab"}), b"\x0a\x02ab");
        check(json!({"flag": true, "count": 300}), b"\x10\x01\x18\xac\x02");
        check(json!({"count": 3.0}), b"\x18\x03");
        check(json!({"share": 0.5}), b"\x21\0\0\0\0\0\0\xe0\x3f");
        // Readers take what is not there for zero, but not in a choice, a list or anything.
        check(json!({"text": "", "flag": false, "count": 0, "share": 0}), b"");
        check(json!({"any": false}), b"\x2a\x07\x12\x05false");
        check(json!({"list": ["", "a"]}), b"\x32\0\x32\x01a");
        check(json!({"choice": false}), b"\x42\x02\x08\0");
        check(json!({"choice": "a"}), b"\x42\x03\x12\x01a");
        // As gnostic writes the default `{}`.
        check(json!({"choice": {}}), b"\x42\0");
        check(json!({"inner": {"inner": {}}}), b"\x3a\x02\x3a\0");
        check(json!({"x-a": [1]}), b"\x4a\x0c\x0a\x03x-a\x12\x05\x12\x03[1]");
        check(json!({"other": "b"}), b"\x52\x0a\x0a\x05other\x12\x01b");
        // Of another type than it should be.
        check(json!({"text": 1, "flag": "a", "count": 0.5, "list": "a", "inner": []}), b"");
    }
}
