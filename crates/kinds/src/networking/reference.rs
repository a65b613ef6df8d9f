//! References to objects of any kind.

use serde_json::Value;
use skiff_machinery::cells::str_of;
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors};

/// What is wrong with the reference at `path`.
pub(super) fn check(path: &str, reference: &Value) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = FieldErrors::new();
    if let Some(group) = reference.get("apiGroup").and_then(Value::as_str) {
        errors.extend(Form::Subdomain.check(&at("apiGroup"), group));
    }
    for field in ["kind", "name"] {
        match str_of(reference, field) {
            "" => errors.push(FieldError::required(at(field), "")),
            text => errors.extend(Form::PathSegment.check(&at(field), text)),
        }
    }
    errors
}
