//! Parts of objects as errors of Kubernetes show them: its own types in JSON, with every field, in their order.

use serde_json::{Value, json};
use skiff_machinery::cells::str_of;

/// An object of these fields.
pub(crate) fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, text)| format!("{name:?}:{text}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// A text; empty when it is absent.
pub(crate) fn text(value: &Value, field: &str) -> String {
    json!(str_of(value, field)).to_string()
}

/// A field as it is; null when it is absent.
pub(crate) fn plain(value: &Value, field: &str) -> String {
    value.get(field).unwrap_or(&Value::Null).to_string()
}

/// An object that may be missing.
pub(crate) fn optional(value: &Value, field: &str, show: impl Fn(&Value) -> String) -> String {
    value.get(field).filter(|value| value.is_object()).map_or_else(|| "null".to_owned(), show)
}

/// A list, or null.
pub(crate) fn list(value: &Value, field: &str, show: impl Fn(&Value) -> String) -> String {
    match value.get(field).and_then(Value::as_array) {
        None => "null".to_owned(),
        Some(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(",")),
    }
}
