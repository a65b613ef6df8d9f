//! Defaults are valid, and known to their own schema.

use serde_json::{Value, json};
use skiff_machinery::{FieldError, FieldErrors};

use crate::cel::RuleSet;
use crate::meta::{Malformed, ObjectMeta, check_metadata_at};
use crate::model::Structural;
use crate::path::Path;
use crate::prune::prune;
use crate::validate::validate_default;

/// A step from a resource to a value within it.
#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Item,
}

/// The resource that a schema belongs to, and the way to it.
struct Place<'a> {
    /// The schema of the resource.
    resource: &'a Structural,
    steps: Vec<Step<'a>>,
    /// Whether TypeMeta or ObjectMeta of the resource is described.
    inside_meta: bool,
}

pub(super) fn check(schema: &Structural, path: &Path<'_>, meta: &ObjectMeta) -> FieldErrors {
    let budget = Some(skiff_cel::limits::RUNTIME_BUDGET);
    let mut checker = Checker { meta, errors: FieldErrors::new(), budget };
    checker.visit(schema, path, &Place { resource: schema, steps: Vec::new(), inside_meta: false }, true);
    checker.errors
}

struct Checker<'m> {
    meta: &'m ObjectMeta,
    errors: FieldErrors,
    /// What the rules that are evaluated for all defaults may still cost; none: nothing, and no more is checked.
    budget: Option<u64>,
}

impl Checker<'_> {
    fn visit<'a>(&mut self, schema: &'a Structural, path: &Path<'_>, place: &Place<'a>, is_root: bool) {
        if self.budget.is_none() {
            return;
        }
        let own = schema.embedded_resource.then(|| Place {
            resource: schema,
            steps: Vec::new(),
            inside_meta: false,
        });
        let place = own.as_ref().unwrap_or(place);
        let is_resource = is_root || schema.embedded_resource;
        if let Some(default) = &schema.default {
            let path = path.child("default");
            if place.inside_meta {
                self.check_meta(schema, default, &path, place);
            } else {
                self.check_own(schema, default, &path, is_resource);
            }
        }
        let below = |step, inside_meta| Place {
            resource: place.resource,
            steps: place.steps.iter().copied().chain([step]).collect(),
            inside_meta,
        };
        if let Some(items) = &schema.items {
            self.visit(items, &path.child("items"), &below(Step::Item, place.inside_meta), false);
        }
        for (name, field) in &schema.properties {
            let is_meta = is_resource && matches!(name.as_str(), "metadata" | "apiVersion" | "kind");
            let inner = below(Step::Field(name), place.inside_meta || is_meta);
            self.visit(field, &path.child("properties").key(name), &inner, false);
        }
    }

    /// Checks a default of its own: it loses nothing when it is pruned, and is valid.
    fn check_own(&mut self, schema: &Structural, default: &Value, path: &Path<'_>, is_resource: bool) {
        let mut pruned = default.clone();
        prune(&mut pruned, schema, is_resource);
        if pruned != *default {
            self.errors.push(FieldError::invalid(path, default.clone(), "must not have unknown fields"));
        }
        let mut coerced = default.clone();
        let outcome = self.meta.coerce_at(path, &mut coerced, schema, is_resource, Malformed::Refuse);
        if let Err(error) = outcome {
            self.errors.push(error);
            return;
        }
        let errors = check_metadata_at(path, &coerced, schema, is_resource);
        if errors.is_empty() {
            self.check_value(schema, &coerced, path, is_resource);
        } else {
            self.errors.extend(errors);
        }
    }

    /// Checks a default against its schema and the rules of it.
    fn check_value(&mut self, schema: &Structural, default: &Value, path: &Path<'_>, is_resource: bool) {
        let errors = validate_default(path, default, schema);
        if !errors.is_empty() {
            self.errors.extend(errors);
        } else if let Some(rules) = RuleSet::of(schema, is_resource) {
            self.errors.extend(rules.validate_default(path, default, &mut self.budget));
        }
    }

    /// Checks a default within metadata as part of a resource that has nothing else.
    fn check_meta(&mut self, schema: &Structural, default: &Value, path: &Path<'_>, place: &Place<'_>) {
        let mut object = place.steps.iter().rev().fold(default.clone(), |value, step| match step {
            Step::Field(name) => json!({*name: value}),
            Step::Item => json!([value]),
        });
        if let Value::Object(fields) = &mut object {
            fields.entry("kind").or_insert_with(|| "Validation".into());
            fields.entry("apiVersion").or_insert_with(|| "validation/v1".into());
        }
        let refused = |error: String| {
            FieldError::invalid(path, default.clone(), format!("must result in valid metadata: {error}"))
        };
        let outcome =
            self.meta.coerce_at(&Path::Root(""), &mut object, place.resource, true, Malformed::Refuse);
        if let Err(error) = outcome {
            self.errors.push(refused(error.to_string()));
            return;
        }
        let errors = check_metadata_at(&Path::Root(""), &object, place.resource, true);
        if errors.is_empty() {
            self.check_value(schema, default, path, false);
        } else {
            self.errors.push(refused(aggregate(&errors)));
        }
    }
}

/// Several errors in one text: in brackets, each once.
fn aggregate(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [only] => only.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}
