//! What OpenAPI schemas of definitions may not have.

use std::sync::Arc;

use skiff_machinery::{FieldError, FieldErrors};

use super::lists;
use crate::model::{Additional, Structural, Type};
use crate::path::Path;

const META: [&str; 3] = ["metadata", "kind", "apiVersion"];
const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Where in the definition a schema is.
#[derive(Clone, Copy, Default)]
struct Place<'a> {
    is_root: bool,
    /// Why there may be no default here.
    no_defaults: Option<&'a str>,
    /// Whether TypeMeta or ObjectMeta of a resource is described.
    inside_meta: bool,
}

pub(super) fn check(schema: &Structural, path: &Path<'_>) -> FieldErrors {
    let mut errors = Vec::new();
    visit(schema, path, Place { is_root: true, ..Place::default() }, &mut errors);
    errors
}

fn visit(schema: &Structural, path: &Path<'_>, place: Place<'_>, errors: &mut FieldErrors) {
    check_standard(schema, path, place, errors);
    let inner = Place { is_root: false, ..place };
    if schema.checks().unique_items {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(path.child("uniqueItems"), detail));
    }
    check_additional(schema, path, inner, errors);
    for (name, field) in &schema.properties {
        let is_meta = META.contains(&name.as_str()) && (place.is_root || schema.embedded_resource);
        let reason = format!("in top-level {name}");
        let inner = Place {
            inside_meta: place.inside_meta || is_meta,
            no_defaults: if is_meta && place.is_root { Some(&reason) } else { place.no_defaults },
            is_root: false,
        };
        visit(field, &path.child("properties").key(name), inner, errors);
    }
    visit_nested(schema, path, inner, errors);
    if let Some(items) = &schema.items {
        visit(items, &path.child("items"), inner, errors);
    }
    let unsupported = schema.extras.as_deref().map(|extras| &extras.unsupported);
    if unsupported.is_some_and(|found| found.preserve_false) {
        let path = path.child("x-kubernetes-preserve-unknown-fields");
        errors.push(FieldError::invalid(path, false, "must be true or undefined"));
    }
    lists::check(schema, path, errors);
    check_rules(schema, path, errors);
}

fn check_additional(schema: &Structural, path: &Path<'_>, place: Place<'_>, errors: &mut FieldErrors) {
    let path = path.child("additionalProperties");
    let both = !schema.properties.is_empty() && !matches!(schema.additional, Additional::Allowed(true));
    if both && schema.additional.is_stated() {
        let detail = "additionalProperties and properties are mutual exclusive";
        errors.push(FieldError::forbidden(path, detail));
    }
    if let Some(schema) = schema.additional.schema() {
        let reason = place.inside_meta.then_some("inside additionalProperties applying to object metadata");
        visit(schema, &path, Place { no_defaults: reason.or(place.no_defaults), ..place }, errors);
    }
}

fn visit_nested(schema: &Structural, path: &Path<'_>, place: Place<'_>, errors: &mut FieldErrors) {
    let checks = schema.checks();
    if let Some(schema) = &checks.not {
        visit(schema, &path.child("not"), place, errors);
    }
    let list = |schemas: &[Arc<Structural>], name: &str, errors: &mut FieldErrors| {
        for (index, schema) in schemas.iter().enumerate() {
            visit(schema, &path.child(name).index(index), place, errors);
        }
    };
    list(&checks.all_of, "allOf", errors);
    list(&checks.one_of, "oneOf", errors);
    list(&checks.any_of, "anyOf", errors);
    let Some(extras) = &schema.extras else { return };
    for (name, schema) in &extras.unsupported.definitions {
        visit(schema, &path.child("definitions").key(name), place, errors);
    }
    list(&extras.unsupported.items, "items", errors);
    for (name, schema) in extras.unsupported.dependencies.iter().flatten() {
        if let Some(schema) = schema {
            visit(schema, &path.child("dependencies").key(name), place, errors);
        }
    }
}

fn check_standard(schema: &Structural, path: &Path<'_>, place: Place<'_>, errors: &mut FieldErrors) {
    if let Type::Other(name) = &schema.ty {
        errors.push(FieldError::not_supported(path.child("type"), name.as_str(), &TYPES));
    }
    if let Some(reason) = place.no_defaults.filter(|_| schema.default.is_some()) {
        errors.push(FieldError::forbidden(path.child("default"), format!("must not be set {reason}")));
    }
    if let Some(extras) = &schema.extras {
        let found = &extras.unsupported;
        for (found, name) in [
            (found.id, "id"),
            (found.additional_items, "additionalItems"),
            (found.pattern_properties, "patternProperties"),
            (!found.definitions.is_empty(), "definitions"),
            (found.dependencies.is_some(), "dependencies"),
            (found.reference.is_some(), "$ref"),
        ] {
            if found {
                errors.push(FieldError::forbidden(path.child(name), format!("{name} is not supported")));
            }
        }
    }
    if schema.ty.name() == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(path.child("type"), detail));
    }
    if schema.extras.as_ref().is_some_and(|extras| !extras.unsupported.items.is_empty()) {
        let detail = "items must be a schema object and not an array";
        errors.push(FieldError::forbidden(path.child("items"), detail));
    }
    if place.inside_meta && schema.embedded_resource {
        let path = path.child("x-kubernetes-embedded-resource");
        errors.push(FieldError::forbidden(path, "must not be used inside of resource meta"));
    }
}

fn has_line_breaks(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

/// Checks the texts of `x-kubernetes-validations`; their expressions are checked apart.
fn check_rules(schema: &Structural, path: &Path<'_>, errors: &mut FieldErrors) {
    let path = path.child("x-kubernetes-validations");
    for (index, rule) in schema.rules.iter().enumerate() {
        let path = path.index(index);
        let (text, message) = (rule.rule.trim(), rule.message.trim());
        let of_message = |detail| FieldError::invalid(path.child("message"), rule.message.as_str(), detail);
        if text.is_empty() {
            errors.push(FieldError::required(path.child("rule"), "rule is not specified"));
        } else if !rule.message.is_empty() && message.is_empty() {
            errors.push(of_message("must be non-empty if specified"));
        } else if has_line_breaks(message) {
            errors.push(of_message("must not contain line breaks"));
        } else if has_line_breaks(text) && message.is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(path.child("message"), detail));
        }
        if !rule.message_expression.is_empty() && rule.message_expression.trim().is_empty() {
            let detail = "messageExpression must be non-empty if specified";
            errors.push(FieldError::required(path.child("messageExpression"), detail));
        }
        if let Some(reason) = rule.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
            errors.push(FieldError::not_supported(path.child("reason"), reason, &REASONS));
        }
        if rule.field_path.is_empty() {
            continue;
        }
        let of_path = |detail| FieldError::invalid(path.child("fieldPath"), rule.field_path.as_str(), detail);
        if rule.field_path.trim().is_empty() {
            errors.push(of_path("must be non-empty if specified"));
        }
        if has_line_breaks(&rule.field_path) {
            errors.push(of_path("must not contain line breaks"));
        }
        if crate::fieldpath::resolve(&rule.field_path, schema, crate::fieldpath::Notation::Brackets).is_err()
        {
            errors.push(of_path("must be a valid path"));
        }
    }
}
