//! The messages of `openapi.v3` that documents use.

use serde_json::Value;

use super::Form::{Choice, Each, Flag, Integer, Message as Of, Number, Text, Yaml};
use super::{Alternative, Message};

/// The numbers of a document's parts.
pub(in crate::openapi) mod document {
    pub(in crate::openapi) const OPENAPI: u16 = 1;
    pub(in crate::openapi) const INFO: u16 = 2;
    pub(in crate::openapi) const PATHS: u16 = 4;
    pub(in crate::openapi) const COMPONENTS: u16 = 5;
    /// Of the components.
    pub(in crate::openapi) const SCHEMAS: u16 = 1;
    /// Of the components.
    pub(in crate::openapi) const SECURITY_SCHEMES: u16 = 7;
}

pub(in crate::openapi) static INFO: Message = Message {
    fields: &[("title", 1, Text), ("description", 2, Text), ("version", 6, Text)],
    extensions: Some(7),
    others: None,
};

pub(in crate::openapi) static PATH_ITEM: Message = Message {
    fields: &[
        ("$ref", 1, Text),
        ("summary", 2, Text),
        ("description", 3, Text),
        ("get", 4, Of(&OPERATION)),
        ("put", 5, Of(&OPERATION)),
        ("post", 6, Of(&OPERATION)),
        ("delete", 7, Of(&OPERATION)),
        ("options", 8, Of(&OPERATION)),
        ("head", 9, Of(&OPERATION)),
        ("patch", 10, Of(&OPERATION)),
        ("trace", 11, Of(&OPERATION)),
        ("parameters", 13, Each(&Choice(&PARAMETER_OR_REFERENCE))),
    ],
    extensions: Some(14),
    others: None,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Each(&Text)),
        ("summary", 2, Text),
        ("description", 3, Text),
        ("externalDocs", 4, Of(&EXTERNAL_DOCS)),
        ("operationId", 5, Text),
        ("parameters", 6, Each(&Choice(&PARAMETER_OR_REFERENCE))),
        ("requestBody", 7, Choice(&BODY_OR_REFERENCE)),
        ("responses", 8, Of(&RESPONSES)),
        ("deprecated", 10, Flag),
    ],
    extensions: Some(13),
    others: None,
};

static PARAMETER: Message = Message {
    fields: &[
        ("name", 1, Text),
        ("in", 2, Text),
        ("description", 3, Text),
        ("required", 4, Flag),
        ("deprecated", 5, Flag),
        ("allowEmptyValue", 6, Flag),
        ("style", 7, Text),
        ("explode", 8, Flag),
        ("allowReserved", 9, Flag),
        ("schema", 10, Choice(&SCHEMA_OR_REFERENCE)),
        ("example", 11, Yaml),
        ("content", 13, Of(&MEDIA_TYPES)),
    ],
    extensions: Some(14),
    others: None,
};

static REQUEST_BODY: Message = Message {
    fields: &[("description", 1, Text), ("content", 2, Of(&MEDIA_TYPES)), ("required", 3, Flag)],
    extensions: Some(4),
    others: None,
};

static MEDIA_TYPES: Message = Message { fields: &[], extensions: None, others: Some((1, Of(&MEDIA_TYPE))) };

static MEDIA_TYPE: Message = Message {
    fields: &[("schema", 1, Choice(&SCHEMA_OR_REFERENCE)), ("example", 2, Yaml)],
    extensions: Some(5),
    others: None,
};

static RESPONSES: Message = Message {
    fields: &[("default", 1, Choice(&RESPONSE_OR_REFERENCE))],
    extensions: Some(3),
    others: Some((2, Choice(&RESPONSE_OR_REFERENCE))),
};

static RESPONSE: Message = Message {
    fields: &[("description", 1, Text), ("content", 3, Of(&MEDIA_TYPES))],
    extensions: Some(5),
    others: None,
};

pub(in crate::openapi) static SECURITY_SCHEMES: Message =
    Message { fields: &[], extensions: None, others: Some((1, Choice(&SECURITY_SCHEME_OR_REFERENCE))) };

