//! `spec.versions`.

use std::sync::LazyLock;

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors};

use super::spec::{Context, Version};
use super::{columns, selectable, subresources};
use crate::model::Structural;
use crate::path::Path;
use crate::re2::Pattern;
use crate::rules;

/// What can be printed: letters, marks, numbers, punctuation, symbols and the space.
static PRINTABLE: LazyLock<Pattern> = LazyLock::new(|| Pattern::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$"));

pub(super) fn check(
    version: &Version<'_>,
    old: Option<&Version<'_>>,
    has_status: bool,
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    check_warning(version.value, path, errors);
    let schemas = (version.schema, old.and_then(|old| old.own_schema()));
    check_schema(schemas, has_status, context, &path.child("schema"), errors);
    errors.extend(subresources::check(version.subresources, &path.child("subresources")));
    for (index, column) in version.columns.iter().enumerate() {
        errors.extend(columns::check(column, &path.child("additionalPrinterColumns").index(index)));
    }
    if version.selectable.is_empty() {
        return;
    }
    let path = path.child("selectableFields");
    match version.schema {
        None => {
            // The API server says "not" where it means the opposite.
            let detail = "may only be set when `version.schema.openAPIV3Schema` is not included";
            errors.push(FieldError::invalid(path, "", detail));
        }
        Some(schema) => {
            let old = old.map(|old| old.selectable).unwrap_or_default();
            errors.extend(selectable::check(version.selectable, old, schema, &path));
        }
    }
}

/// Checks the schema of a version, or of all, and the one before; `path` is that of the field that holds it.
pub(super) fn check_schema(
    (schema, old): (Option<&Value>, Option<&Value>),
    has_status: bool,
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let Some(schema) = schema else { return };
    let is_unchanged = old == Some(schema);
    match Structural::parse(schema) {
        Ok(schema) => {
            let path = path.child("openAPIV3Schema").to_string();
            errors.extend(rules::check(
                &schema,
                &path,
                rules::Definition { has_status, is_unchanged },
                context.meta,
            ));
        }
        Err(error) => {
            errors.push(FieldError::invalid(path, "", format!("error building validator: {error}")));
        }
    }
}

fn check_warning(version: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(text) = version.get("deprecationWarning").and_then(Value::as_str) else { return };
    let mut refuse =
        |detail: String| errors.push(FieldError::invalid(path.child("deprecationWarning"), text, detail));
    if version["deprecated"] != true {
        refuse("can only be set for deprecated versions".to_owned());
        return;
    }
    if text.len() > 256 {
        refuse("must be <= 256 characters long".to_owned());
    }
    if text.is_empty() {
        refuse("must not be an empty string".to_owned());
    }
    let hidden = text
        .char_indices()
        .find(|(_, letter)| PRINTABLE.is_match(letter.encode_utf8(&mut [0; 4])) != Ok(true));
    if let Some((index, _)) = hidden {
        refuse(format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {index}"
        ));
    }
}
