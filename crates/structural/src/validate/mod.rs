//! Whether a value is what its schema says.
//!
//! The order of the checks, which of their findings are told and how, is that of `k8s.io/kube-openapi`: all checks of a
//! schema are made, and of alternatives (`anyOf`, `oneOf`) the one is told of that came furthest.

mod correlate;
mod junctors;
mod number;
mod outcome;
mod types;

use serde_json::Value;
use skiff_machinery::FieldErrors;

use crate::formats::Format;
use crate::model::{Additional, Checks, Structural};
use crate::path::Path;
pub(crate) use correlate::{Correlated, same_key};
use outcome::{Failure, Outcome, Wrong};

/// Checks a value, e.g. a whole object, against its schema.
///
/// Paths of fields start at the value. What is checked elsewhere: `metadata` and embedded resources
/// ([`crate::check_metadata`]), sets and maps ([`crate::check_lists`]), `x-kubernetes-validations`.
pub fn validate(value: &Value, schema: &Structural) -> FieldErrors {
    let outcome = Validator { reading: Reading::Resource }.run(schema, value, &Path::Root(""), None);
    outcome.into_errors(None)
}

/// As [`validate`], for a value that replaces another: what is wrong with an unchanged part is let pass (KEP-4008).
pub fn validate_update(new: &Value, old: &Value, schema: &Structural) -> FieldErrors {
    let correlated = Correlated { new, old, schema };
    let validator = Validator { reading: Reading::Resource };
    validator.run(schema, new, &Path::Root(""), Some(correlated)).into_errors(None)
}

/// As [`validate_update`], for a part of an object that stands at `path`.
pub(crate) fn validate_part_update(
    path: &Path<'_>,
    new: &Value,
    old: &Value,
    schema: &Structural,
) -> FieldErrors {
    let correlated = Correlated { new, old, schema };
    let validator = Validator { reading: Reading::Resource };
    validator.run(schema, new, &Path::Root(""), Some(correlated)).into_errors(Some(path))
}

/// Checks a default that stands at `path`.
pub(crate) fn validate_default(path: &Path<'_>, value: &Value, schema: &Structural) -> FieldErrors {
    let outcome = Validator { reading: Reading::Default }.run(schema, value, &Path::Root(""), None);
    outcome.into_errors(Some(path))
}

/// How a schema is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// As for custom resources.
    Resource,
    /// As for defaults: a value for which `x-kubernetes-int-or-string` is set has any type.
    Default,
}

struct Validator {
    reading: Reading,
}

impl Validator {
    /// All findings about one value.
    fn run(
        &self,
        schema: &Structural,
        value: &Value,
        path: &Path<'_>,
        correlated: Option<Correlated<'_>>,
    ) -> Outcome {
        let outcome = self.all_checks(schema, value, path, correlated);
        match correlated {
            // An unchanged value is let pass, whatever is wrong with it.
            Some(correlated) if !outcome.is_valid() && correlated.is_unchanged() => outcome.forgiven(),
            _ => outcome,
        }
    }

    fn all_checks(
        &self,
        schema: &Structural,
        value: &Value,
        path: &Path<'_>,
        correlated: Option<Correlated<'_>>,
    ) -> Outcome {
        let checks = schema.checks();
        let mut all = Outcome::default();
        if value.is_null() {
            all.merge(self.check_type(schema, value, path));
            all.merge(check_enum(checks, value, path));
            return all;
        }
        if !self.types(schema).is_empty() || self.format(schema).is_some() {
            all.merge(self.check_type(schema, value, path));
            all.matched();
        }
        all.merge(self.junctors(schema, value, path));
        all.matched();
        match value {
            Value::String(text) => {
                all.merge(check_text(checks, text, path));
                all.matched();
                if let Some(format) = Format::named(&checks.format).filter(|_| self.format(schema).is_some())
                {
                    all.merge(check_format(format, checks, text, path));
                    all.matched();
                }
            }
            Value::Number(_) => {
                all.merge(self.check_number(schema, value, path));
                all.matched();
            }
            Value::Array(items) => {
                all.merge(self.check_items(schema, items, path, correlated));
                all.matched();
            }
            _ => {}
        }
        all.merge(check_enum(checks, value, path));
        all.matched();
        if let Value::Object(fields) = value {
            all.merge(self.check_fields(schema, fields, path, correlated));
            all.matched();
        }
        all.matched();
        all
    }

