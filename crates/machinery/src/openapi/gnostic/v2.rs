//! The messages of `openapi.v2` that documents use.

use serde_json::Value;

use super::Form::{Choice, Each, Flag, Integer, Message as Of, Number, Text, Yaml};
use super::{Alternative, EXTERNAL_DOCS, Field, LIMITS, Message, is_reference};

/// The numbers of a document's parts.
pub(in crate::openapi) mod document {
    pub(in crate::openapi) const SWAGGER: u16 = 1;
    pub(in crate::openapi) const INFO: u16 = 2;
    pub(in crate::openapi) const PATHS: u16 = 8;
    pub(in crate::openapi) const DEFINITIONS: u16 = 9;
}

pub(in crate::openapi) static INFO: Message = Message {
    fields: &[(1, &[("title", Text), ("version", Text), ("description", Text)])],
    extensions: Some(7),
    others: None,
};

pub(in crate::openapi) static PATH_ITEM: Message = Message {
    fields: &[(
        1,
        &[
            ("$ref", Text),
            ("get", Of(&OPERATION)),
            ("put", Of(&OPERATION)),
            ("post", Of(&OPERATION)),
            ("delete", Of(&OPERATION)),
            ("options", Of(&OPERATION)),
            ("head", Of(&OPERATION)),
            ("patch", Of(&OPERATION)),
            ("parameters", Each(&Choice(&PARAMETER_OR_REFERENCE))),
        ],
    )],
    extensions: Some(10),
    others: None,
};

static OPERATION: Message = Message {
    fields: &[(
        1,
        &[
            ("tags", Each(&Text)),
            ("summary", Text),
            ("description", Text),
            ("externalDocs", Of(&EXTERNAL_DOCS)),
            ("operationId", Text),
            ("produces", Each(&Text)),
            ("consumes", Each(&Text)),
            ("parameters", Each(&Choice(&PARAMETER_OR_REFERENCE))),
            ("responses", Of(&RESPONSES)),
            ("schemes", Each(&Text)),
            ("deprecated", Flag),
        ],
    )],
    extensions: Some(13),
    others: None,
};

static PARAMETER_OR_REFERENCE: [Alternative; 2] = [
    Alternative { fits: is_reference, number: 2, form: Of(&REFERENCE) },
    Alternative { fits: Value::is_object, number: 1, form: Choice(&PARAMETER) },
];

static PARAMETER: [Alternative; 2] = [
    Alternative { fits: |value| value["in"] == "body", number: 1, form: Of(&BODY) },
    Alternative { fits: Value::is_object, number: 2, form: Choice(&ELSEWHERE) },
];

static BODY: Message = Message {
    fields: &[(
        1,
        &[("description", Text), ("name", Text), ("in", Text), ("required", Flag), ("schema", Of(&SCHEMA))],
    )],
    extensions: Some(6),
    others: None,
};

/// Parameters that are not the body, by where they are.
static ELSEWHERE: [Alternative; 4] = [
    Alternative { fits: |value| value["in"] == "header", number: 1, form: Of(&HEADER_OR_PATH) },
    Alternative { fits: |value| value["in"] == "formData", number: 2, form: Of(&FORM_OR_QUERY) },
    Alternative { fits: |value| value["in"] == "query", number: 3, form: Of(&FORM_OR_QUERY) },
    Alternative { fits: |value| value["in"] == "path", number: 4, form: Of(&HEADER_OR_PATH) },
];

static HEADER_OR_PATH: Message = Message {
    fields: &[
        (1, &[("required", Flag), ("in", Text), ("description", Text), ("name", Text)]),
        (5, &PRIMITIVE_FIELDS),
    ],
    extensions: Some(22),
    others: None,
};

static FORM_OR_QUERY: Message = Message {
    fields: &[
        (
            1,
            &[
                ("required", Flag),
                ("in", Text),
                ("description", Text),
                ("name", Text),
                ("allowEmptyValue", Flag),
            ],
        ),
        (6, &PRIMITIVE_FIELDS),
    ],
    extensions: Some(23),
    others: None,
};

static PRIMITIVE: Message = Message { fields: &[(1, &PRIMITIVE_FIELDS)], extensions: Some(18), others: None };

/// What is said of a value that is no object, behind what else is said of a parameter.
static PRIMITIVE_FIELDS: [Field; 17] = [
    ("type", Text),
    ("format", Text),
    ("items", Of(&PRIMITIVE)),
    ("collectionFormat", Text),
    ("default", Yaml),
    ("maximum", Number),
    ("exclusiveMaximum", Flag),
    ("minimum", Number),
    ("exclusiveMinimum", Flag),
    ("maxLength", Integer),
    ("minLength", Integer),
    ("pattern", Text),
    ("maxItems", Integer),
    ("minItems", Integer),
    ("uniqueItems", Flag),
    ("enum", Each(&Yaml)),
    ("multipleOf", Number),
];

static RESPONSES: Message =
    Message { fields: &[], extensions: Some(2), others: Some((1, Choice(&RESPONSE_OR_REFERENCE))) };

static RESPONSE_OR_REFERENCE: [Alternative; 2] = [
    Alternative { fits: is_reference, number: 2, form: Of(&REFERENCE) },
    Alternative { fits: Value::is_object, number: 1, form: Of(&RESPONSE) },
];

static RESPONSE: Message = Message {
    fields: &[(
        1,
        &[
            ("description", Text),
            ("schema", Choice(&[Alternative { fits: Value::is_object, number: 1, form: Of(&SCHEMA) }])),
        ],
    )],
    extensions: Some(5),
    others: None,
};

static REFERENCE: Message =
    Message { fields: &[(1, &[("$ref", Text), ("description", Text)])], extensions: None, others: None };

pub(in crate::openapi) static SCHEMA: Message = Message {
    fields: &[
        (1, &[("$ref", Text), ("format", Text), ("title", Text), ("description", Text), ("default", Yaml)]),
        (6, &LIMITS),
        (
            21,
            &[
                ("additionalProperties", Choice(&ADDITIONAL_PROPERTIES)),
                ("type", Choice(&TYPES)),
                ("items", Choice(&ITEMS)),
                ("allOf", Each(&Of(&SCHEMA))),
                ("properties", Of(&PROPERTIES)),
                ("discriminator", Text),
                ("readOnly", Flag),
            ],
        ),
        (29, &[("externalDocs", Of(&EXTERNAL_DOCS)), ("example", Yaml)]),
    ],
    extensions: Some(31),
    others: None,
};

static PROPERTIES: Message = Message { fields: &[], extensions: None, others: Some((1, Of(&SCHEMA))) };

static ADDITIONAL_PROPERTIES: [Alternative; 2] = [
    Alternative { fits: Value::is_object, number: 1, form: Of(&SCHEMA) },
    Alternative { fits: Value::is_boolean, number: 2, form: Flag },
];

static TYPES: [Alternative; 2] = [
    Alternative { fits: Value::is_string, number: 1, form: Text },
    Alternative { fits: Value::is_array, number: 1, form: Each(&Text) },
];

static ITEMS: [Alternative; 2] = [
    Alternative { fits: Value::is_object, number: 1, form: Of(&SCHEMA) },
    Alternative { fits: Value::is_array, number: 1, form: Each(&Of(&SCHEMA)) },
];
