//! The rules of structural schemas: types are told outside of `allOf`, `anyOf`, `oneOf` and `not`, and nothing else than
//! values is told within them.

use std::sync::Arc;

use skiff_machinery::{FieldError, FieldErrors};

use super::complete;
use crate::model::{Checks, Structural, Type};
use crate::path::Path;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// All findings, ordered by their text.
pub(super) fn check(schema: &Structural, path: &Path<'_>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    visit(schema, Level::Root, path, &mut errors);
    complete::check(schema, path, &mut errors);
    errors.sort_by_cached_key(ToString::to_string);
    errors
}

fn visit(schema: &Structural, level: Level, path: &Path<'_>, errors: &mut FieldErrors) {
    match &schema.items {
        Some(items) => visit(items, Level::Item, &path.child("items"), errors),
        None if schema.ty == Type::Array => {
            errors.push(FieldError::required(path.child("items"), "must be specified"));
        }
        None => {}
    }
    for (name, schema) in &schema.properties {
        visit(schema, Level::Field, &path.child("properties").key(name), errors);
    }
    if schema.additional.is_stated() && level == Level::Root {
        errors
            .push(FieldError::forbidden(path.child("additionalProperties"), "must not be used at the root"));
    }
    if let Some(schema) = schema.additional.schema() {
        visit(schema, Level::Field, &path.child("additionalProperties"), errors);
    }
    check_extensions(schema, path, errors);
    let checks = schema.checks();
    let any_of_is_type = Structural::is_int_or_string_pattern(&checks.any_of);
    let all_of_is_type = checks
        .all_of
        .first()
        .is_some_and(|first| Structural::is_int_or_string_pattern(&first.checks().any_of));
    check_values(checks, any_of_is_type, all_of_is_type, path, errors);
    check_type(schema, level, path, errors);
    check_meta(schema, level, path, errors);
}

fn check_extensions(schema: &Structural, path: &Path<'_>, errors: &mut FieldErrors) {
    let detail = "must be false if x-kubernetes-int-or-string is true";
    for (set, name) in [
        (schema.preserve_unknown_fields, "x-kubernetes-preserve-unknown-fields"),
        (schema.embedded_resource, "x-kubernetes-embedded-resource"),
    ] {
        if schema.int_or_string && set {
            errors.push(FieldError::invalid(path.child(name), true, detail));
        }
    }
}

fn check_type(schema: &Structural, level: Level, path: &Path<'_>, errors: &mut FieldErrors) {
    let ty = || path.child("type").to_string();
    if schema.embedded_resource && schema.ty != Type::Object {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(match &schema.ty {
            Type::Any => FieldError::required(ty(), detail),
            other => FieldError::invalid(ty(), other.name(), detail),
        });
    } else if schema.ty == Type::Any && !schema.int_or_string && !schema.preserve_unknown_fields {
        errors.push(FieldError::required(
            ty(),
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        ));
    }
    if schema.embedded_resource && schema.additional.is_stated() {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(path.child("additionalProperties"), detail));
    }
    if level == Level::Root && !matches!(schema.ty, Type::Any | Type::Object) {
        errors.push(FieldError::invalid(ty(), schema.ty.name(), "must be object at the root"));
    }
}

/// `apiVersion`, `kind` and `metadata` of whole objects are what they are.
fn check_meta(schema: &Structural, level: Level, path: &Path<'_>, errors: &mut FieldErrors) {
    let is_resource = level == Level::Root || schema.embedded_resource;
    let properties = path.child("properties");
    for name in ["kind", "apiVersion"].into_iter().filter(|_| is_resource) {
        if let Some(field) = schema.properties.get(name).filter(|field| field.ty != Type::String) {
            errors.push(FieldError::invalid(
                properties.key(name).child("type"),
                field.ty.name(),
                "must be string",
            ));
        }
    }
    if let Some(metadata) = schema.properties.get("metadata") {
        let path = properties.key("metadata");
        if is_resource && metadata.ty != Type::Object {
            errors.push(FieldError::invalid(path.child("type"), metadata.ty.name(), "must be object"));
        }
        if level == Level::Root && !restricts_names_only(metadata) {
            let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            errors.push(FieldError::forbidden(path, detail));
        }
    }
    if schema.embedded_resource && !schema.preserve_unknown_fields && schema.properties.is_empty() {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(properties, detail));
    }
}

fn restricts_names_only(metadata: &Structural) -> bool {
    let names = metadata.properties.keys().all(|name| matches!(name.as_str(), "name" | "generateName"));
    let rest =
        Structural { ty: Type::Any, default: None, properties: Default::default(), ..metadata.clone() };
    names && rest == Structural::default()
}

fn check_values(
    checks: &Checks,
    any_of_is_type: bool,
    all_of_is_type: bool,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let each = |schemas: &[Arc<Structural>], name: &str, errors: &mut FieldErrors| {
        for (index, schema) in schemas.iter().enumerate() {
            let first_of_all = all_of_is_type && name == "allOf" && index == 0;
            check_nested(schema, first_of_all, &path.child(name).index(index), errors);
        }
    };
    if !any_of_is_type {
        each(&checks.any_of, "anyOf", errors);
    }
    each(&checks.all_of, "allOf", errors);
    each(&checks.one_of, "oneOf", errors);
    if let Some(schema) = &checks.not {
        check_nested(schema, false, &path.child("not"), errors);
    }
    if let Some((pattern, error)) = checks.pattern.as_ref().and_then(|p| Some((p, p.problem()?))) {
        let detail = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(FieldError::invalid(path.child("pattern"), pattern.source(), detail));
    }
}

/// Checks what stands below `allOf`, `anyOf`, `oneOf` or `not`.
fn check_nested(schema: &Structural, any_of_is_type: bool, path: &Path<'_>, errors: &mut FieldErrors) {
    check_values(schema.checks(), any_of_is_type, false, path, errors);
    if let Some(items) = &schema.items {
        check_nested(items, false, &path.child("items"), errors);
    }
    for (name, schema) in &schema.properties {
        check_nested(schema, false, &path.child("properties").key(name), errors);
    }
    // `additionalProperties: false` says nothing of values, and is let pass.
    let additional = schema.additional.is_stated() && schema.additional != crate::Additional::Allowed(false);
    for (set, name, wanted) in [
        (schema.ty != Type::Any, "type", "empty"),
        (additional, "additionalProperties", "undefined"),
        (schema.default.is_some(), "default", "undefined"),
        (!schema.title.is_empty(), "title", "empty"),
        (!schema.description.is_empty(), "description", "empty"),
        (schema.nullable, "nullable", "false"),
        (schema.preserve_unknown_fields, "x-kubernetes-preserve-unknown-fields", "false"),
        (schema.embedded_resource, "x-kubernetes-embedded-resource", "false"),
        (schema.int_or_string, "x-kubernetes-int-or-string", "false"),
        (!schema.list_map_keys.is_empty(), "x-kubernetes-list-map-keys", "empty"),
        (schema.list_type.is_some(), "x-kubernetes-list-type", "undefined"),
        (schema.map_type.is_some(), "x-kubernetes-map-type", "undefined"),
        (!schema.rules.is_empty(), "x-kubernetes-validations", "empty"),
    ] {
        if set {
            errors
                .push(FieldError::forbidden(path.child(name), format!("must be {wanted} to be structural")));
        }
    }
    if schema.properties.contains_key("metadata") {
        let detail = "must not be specified in a nested context";
        errors.push(FieldError::forbidden(path.child("properties").key("metadata"), detail));
    }
}