    fn check_items(
        &self,
        schema: &Structural,
        items: &[Value],
        path: &Path<'_>,
        correlated: Option<Correlated<'_>>,
    ) -> Outcome {
        let checks = schema.checks();
        let mut all = Outcome::default();
        if let Some(of_items) = &schema.items {
            for (index, item) in items.iter().enumerate() {
                let correlated = correlated.and_then(|correlated| correlated.index(index));
                all.merge(self.run(of_items, item, &path.index(index), correlated));
            }
        }
        let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
        if let Some(least) = checks.min_items.filter(|least| count < *least) {
            all.fail(Failure::invalid(path, count, |p| format!("{p} should have at least {least} items")));
        }
        if let Some(most) = checks.max_items.filter(|most| count > *most) {
            all.fail(Failure::new(path, Wrong::TooMany { actual: count, most }, |p| {
                format!("{p} should have at most {most} items")
            }));
        }
        if checks.unique_items && (1..items.len()).any(|at| items[..at].contains(&items[at])) {
            all.fail(Failure::invalid(path, "", |p| format!("{p} shouldn't contain duplicates")));
        }
        all.matched();
        all
    }

    fn check_fields(
        &self,
        schema: &Structural,
        fields: &serde_json::Map<String, Value>,
        path: &Path<'_>,
        correlated: Option<Correlated<'_>>,
    ) -> Outcome {
        let checks = schema.checks();
        let mut all = Outcome::default();
        let count = i64::try_from(fields.len()).unwrap_or(i64::MAX);
        if let Some(least) = checks.min_properties.filter(|least| count < *least) {
            all.fail(Failure::invalid(path, count, |p| {
                format!("{p} should have at least {least} properties")
            }));
        }
        if let Some(most) = checks.max_properties.filter(|most| count > *most) {
            all.fail(Failure::new(path, Wrong::TooMany { actual: count, most }, |p| {
                format!("{p} should have at most {most} properties")
            }));
        }
        for (name, value) in fields {
            if schema.properties.contains_key(name) {
                continue;
            }
            match &schema.additional {
                Additional::Allowed(false) => all.fail(Failure::invalid(path, name.as_str(), |p| {
                    p.replacen(" in body", &format!(".{name} in body"), 1) + " is a forbidden property"
                })),
                Additional::Schema(of_values) => {
                    let correlated = correlated.and_then(|correlated| correlated.key(name));
                    all.merge(self.run(of_values, value, &path.child(name), correlated));
                }
                _ => {}
            }
        }
        for (name, schema) in &schema.properties {
            let Some(value) = fields.get(name) else { continue };
            let is_type = path.is_empty() && matches!(name.as_str(), "apiVersion" | "kind");
            let correlated = correlated.filter(|_| !is_type).and_then(|correlated| correlated.key(name));
            all.merge(self.run(schema, value, &path.child(name), correlated));
        }
        for name in checks.required.iter().filter(|name| !fields.contains_key(*name)) {
            all.fail(Failure::new(&path.child(name), Wrong::Required, |p| format!("{p} is required")));
        }
        all
    }
}

fn check_text(checks: &Checks, text: &str, path: &Path<'_>) -> Outcome {
    let length = || i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(most) = checks.max_length.filter(|most| length() > *most) {
        return Outcome::of(Failure::new(path, Wrong::TooLong { most }, |p| {
            format!("{p} should be at most {most} chars long")
        }));
    }
    if let Some(least) = checks.min_length.filter(|least| length() < *least) {
        return Outcome::of(Failure::invalid(path, text, |p| {
            format!("{p} should be at least {least} chars long")
        }));
    }
    let Some(pattern) = &checks.pattern else { return Outcome::default() };
    let source = pattern.source();
    match pattern.is_match(text) {
        Ok(true) => Outcome::default(),
        Ok(false) => Outcome::of(Failure::invalid(path, text, |p| format!("{p} should match '{source}'"))),
        Err(error) => Outcome::of(Failure::invalid(path, text, |p| {
            format!("{p} should match '{source}, but pattern is invalid: {error}'")
        })),
    }
}

fn check_format(format: Format, checks: &Checks, text: &str, path: &Path<'_>) -> Outcome {
    if format.fits(text) {
        return Outcome::default();
    }
    Outcome::of(Failure::wrong_type(path, &checks.format, text))
}

fn check_enum(checks: &Checks, value: &Value, path: &Path<'_>) -> Outcome {
    let allowed = &checks.allowed;
    if allowed.is_empty() || allowed.iter().any(|allowed| types::is_same(value, allowed)) {
        return Outcome::default();
    }
    let wrong = Wrong::NotAllowed { value: value.clone(), allowed: allowed.clone() };
    Outcome::of(Failure::new(path, wrong, |p| {
        format!("{p} should be one of {}", Value::from(allowed.clone()))
    }))
}
