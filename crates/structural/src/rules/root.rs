//! What is allowed where a whole object is described.

use skiff_machinery::{FieldError, FieldErrors};

use super::Definition;
use crate::model::{Structural, Type};
use crate::path::Path;

/// What the root may have if the subresource `status` is served by `properties.status` alone.
const ALLOWED: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations]";

pub(super) fn check(schema: &Structural, path: &Path<'_>, definition: Definition) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if definition.has_status {
        let refused = || {
            let detail = format!(
                "only {ALLOWED} fields are allowed at the root of the schema if the status subresource is enabled"
            );
            FieldError::invalid(path, crate::openapi::document(schema), detail)
        };
        if has_refused_before_type(schema) {
            errors.push(refused());
        } else if !matches!(schema.ty, Type::Any | Type::Object) {
            let detail = r#"only "object" is allowed as the type at the root of the schema if the status subresource is enabled"#;
            errors.push(FieldError::invalid(path.child("type"), schema.ty.name(), detail));
        } else if has_refused_after_type(schema) {
            errors.push(refused());
        }
    }
    if schema.nullable {
        errors.push(FieldError::forbidden(path.child("nullable"), "nullable cannot be true at the root"));
    }
    errors
}

fn has_refused_before_type(schema: &Structural) -> bool {
    let unsupported = schema.extras.as_deref().map(|extras| &extras.unsupported);
    unsupported.is_some_and(|found| found.id || found.schema || found.reference.is_some())
}

fn has_refused_after_type(schema: &Structural) -> bool {
    let checks = schema.checks();
    let unsupported = schema.extras.as_deref().map(|extras| &extras.unsupported);
    schema.nullable
        || schema.default.is_some()
        || !checks.allowed.is_empty()
        || checks.max_properties.is_some()
        || checks.min_properties.is_some()
        || !(checks.all_of.is_empty() && checks.one_of.is_empty() && checks.any_of.is_empty())
        || checks.not.is_some()
        || schema.additional.is_stated()
        || schema.embedded_resource
        || schema.int_or_string
        || !schema.list_map_keys.is_empty()
        || schema.list_type.is_some()
        || schema.map_type.is_some()
        || unsupported.is_some_and(|found| {
            found.pattern_properties
                || found.dependencies.is_some()
                || found.additional_items
                || !found.definitions.is_empty()
        })
}
