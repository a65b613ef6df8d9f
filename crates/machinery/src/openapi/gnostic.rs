//! The documents in protobuf: their parts written from JSON by tables of the fields' numbers, which are those of gnostic's
//! `OpenAPIv2.proto` and `OpenAPIv3.proto`.

pub(super) mod v2;
pub(super) mod v3;

use serde_json::{Map, Number, Value};

use crate::protobuf::write::{bytes, double, nested, whole};

/// How an object of OpenAPI is written.
pub(super) struct Message {
    /// Its members, in runs whose fields have consecutive numbers, of which the first is given.
    pub(super) fields: &'static [(u16, &'static [Field])],
    /// The number of the members that OpenAPI does not define (`x-…`), each with its name before it.
    pub(super) extensions: Option<u16>,
    /// The number and form of all other members, whose names are not known beforehand, each with its name before it.
    pub(super) others: Option<(u16, Form)>,
}

/// A member by its name, and how its value is written.
pub(super) type Field = (&'static str, Form);

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

/// What a schema says of the values that it allows.
static LIMITS: [Field; 15] = [
    ("multipleOf", Form::Number),
    ("maximum", Form::Number),
    ("exclusiveMaximum", Form::Flag),
    ("minimum", Form::Number),
    ("exclusiveMinimum", Form::Flag),
    ("maxLength", Form::Integer),
    ("minLength", Form::Integer),
    ("pattern", Form::Text),
    ("maxItems", Form::Integer),
    ("minItems", Form::Integer),
    ("uniqueItems", Form::Flag),
    ("maxProperties", Form::Integer),
    ("minProperties", Form::Integer),
    ("required", Form::Each(&Form::Text)),
    ("enum", Form::Each(&Form::Yaml)),
];

static EXTERNAL_DOCS: Message = Message {
    fields: &[(1, &[("description", Form::Text), ("url", Form::Text)])],
    extensions: Some(3),
    others: None,
};

fn is_reference(value: &Value) -> bool {
    value.get("$ref").is_some_and(Value::is_string)
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
        for (number, (name, form)) in self.fields.iter().flat_map(|(first, run)| (*first..).zip(*run)) {
            if let Some(value) = map.get(*name).filter(|value| !form.is_zero(value)) {
                form.write(out, number, value);
            }
        }
        for (name, value) in map {
            if let Some(number) = self.extensions.filter(|_| name.starts_with("x-")) {
                Form::Yaml.write_named(out, number, name, value);
            } else if let Some((number, form)) = &self.others
                && !self.fields.iter().any(|(_, run)| run.iter().any(|(known, _)| known == name))
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
            (1, &[("text", Form::Text), ("flag", Form::Flag), ("count", Form::Integer)]),
            (4, &[("share", Form::Number), ("any", Form::Yaml), ("list", Form::Each(&Form::Text))]),
            (7, &[("inner", Form::Message(&MESSAGE)), ("choice", Form::Choice(CHOICE))]),
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