static SECURITY_SCHEME: Message = Message {
    fields: &[
        ("type", 1, Text),
        ("description", 2, Text),
        ("name", 3, Text),
        ("in", 4, Text),
        ("scheme", 5, Text),
        ("bearerFormat", 6, Text),
        ("openIdConnectUrl", 8, Text),
    ],
    extensions: Some(9),
    others: None,
};

static EXTERNAL_DOCS: Message =
    Message { fields: &[("description", 1, Text), ("url", 2, Text)], extensions: Some(3), others: None };

static REFERENCE: Message = Message {
    fields: &[("$ref", 1, Text), ("summary", 2, Text), ("description", 3, Text)],
    extensions: None,
    others: None,
};

static SCHEMA: Message = Message {
    fields: &[
        ("nullable", 1, Flag),
        ("readOnly", 3, Flag),
        ("writeOnly", 4, Flag),
        ("externalDocs", 6, Of(&EXTERNAL_DOCS)),
        ("example", 7, Yaml),
        ("deprecated", 8, Flag),
        ("title", 9, Text),
        ("multipleOf", 10, Number),
        ("maximum", 11, Number),
        ("exclusiveMaximum", 12, Flag),
        ("minimum", 13, Number),
        ("exclusiveMinimum", 14, Flag),
        ("maxLength", 15, Integer),
        ("minLength", 16, Integer),
        ("pattern", 17, Text),
        ("maxItems", 18, Integer),
        ("minItems", 19, Integer),
        ("uniqueItems", 20, Flag),
        ("maxProperties", 21, Integer),
        ("minProperties", 22, Integer),
        ("required", 23, Each(&Text)),
        ("enum", 24, Each(&Yaml)),
        ("type", 25, Text),
        ("allOf", 26, Each(&Choice(&SCHEMA_OR_REFERENCE))),
        ("oneOf", 27, Each(&Choice(&SCHEMA_OR_REFERENCE))),
        ("anyOf", 28, Each(&Choice(&SCHEMA_OR_REFERENCE))),
        ("not", 29, Of(&SCHEMA)),
        ("items", 30, Choice(&[Alternative { fits: always, number: 1, form: Choice(&SCHEMA_OR_REFERENCE) }])),
        ("properties", 31, Of(&PROPERTIES)),
        ("additionalProperties", 32, Choice(&ADDITIONAL_PROPERTIES)),
        ("default", 33, Choice(&DEFAULT)),
        ("description", 34, Text),
        ("format", 35, Text),
    ],
    extensions: Some(36),
    others: None,
};

static PROPERTIES: Message =
    Message { fields: &[], extensions: None, others: Some((1, Choice(&SCHEMA_OR_REFERENCE))) };

pub(in crate::openapi) static SCHEMA_OR_REFERENCE: [Alternative; 2] = or_reference(Of(&SCHEMA));
static PARAMETER_OR_REFERENCE: [Alternative; 2] = or_reference(Of(&PARAMETER));
static BODY_OR_REFERENCE: [Alternative; 2] = or_reference(Of(&REQUEST_BODY));
static RESPONSE_OR_REFERENCE: [Alternative; 2] = or_reference(Of(&RESPONSE));
static SECURITY_SCHEME_OR_REFERENCE: [Alternative; 2] = or_reference(Of(&SECURITY_SCHEME));

static ADDITIONAL_PROPERTIES: [Alternative; 2] = [
    Alternative { fits: Value::is_object, number: 1, form: Choice(&SCHEMA_OR_REFERENCE) },
    Alternative { fits: Value::is_boolean, number: 2, form: Flag },
];

/// Only what is no list or object has a place.
static DEFAULT: [Alternative; 3] = [
    Alternative { fits: Value::is_number, number: 1, form: Number },
    Alternative { fits: Value::is_boolean, number: 2, form: Flag },
    Alternative { fits: Value::is_string, number: 3, form: Text },
];

const fn or_reference(form: super::Form) -> [Alternative; 2] {
    [
        Alternative { fits: is_reference, number: 2, form: Of(&REFERENCE) },
        Alternative { fits: always, number: 1, form },
    ]
}

fn is_reference(value: &Value) -> bool {
    value.get("$ref").is_some_and(Value::is_string)
}

fn always(_: &Value) -> bool {
    true
}
