//! Every field or item of which values are told in a nested place has a schema outside of it.

use skiff_machinery::{FieldError, FieldErrors};

use crate::model::{Checks, Structural};
use crate::path::Path;

pub(super) fn check(schema: &Structural, path: &Path<'_>, errors: &mut FieldErrors) {
    check_values(schema.checks(), schema, path, path, errors);
}

/// `outer` is the path of the schema, `inner` that of what is told of its values.
fn check_values(
    checks: &Checks,
    schema: &Structural,
    outer: &Path<'_>,
    inner: &Path<'_>,
    errors: &mut FieldErrors,
) {
    if let Some(not) = &checks.not {
        check_nested(not, Some(schema), outer, &inner.child("not"), errors);
    }
    for (nested, name) in [(&checks.all_of, "allOf"), (&checks.any_of, "anyOf"), (&checks.one_of, "oneOf")] {
        for (index, nested) in nested.iter().enumerate() {
            check_nested(nested, Some(schema), outer, &inner.child(name).index(index), errors);
        }
    }
}

fn check_nested(
    nested: &Structural,
    schema: Option<&Structural>,
    outer: &Path<'_>,
    inner: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let Some(schema) = schema else {
        errors.push(FieldError::required(outer, format!("because it is defined in {inner}")));
        return;
    };
    check_values(nested.checks(), schema, outer, inner, errors);
    if let Some(items) = &nested.items {
        check_nested(items, schema.items.as_deref(), &outer.child("items"), &inner.child("items"), errors);
    }
    let (outer, inner) = (outer.child("properties"), inner.child("properties"));
    for (name, nested) in &nested.properties {
        let schema = schema.properties.get(name).map(|schema| &**schema);
        check_nested(nested, schema, &outer.key(name), &inner.key(name), errors);
    }
}
