//! The messages of `openapi.v2` that documents use.

use serde_json::Value;

use super::Form::{Choice, Each, Flag, Integer, Message as Of, Number, Text, Yaml};
use super::{Alternative, Message};

/// The numbers of a document's parts.
pub(in crate::openapi) mod document {
    pub(in crate::openapi) const SWAGGER: u16 = 1;
    pub(in crate::openapi) const INFO: u16 = 2;
    pub(in crate::openapi) const PATHS: u16 = 8;
    pub(in crate::openapi) const DEFINITIONS: u16 = 9;
}

pub(in crate::openapi) static INFO: Message = Message {
    fields: &[("title", 1, Text), ("version", 2, Text), ("description", 3, Text)],
    extensions: Some(7),
    others: None,
};

pub(in crate::openapi) static PATH_ITEM: Message = Message {
    fields: &[
        ("$ref", 1, Text),
        ("get", 2, Of(&OPERATION)),
        ("put", 3, Of(&OPERATION)),
        ("post", 4, Of(&OPERATION)),
        ("delete", 5, Of(&OPERATION)),
        ("options", 6, Of(&OPERATION)),
        ("head", 7, Of(&OPERATION)),
        ("patch", 8, Of(&OPERATION)),
        ("parameters", 9, Each(&Choice(&PARAMETER_OR_REFERENCE))),
    ],
    extensions: Some(10),
    others: None,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Each(&Text)),
        ("summary", 2, Text),
        ("description", 3, Text),
        ("externalDocs", 4, Of(&EXTERNAL_DOCS)),
        ("operationId", 5, Text),
        ("produces", 6, Each(&Text)),
        ("consumes", 7, Each(&Text)),
        ("parameters", 8, Each(&Choice(&PARAMETER_OR_REFERENCE))),
        ("responses", 9, Of(&RESPONSES)),
        ("schemes", 10, Each(&Text)),
        ("deprecated", 11, Flag),
    ],
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
    fields: &[
        ("description", 1, Text),
        ("name", 2, Text),
        ("in", 3, Text),
        ("required", 4, Flag),
        ("schema", 5, Of(&SCHEMA)),
    ],
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
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 5, Text),
        ("format", 6, Text),
        ("items", 7, Of(&PRIMITIVE)),
        ("collectionFormat", 8, Text),
        ("default", 9, Yaml),
        ("maximum", 10, Number),
        ("exclusiveMaximum", 11, Flag),
        ("minimum", 12, Number),
        ("exclusiveMinimum", 13, Flag),
        ("maxLength", 14, Integer),
        ("minLength", 15, Integer),
        ("pattern", 16, Text),
        ("maxItems", 17, Integer),
        ("minItems", 18, Integer),
        ("uniqueItems", 19, Flag),
        ("enum", 20, Each(&Yaml)),
        ("multipleOf", 21, Number),
    ],
    extensions: Some(22),
    others: None,
};

static FORM_OR_QUERY: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("allowEmptyValue", 5, Flag),
        ("type", 6, Text),
        ("format", 7, Text),
        ("items", 8, Of(&PRIMITIVE)),
        ("collectionFormat", 9, Text),
        ("default", 10, Yaml),
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
        ("enum", 21, Each(&Yaml)),
        ("multipleOf", 22, Number),
    ],
    extensions: Some(23),
    others: None,
};

static PRIMITIVE: Message = Message {
    fields: &[
        ("type", 1, Text),
        ("format", 2, Text),
        ("items", 3, Of(&PRIMITIVE)),
        ("collectionFormat", 4, Text),
        ("default", 5, Yaml),
        ("maximum", 6, Number),
        ("exclusiveMaximum", 7, Flag),
        ("minimum", 8, Number),
        ("exclusiveMinimum", 9, Flag),
        ("maxLength", 10, Integer),
        ("minLength", 11, Integer),
        ("pattern", 12, Text),
        ("maxItems", 13, Integer),
        ("minItems", 14, Integer),
        ("uniqueItems", 15, Flag),
        ("enum", 16, Each(&Yaml)),
        ("multipleOf", 17, Number),
    ],
    extensions: Some(18),
    others: None,
};

static RESPONSES: Message =
    Message { fields: &[], extensions: Some(2), others: Some((1, Choice(&RESPONSE_OR_REFERENCE))) };

static RESPONSE_OR_REFERENCE: [Alternative; 2] = [
    Alternative { fits: is_reference, number: 2, form: Of(&REFERENCE) },
    Alternative { fits: Value::is_object, number: 1, form: Of(&RESPONSE) },
];

static RESPONSE: Message = Message {
    fields: &[
        ("description", 1, Text),
        ("schema", 2, Choice(&[Alternative { fits: Value::is_object, number: 1, form: Of(&SCHEMA) }])),
    ],
    extensions: Some(5),
    others: None,
};

static EXTERNAL_DOCS: Message =
    Message { fields: &[("description", 1, Text), ("url", 2, Text)], extensions: Some(3), others: None };

static REFERENCE: Message =
    Message { fields: &[("$ref", 1, Text), ("description", 2, Text)], extensions: None, others: None };

pub(in crate::openapi) static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Text),
        ("format", 2, Text),
        ("title", 3, Text),
        ("description", 4, Text),
        ("default", 5, Yaml),
        ("multipleOf", 6, Number),
        ("maximum", 7, Number),
        ("exclusiveMaximum", 8, Flag),
        ("minimum", 9, Number),
        ("exclusiveMinimum", 10, Flag),
        ("maxLength", 11, Integer),
        ("minLength", 12, Integer),
        ("pattern", 13, Text),
        ("maxItems", 14, Integer),
        ("minItems", 15, Integer),
        ("uniqueItems", 16, Flag),
        ("maxProperties", 17, Integer),
        ("minProperties", 18, Integer),
        ("required", 19, Each(&Text)),
        ("enum", 20, Each(&Yaml)),
        ("additionalProperties", 21, Choice(&ADDITIONAL_PROPERTIES)),
        ("type", 22, Choice(&TYPES)),
        ("items", 23, Choice(&ITEMS)),
        ("allOf", 24, Each(&Of(&SCHEMA))),
        ("properties", 25, Of(&PROPERTIES)),
        ("discriminator", 26, Text),
        ("readOnly", 27, Flag),
        ("externalDocs", 29, Of(&EXTERNAL_DOCS)),
        ("example", 30, Yaml),
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

fn is_reference(value: &Value) -> bool {
    value.get("$ref").is_some_and(Value::is_string)
}
