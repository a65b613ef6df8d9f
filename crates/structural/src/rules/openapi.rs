//! What OpenAPI schemas of definitions may not have.

use std::sync::Arc;

use skiff_machinery::{FieldError, FieldErrors};

use super::expressions::Expressions;
use super::lists;
use crate::cel::Cardinality;
use crate::model::{Additional, ListType, MapType, Structural, Type};
use crate::path::Path;

const META: [&str; 3] = ["metadata", "kind", "apiVersion"];
const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Where in the definition a schema is.
#[derive(Clone, Copy)]
struct Place<'a> {
    is_root: bool,
    /// Why there may be no default here.
    no_defaults: Option<&'a str>,
    /// Whether TypeMeta or ObjectMeta of a resource is described.
    inside_meta: bool,
    /// How many values of the schema an object can have.
    cardinality: Cardinality,
    /// The outermost schema above whose items cannot be told to replace one another.
    uncorrelated: Option<&'a Path<'a>>,
}

/// All findings; the rules are given to `expressions` where their schemas have none.
pub(super) fn check<'s>(
    schema: &'s Structural,
    path: &Path<'_>,
    expressions: Option<&mut Expressions<'s>>,
) -> FieldErrors {
    let place = Place {
        is_root: true,
        no_defaults: None,
        inside_meta: false,
        cardinality: Cardinality::ONE,
        uncorrelated: None,
    };
    let mut checker = Checker { errors: FieldErrors::new(), expressions };
    checker.visit(schema, path, place);
    checker.errors
}

struct Checker<'s, 'e> {
    errors: FieldErrors,
    expressions: Option<&'e mut Expressions<'s>>,
}

impl<'s> Checker<'s, '_> {
    fn visit(&mut self, schema: &'s Structural, path: &Path<'_>, place: Place<'_>) {
        let before = self.errors.len();
        check_standard(schema, path, place, &mut self.errors);
        let inner = Place { is_root: false, cardinality: place.cardinality.below(schema), ..place };
        if schema.checks().unique_items {
            let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.errors.push(FieldError::forbidden(path.child("uniqueItems"), detail));
        }
        self.additional(schema, path, inner);
        self.fields(schema, path, place, inner);
        self.nested(schema, path, Place { is_root: false, ..place });
        if let Some(items) = &schema.items {
            let is_correlated = schema.list_type == Some(ListType::Map);
            let uncorrelated = inner.uncorrelated.or(if is_correlated { None } else { Some(path) });
            self.visit(items, &path.child("items"), Place { uncorrelated, ..inner });
        }
        let unsupported = schema.extras.as_deref().map(|extras| &extras.unsupported);
        if unsupported.is_some_and(|found| found.preserve_false) {
            let path = path.child("x-kubernetes-preserve-unknown-fields");
            self.errors.push(FieldError::invalid(path, false, "must be true or undefined"));
        }
        lists::check(schema, path, &mut self.errors);
        check_rules(schema, path, &mut self.errors);
        if self.errors.len() == before
            && let Some(expressions) = &mut self.expressions
        {
            expressions.check(schema, path, place.is_root, place.cardinality, place.uncorrelated);
        }
    }

    fn fields(&mut self, schema: &'s Structural, path: &Path<'_>, place: Place<'_>, inner: Place<'_>) {
        let properties = path.child("properties");
        let is_correlated = !matches!(schema.map_type, Some(MapType::Other(_)));
        let uncorrelated = inner.uncorrelated.or(if is_correlated { None } else { Some(path) });
        for (name, field) in &schema.properties {
            let is_meta = META.contains(&name.as_str()) && (place.is_root || schema.embedded_resource);
            let reason = format!("in top-level {name}");
            let inner = Place {
                inside_meta: place.inside_meta || is_meta,
                no_defaults: if is_meta && place.is_root { Some(&reason) } else { place.no_defaults },
                uncorrelated,
                ..inner
            };
            self.visit(field, &properties.key(name), inner);
        }
    }

    fn additional(&mut self, schema: &'s Structural, path: &Path<'_>, place: Place<'_>) {
        let path = path.child("additionalProperties");
        let both = !schema.properties.is_empty() && !matches!(schema.additional, Additional::Allowed(true));
        if both && schema.additional.is_stated() {
            let detail = "additionalProperties and properties are mutual exclusive";
            self.errors.push(FieldError::forbidden(path, detail));
        }
        if let Some(schema) = schema.additional.schema() {
            let reason =
                place.inside_meta.then_some("inside additionalProperties applying to object metadata");
            self.visit(schema, &path, Place { no_defaults: reason.or(place.no_defaults), ..place });
        }
    }

    /// Checks what is below `allOf` and the like; there are no expressions there.
    fn nested(&mut self, schema: &'s Structural, path: &Path<'_>, place: Place<'_>) {
        let mut checker = Checker { errors: FieldErrors::new(), expressions: None };
        let checks = schema.checks();
        if let Some(schema) = &checks.not {
            checker.visit(schema, &path.child("not"), place);
        }
        let mut list = |schemas: &'s [Arc<Structural>], name: &str| {
            for (index, schema) in schemas.iter().enumerate() {
                checker.visit(schema, &path.child(name).index(index), place);
            }
        };
        list(&checks.all_of, "allOf");
        list(&checks.one_of, "oneOf");
        list(&checks.any_of, "anyOf");
        if let Some(extras) = &schema.extras {
            list(&extras.unsupported.items, "items");
            for (name, schema) in &extras.unsupported.definitions {
                checker.visit(schema, &path.child("definitions").key(name), place);
            }
            for (name, schema) in extras.unsupported.dependencies.iter().flatten() {
                if let Some(schema) = schema {
                    checker.visit(schema, &path.child("dependencies").key(name), place);
                }
            }
        }
        self.errors.extend(checker.errors);
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
