//! `selectableFields`.

use std::collections::BTreeSet;

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors};

use super::MOST_SELECTABLE_FIELDS;
use super::spec::text;
use crate::fieldpath::{self, Notation, Step};
use crate::model::{Structural, Type};
use crate::path::Path;

/// Checks the selectable fields of a version; `old` are those before.
pub(super) fn check(fields: &[Value], old: &[Value], schema: &Value, path: &Path<'_>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    // A schema that cannot be read is told of elsewhere.
    let Ok(schema) = Structural::parse(schema) else { return errors };
    let mut seen = BTreeSet::new();
    for (index, field) in fields.iter().enumerate() {
        let path = path.index(index);
        let path = path.child("jsonPath");
        let value = text(field, "jsonPath");
        if value.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        let (steps, found) = match fieldpath::resolve(value, &schema, Notation::Dots) {
            Ok(resolved) => resolved,
            Err(error) => {
                errors.push(FieldError::invalid(path, value, format!("is an invalid path: {error}")));
                continue;
            }
        };
        if steps.first().map(Step::name) == Some("metadata") {
            errors.push(FieldError::invalid(path, value, "must not point to fields in metadata"));
        }
        if !found.is_some_and(|found| matches!(found.ty, Type::String | Type::Boolean | Type::Integer)) {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.push(FieldError::invalid(path, value, detail));
        }
        if !seen.insert(fieldpath::display(&steps)) {
            errors.push(FieldError::duplicate(path, value));
        }
    }
    let was_so = old.len() > MOST_SELECTABLE_FIELDS && old == fields;
    if seen.len() > MOST_SELECTABLE_FIELDS && !was_so {
        errors.push(FieldError::too_many(path, seen.len(), MOST_SELECTABLE_FIELDS));
    }
    errors
}
