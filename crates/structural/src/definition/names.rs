//! `spec.names` and `status.acceptedNames`.

use serde_json::Value;
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors};

use super::spec::text;
use crate::path::Path;

/// Checks the form of the names that are given.
pub(super) fn check(names: &Value, path: &Path<'_>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let problems = |name: &str| Form::Rfc1035Label.problems(name).join(",");
    for field in ["plural", "singular"] {
        let name = text(names, field);
        if !name.is_empty() && !problems(name).is_empty() {
            errors.push(FieldError::invalid(path.child(field), name, problems(name)));
        }
    }
    let (kind, list_kind) = (text(names, "kind"), text(names, "listKind"));
    for (field, name) in [("kind", kind), ("listKind", list_kind)] {
        let problems = problems(&name.to_lowercase());
        if !name.is_empty() && !problems.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {problems}");
            errors.push(FieldError::invalid(path.child(field), name, detail));
        }
    }
    let each = |field: &str, errors: &mut FieldErrors| {
        let list = names.get(field).and_then(Value::as_array).into_iter().flatten();
        for (index, name) in list.filter_map(Value::as_str).enumerate() {
            if !problems(name).is_empty() {
                errors.push(FieldError::invalid(path.child(field).index(index), name, problems(name)));
            }
        }
    };
    each("shortNames", &mut errors);
    if !kind.is_empty() && kind == list_kind {
        let detail = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(path.child("listKind"), list_kind, detail));
    }
    each("categories", &mut errors);
    errors
}
