//! `additionalPrinterColumns`.

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors};

use super::spec::text;
use super::subresources::simple_path;
use crate::path::Path;

const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

pub(super) fn check(column: &Value, path: &Path<'_>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if text(column, "name").is_empty() {
        errors.push(FieldError::required(path.child("name"), ""));
    }
    let one_of = |words: &[&str]| format!("must be one of {}", words.join(","));
    match text(column, "type") {
        "" => errors.push(FieldError::required(path.child("type"), one_of(&TYPES))),
        ty if !TYPES.contains(&ty) => {
            errors.push(FieldError::invalid(path.child("type"), ty, one_of(&TYPES)));
        }
        _ => {}
    }
    let format = text(column, "format");
    if !format.is_empty() && !FORMATS.contains(&format) {
        errors.push(FieldError::invalid(path.child("format"), format, one_of(&FORMATS)));
    }
    let json_path = path.child("JSONPath");
    match text(column, "jsonPath") {
        "" => errors.push(FieldError::required(json_path, "")),
        value => errors.extend(simple_path(value, &json_path)),
    }
    errors
}
