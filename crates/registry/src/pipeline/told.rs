//! What bodies say of themselves, and what is told of those that say nothing.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use skiff_machinery::{Object, go};

use crate::errors::ApiError;

/// Why a body is no object at all: what cannot be told by the kind that it says it has.
pub(super) type Unrecognized = String;

/// What a body says that it is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Told {
    #[serde(deserialize_with = "text_or_null")]
    pub(super) kind: String,
    #[serde(deserialize_with = "text_or_null")]
    pub(super) api_version: String,
}

/// Go's decoder leaves a text as it is where it finds null.
fn text_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Told {
    pub(super) fn is_of_group(&self, group: &str) -> bool {
        self.api_version.split_once('/').is_some_and(|(given, _)| given == group)
    }

    pub(super) fn of(object: &Object) -> Self {
        Self { kind: object.kind().to_owned(), api_version: object.api_version().to_owned() }
    }

    /// What a JSON text says, or why it says nothing.
    pub(super) fn read(text: &[u8]) -> Result<Self, Unrecognized> {
        const STRUCT: &str = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
        // The decoder would take a list for the fields in their order.
        let is_list = text.trim_ascii_start().starts_with(b"[");
        let told: Option<Self> = match serde_json::from_slice(text).ok().filter(|_| !is_list) {
            Some(told) => told,
            None => {
                let parsed: Result<Value, _> = serde_json::from_slice(text);
                let why = match (go::syntax_error(text), parsed) {
                    (Some(why), _) => why,
                    (None, Ok(Value::Object(map))) => {
                        let wrong = |field: &&str| {
                            map.get(*field).is_some_and(|value| !value.is_string() && !value.is_null())
                        };
                        let Some(field) = ["kind", "apiVersion"].into_iter().find(wrong) else {
                            // It says so twice; the last one counts.
                            return Ok(Self::of(&map.into()));
                        };
                        let found = go::json_type(map.get(field).unwrap_or(&Value::Null));
                        format!("json: cannot unmarshal {found} into Go struct field .{field} of type string")
                    }
                    (None, Ok(other)) => {
                        let found = go::json_type(&other);
                        format!("json: cannot unmarshal {found} into Go value of type {STRUCT}")
                    }
                    (None, Err(error)) => error.to_string(),
                };
                return Err(format!("couldn't get version/kind; json parse error: {why}"));
            }
        };
        let told = told.unwrap_or_default();
        match told.api_version.matches('/').count() {
            0 | 1 => Ok(told),
            _ => Err(format!("unexpected GroupVersion string: {}", told.api_version)),
        }
    }
}

/// Refuses a body that is no object at all, and shows how it begins.
pub(super) fn unrecognized(kind: &str, why: &str, body: &[u8]) -> ApiError {
    const SHOWN: usize = 30;
    let (start, more) = body
        .split_at_checked(SHOWN)
        .map_or((body, ""), |(start, rest)| (start, if rest.is_empty() { "" } else { " ..." }));
    let start = match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(start).into_owned(),
        Some(_) => start.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    ApiError::BadRequest(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({start}{more})"
    ))
}

pub(super) fn not_registered(kind: &str, version: &str) -> String {
    format!("no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\"")
}
