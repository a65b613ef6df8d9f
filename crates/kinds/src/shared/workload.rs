//! Checks that are the same for all kinds that make pods of a template: of their selector, and of how it fits the template.

use serde_json::Value;
use skiff_machinery::selector::{self, Values};
use skiff_machinery::{FieldError, FieldErrors, Object, names::Form};
use skiff_ordered::Ordered as _;

use super::template::Template;

/// What is the selector of a workload: one that is absent selects nothing.
pub(crate) fn selector_of(object: &Object) -> Option<&Value> {
    object.get(&["spec", "selector"]).filter(|selector| !selector.is_null())
}

/// An error about a selector.
pub(crate) fn about_selector(selector: &Value, detail: &str) -> FieldError {
    FieldError::invalid("spec.selector", selector.clone(), detail).showing(selector::written(selector))
}

/// Whether a selector selects everything.
pub(crate) fn is_everything(selector: &Value) -> bool {
    let is_empty = |field: &str| match selector.get(field) {
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        _ => true,
    };
    is_empty("matchLabels") && is_empty("matchExpressions")
}

/// Checks the selector; one that selects everything is refused in these words.
pub(crate) fn check_selector(selector: &Value, everything: &str, values: Values) -> FieldErrors {
    let mut errors = selector::validate("spec.selector", selector, values);
    if is_everything(selector) {
        errors.push(about_selector(selector, everything));
    }
    errors
}

/// Whether a workload selects the pods of its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It does.
    Selected,
    /// They are not its own.
    Missed,
    /// The selector cannot be read.
    Unknown,
}

/// How the selector fits the template.
pub(crate) fn fit(object: &Object, template: Template) -> Fit {
    let Some(selector) = selector_of(object) else { return Fit::Missed };
    let labels = template.get(object)["metadata"]["labels"].as_object();
    let labels = labels.into_iter().flatten();
    let labels = labels.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).one_by_one();
    match selector::read(selector) {
        None => Fit::Unknown,
        Some(selector) if selector.matches(&labels) => Fit::Selected,
        Some(_) => Fit::Missed,
    }
}

/// The template's pods are not selected.
pub(crate) fn missed(object: &Object, template: Template) -> FieldError {
    let labels = template.get(object)["metadata"]["labels"].clone();
    let path = format!("{}.metadata.labels", template.path());
    FieldError::invalid(path, labels, "`selector` does not match template `labels`")
}

/// Pods of the template never end by themselves; `noun` is what errors call the kind.
pub(crate) fn never_end(object: &Object, template: Template, noun: &str) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let spec = &template.get(object)["spec"];
    let path = format!("{}.spec", template.path());
    let policy = spec["restartPolicy"].as_str().unwrap_or_default();
    if policy != "Always" {
        errors.push(FieldError::not_supported(format!("{path}.restartPolicy"), policy, &["Always"]));
    }
    if spec.get("activeDeadlineSeconds").is_some_and(|seconds| !seconds.is_null()) {
        let detail = format!("activeDeadlineSeconds in {noun} is not Supported");
        errors.push(FieldError::forbidden(format!("{path}.activeDeadlineSeconds"), detail));
    }
    errors
}

/// Checks a selector and a template as deployments and their replica sets have them; both are checked in the same words.
pub(crate) fn check_replicated(object: &Object, template: Template) -> FieldErrors {
    let mut errors = FieldErrors::new();
    match selector_of(object) {
        None => errors.push(FieldError::required("spec.selector", "")),
        Some(selector) => {
            errors.extend(check_selector(
                selector,
                "empty selector is invalid for deployment",
                Values::Checked,
            ));
        }
    }
    match fit(object, template) {
        Fit::Unknown => {
            errors.extend(
                selector_of(object).map(|selector| about_selector(selector, "invalid label selector")),
            );
            return errors;
        }
        Fit::Missed => errors.push(missed(object, template)),
        Fit::Selected => {}
    }
    errors.extend(template.validate(object));
    errors.extend(never_end(object, template, "ReplicaSet"));
    errors
}

/// A selector that may not change.
pub(crate) fn same_selector(new: &Object, old: &Object) -> FieldErrors {
    let (selector, before) = (selector_of(new), selector_of(old));
    if selector == before {
        return FieldErrors::new();
    }
    let detail = "field is immutable";
    let error = selector.map(|selector| about_selector(selector, detail));
    [error.unwrap_or_else(|| FieldError::invalid("spec.selector", Value::Null, detail))].into()
}

/// None of the counts in the status is above another.
pub(crate) fn at_most(object: &Object, fields: &[&str], most: &str, detail: &str) -> FieldErrors {
    let count = |field: &str| object.int(&["status", field]).unwrap_or(0);
    let above = fields.iter().filter(|field| count(field) > count(most));
    above.map(|field| FieldError::invalid(format!("status.{field}"), count(field), detail)).collect()
}

/// A count of collisions that only grows.
pub(crate) fn collisions_grow(new: &Object, old: &Object) -> FieldErrors {
    let count = |object: &Object| object.int(&["status", "collisionCount"]);
    match (count(new), count(old)) {
        (new, Some(old)) if new.unwrap_or(-1) < old => {
            let path = "status.collisionCount";
            [FieldError::invalid(path, new.unwrap_or(0), "cannot be decremented")].into()
        }
        _ => FieldErrors::new(),
    }
}

/// A name that pods are called after.
pub(crate) fn name_warnings(object: &Object) -> Vec<String> {
    let problems = Form::DnsLabel.problems(object.name());
    let text = "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended";
    if problems.is_empty() { Vec::new() } else { vec![format!("{text}: [{}]", problems.join(" "))] }
}
