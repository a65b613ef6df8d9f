//! Validation of metadata.

use serde_json::{Map, Value};
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrorKind, FieldErrors};

use crate::model::Structural;
use crate::path::Path;

/// Bytes of all annotations of an object together.
const MOST_ANNOTATIONS: usize = 256 << 10;

/// Checks `apiVersion`, `kind` and `metadata` of embedded resources, and of the value itself where `is_root`.
///
/// Metadata is expected in the form of ObjectMeta, see [`super::ObjectMeta::coerce`].
pub fn check_metadata(value: &Value, schema: &Structural, is_root: bool) -> FieldErrors {
    check_metadata_at(&Path::Root(""), value, schema, is_root)
}

pub(crate) fn check_metadata_at(
    path: &Path<'_>,
    value: &Value,
    schema: &Structural,
    is_root: bool,
) -> FieldErrors {
    let mut errors = FieldErrors::new();
    visit(path, value, schema, is_root || schema.embedded_resource, &mut errors);
    errors
}

fn visit(path: &Path<'_>, value: &Value, schema: &Structural, embedded: bool, errors: &mut FieldErrors) {
    match value {
        Value::Object(fields) => {
            if embedded {
                check_resource(path, fields, errors);
            }
            for (name, value) in fields {
                if let Some(schema) = schema.properties.get(name) {
                    visit(&path.child(name), value, schema, schema.embedded_resource, errors);
                } else if let Some(schema) = schema.additional.schema() {
                    visit(&path.key(name), value, schema, schema.embedded_resource, errors);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items.as_deref() else { return };
            for (index, item) in items.iter().enumerate() {
                visit(&path.index(index), item, schema, schema.embedded_resource, errors);
            }
        }
        _ => {}
    }
}

fn check_resource(path: &Path<'_>, fields: &Map<String, Value>, errors: &mut FieldErrors) {
    for (name, check) in [("apiVersion", api_version as fn(&str) -> Option<String>), ("kind", kind)] {
        let path = path.child(name);
        match fields.get(name) {
            None => errors.push(FieldError::required(path, "")),
            Some(Value::String(text)) => {
                let problem =
                    if text.is_empty() { Some("must not be empty".to_owned()) } else { check(text) };
                errors.extend(problem.map(|problem| FieldError::invalid(path, text.as_str(), problem)));
            }
            Some(other) => errors.push(FieldError::invalid(path, other.clone(), "must be a string")),
        }
    }
    if let Some(metadata) = fields.get("metadata") {
        check_object_meta(&path.child("metadata"), metadata, errors);
    }
}

fn api_version(text: &str) -> Option<String> {
    (text != "/" && text.matches('/').count() > 1).then(|| format!("unexpected GroupVersion string: {text}"))
}

fn kind(text: &str) -> Option<String> {
    let problems = Form::Rfc1035Label.problems(&text.to_lowercase());
    (!problems.is_empty())
        .then(|| format!("may have mixed case, but should otherwise match: {}", problems.join(",")))
}

fn check_object_meta(path: &Path<'_>, metadata: &Value, errors: &mut FieldErrors) {
    let text = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or_default();
    for name in ["generateName", "name"] {
        let value = text(name);
        let problems = Form::PathSegment.problems(value).into_iter();
        // A prefix may be `.`, since letters follow.
        let problems = problems.filter(|problem| name == "name" || !problem.starts_with("may not be"));
        errors.extend(problems.map(|problem| FieldError::invalid(path.child(name), value, problem)));
    }
    let namespace = text("namespace");
    if !namespace.is_empty() {
        errors.extend(Form::DnsLabel.check(&path.child("namespace").to_string(), namespace));
    }
    if let Some(generation) = metadata.get("generation").and_then(Value::as_i64).filter(|n| *n < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(path.child("generation"), generation, detail));
    }
    let members = |name: &str| metadata.get(name).and_then(Value::as_object).into_iter().flatten();
    let labels = path.child("labels").to_string();
    for (key, value) in members("labels") {
        errors.extend(Form::QualifiedName.check(&labels, key));
        errors.extend(Form::LabelValue.check(&labels, value.as_str().unwrap_or_default()));
    }
    check_annotations(&path.child("annotations"), members("annotations"), errors);
    let items = |name: &str| metadata.get(name).and_then(Value::as_array).into_iter().flatten();
    check_owners(&path.child("ownerReferences"), &items("ownerReferences").collect::<Vec<_>>(), errors);
    let finalizers = path.child("finalizers").to_string();
    for finalizer in items("finalizers") {
        errors.extend(Form::QualifiedName.check(&finalizers, finalizer.as_str().unwrap_or_default()));
    }
}

fn check_annotations<'a>(
    path: &Path<'_>,
    annotations: impl Iterator<Item = (&'a String, &'a Value)>,
    errors: &mut FieldErrors,
) {
    let mut size = 0;
    for (key, value) in annotations {
        let problems = Form::QualifiedName.problems(&key.to_lowercase());
        errors.extend(problems.into_iter().map(|problem| FieldError::invalid(path, key.as_str(), problem)));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MOST_ANNOTATIONS {
        let detail = format!("may not be more than {MOST_ANNOTATIONS} bytes");
        errors.push(FieldError::new(FieldErrorKind::TooLong, path, Value::Null, detail));
    }
}

fn check_owners(path: &Path<'_>, owners: &[&Value], errors: &mut FieldErrors) {
    let mut controller: Option<String> = None;
    for owner in owners {
        let text = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or_default();
        let api_version = text("apiVersion");
        let version = api_version.rsplit('/').next().unwrap_or_default();
        let fields = [
            ("apiVersion", version, "version must not be empty"),
            ("kind", text("kind"), "must not be empty"),
            ("name", text("name"), "must not be empty"),
            ("uid", text("uid"), "must not be empty"),
        ];
        for (name, value, detail) in fields.into_iter().filter(|(_, value, _)| value.is_empty()) {
            let shown = if name == "apiVersion" { api_version } else { value };
            errors.push(FieldError::invalid(path.child(name), shown, detail));
        }
        if (api_version, text("kind")) == ("v1", "Event") {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid(path, (*owner).clone(), detail));
        }
        if owner.get("controller") != Some(&Value::Bool(true)) {
            continue;
        }
        let name = format!("{}/{}", text("kind"), text("name"));
        match &controller {
            None => controller = Some(name),
            Some(first) => {
                let all: Value = owners.iter().map(|owner| (*owner).clone()).collect();
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                );
                errors.push(FieldError::invalid(path, all, detail));
            }
        }
    }
}
