//! The data of Secrets and ConfigMaps: forms of keys, size, and objects that are sealed.

use serde_json::{Map, Value};

use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors, Object};

/// Most bytes that the values of one object may have.
pub(super) const MOST_BYTES: usize = 1024 * 1024;

/// The entries of a map-valued field.
pub(super) fn entries<'a>(object: &'a Object, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    object.get(&[field]).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// Checks the keys of a field.
pub(super) fn validate_keys(object: &Object, field: &str) -> FieldErrors {
    entries(object, field)
        .flat_map(|(key, _)| Form::ConfigKey.check(&format!("{field}[{key}]"), key))
        .collect()
}

/// The number of bytes that base64 text stands for.
pub(super) fn decoded_len(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

/// Checks that a sealed object stays as it is in these fields, and stays sealed.
pub(super) fn validate_sealed(new: &Object, old: &Object, fields: &[&str]) -> FieldErrors {
    const DETAIL: &str = "field is immutable when `immutable` is set";
    let sealed = |object: &Object| object.get(&["immutable"]) == Some(&Value::Bool(true));
    if !sealed(old) {
        return FieldErrors::new();
    }
    let mut errors = FieldErrors::new();
    if !sealed(new) {
        errors.push(FieldError::forbidden("immutable", DETAIL));
    }
    for field in fields {
        if !entries(new, field).eq(entries(old, field)) {
            errors.push(FieldError::forbidden(*field, DETAIL));
        }
    }
    errors
}
