//! The messages of `openapi.v3` that documents use.

use serde_json::Value;

use super::Form::{Choice, Each, Flag, Message as Of, Number, Text, Yaml};
use super::{Alternative, EXTERNAL_DOCS, LIMITS, Message, is_reference};

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
    fields: &[(1, &[("title", Text), ("description", Text)]), (6, &[("version", Text)])],
    extensions: Some(7),
    others: None,
};

pub(in crate::openapi) static PATH_ITEM: Message = Message {
    fields: &[
        (
            1,
            &[
                ("$ref", Text),
                ("summary", Text),
                ("description", Text),
                ("get", Of(&OPERATION)),
                ("put", Of(&OPERATION)),
                ("post", Of(&OPERATION)),
                ("delete", Of(&OPERATION)),
                ("options", Of(&OPERATION)),
                ("head", Of(&OPERATION)),
                ("patch", Of(&OPERATION)),
                ("trace", Of(&OPERATION)),
            ],
        ),
        (13, &[("parameters", Each(&Choice(&PARAMETER_OR_REFERENCE)))]),
    ],
    extensions: Some(14),
    others: None,
};

static OPERATION: Message = Message {
    fields: &[
        (
            1,
            &[
                ("tags", Each(&Text)),
                ("summary", Text),
                ("description", Text),
                ("externalDocs", Of(&EXTERNAL_DOCS)),
                ("operationId", Text),
                ("parameters", Each(&Choice(&PARAMETER_OR_REFERENCE))),
                ("requestBody", Choice(&BODY_OR_REFERENCE)),
                ("responses", Of(&RESPONSES)),
            ],
        ),
        (10, &[("deprecated", Flag)]),
    ],
    extensions: Some(13),
    others: None,
};

static PARAMETER: Message = Message {
    fields: &[
        (
            1,
            &[
                ("name", Text),
                ("in", Text),
                ("description", Text),
                ("required", Flag),
                ("deprecated", Flag),
                ("allowEmptyValue", Flag),
                ("style", Text),
                ("explode", Flag),
                ("allowReserved", Flag),
                ("schema", Choice(&SCHEMA_OR_REFERENCE)),
                ("example", Yaml),
            ],
        ),
        (13, &[("content", Of(&MEDIA_TYPES))]),
    ],
    extensions: Some(14),
    others: None,
};

static REQUEST_BODY: Message = Message {
    fields: &[(1, &[("description", Text), ("content", Of(&MEDIA_TYPES)), ("required", Flag)])],
    extensions: Some(4),
    others: None,
};

static MEDIA_TYPES: Message = Message { fields: &[], extensions: None, others: Some((1, Of(&MEDIA_TYPE))) };

static MEDIA_TYPE: Message = Message {
    fields: &[(1, &[("schema", Choice(&SCHEMA_OR_REFERENCE)), ("example", Yaml)])],
    extensions: Some(5),
    others: None,
};

static RESPONSES: Message = Message {
    fields: &[(1, &[("default", Choice(&RESPONSE_OR_REFERENCE))])],
    extensions: Some(3),
    others: Some((2, Choice(&RESPONSE_OR_REFERENCE))),
};

static RESPONSE: Message = Message {
    fields: &[(1, &[("description", Text)]), (3, &[("content", Of(&MEDIA_TYPES))])],
    extensions: Some(5),
    others: None,
};

pub(in crate::openapi) static SECURITY_SCHEMES: Message =
    Message { fields: &[], extensions: None, others: Some((1, Choice(&SECURITY_SCHEME_OR_REFERENCE))) };

static SECURITY_SCHEME: Message = Message {
    fields: &[
        (
            1,
            &[
                ("type", Text),
                ("description", Text),
                ("name", Text),
                ("in", Text),
                ("scheme", Text),
                ("bearerFormat", Text),
            ],
        ),
        (8, &[("openIdConnectUrl", Text)]),
    ],
    extensions: Some(9),
    others: None,
};

static REFERENCE: Message = Message {
    fields: &[(1, &[("$ref", Text), ("summary", Text), ("description", Text)])],
    extensions: None,
    others: None,
};

static SCHEMA: Message = Message {
    fields: &[
        (1, &[("nullable", Flag)]),
        (3, &[("readOnly", Flag), ("writeOnly", Flag)]),
        (
            6,
            &[("externalDocs", Of(&EXTERNAL_DOCS)), ("example", Yaml), ("deprecated", Flag), ("title", Text)],
        ),
        (10, &LIMITS),
        (
            25,
            &[
                ("type", Text),
                ("allOf", Each(&Choice(&SCHEMA_OR_REFERENCE))),
                ("oneOf", Each(&Choice(&SCHEMA_OR_REFERENCE))),
                ("anyOf", Each(&Choice(&SCHEMA_OR_REFERENCE))),
                ("not", Of(&SCHEMA)),
                (
                    "items",
                    Choice(&[Alternative { fits: always, number: 1, form: Choice(&SCHEMA_OR_REFERENCE) }]),
                ),
                ("properties", Of(&PROPERTIES)),
                ("additionalProperties", Choice(&ADDITIONAL_PROPERTIES)),
                ("default", Choice(&DEFAULT)),
                ("description", Text),
                ("format", Text),
            ],
        ),
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

fn always(_: &Value) -> bool {
    true
}
