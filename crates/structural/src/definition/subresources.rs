//! `subresources`.

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors};

use super::spec::text;
use crate::path::Path;

pub(super) fn check(subresources: Option<&Value>, path: &Path<'_>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let Some(scale) = subresources.and_then(|all| all.get("scale")).filter(|scale| !scale.is_null()) else {
        return errors;
    };
    let scale_path = path.child("scale");
    for (field, start) in [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")] {
        let value = text(scale, field);
        let path = scale_path.child(field);
        if value.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if let Some(error) = simple_path(value, &path) {
            errors.push(error);
        } else if !value.starts_with(start) {
            let under = start.trim_end_matches('.');
            errors.push(FieldError::invalid(path, value, format!("should be a json path under {under}")));
        }
    }
    let selector = text(scale, "labelSelectorPath");
    let path = scale_path.child("labelSelectorPath");
    if !selector.is_empty() {
        if let Some(error) = simple_path(selector, &path) {
            errors.push(error);
        } else if !selector.starts_with(".spec.") && !selector.starts_with(".status.") {
            let detail = "should be a json path under either .spec or .status";
            errors.push(FieldError::invalid(path, selector, detail));
        }
    }
    errors
}

/// Checks that a path, which is not empty, starts with a dot.
pub(super) fn simple_path(value: &str, path: &Path<'_>) -> Option<FieldError> {
    (!value.starts_with('.'))
        .then(|| FieldError::invalid(path, value, "must be a simple json path starting with ."))
}
