//! What is wrong with bindings.

use std::collections::BTreeSet;

use serde_json::Value;
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors, Object};

use super::checks::{part, validate_operations, validate_resources};
use super::validate::spec_of;
use crate::fields::one_of;
use crate::selector::{self, Values};
use crate::surroundings::{text, texts};

const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];

/// Checks a ValidatingAdmissionPolicyBinding, but for its metadata.
pub fn validate_validating_binding(object: &Object) -> FieldErrors {
    let mut errors = validate(object);
    errors.extend(validate_actions(&texts(&spec_of(object), "validationActions")));
    errors
}

/// Checks a MutatingAdmissionPolicyBinding, but for its metadata.
pub fn validate_mutating_binding(object: &Object) -> FieldErrors {
    let mut errors = validate(object);
    errors.extend(validate_operations("spec.matchResources", spec_of(object).get("matchResources")));
    errors
}

fn validate(object: &Object) -> FieldErrors {
    let spec = &spec_of(object);
    let mut errors = match text(spec, "policyName") {
        "" => [FieldError::required("spec.policyName", "")].into(),
        name => Form::Subdomain.check("spec.policyName", name),
    };
    errors.extend(part(spec, "paramRef").map(validate_params).unwrap_or_default());
    let resources = part(spec, "matchResources");
    errors.extend(
        resources.map(|resources| validate_resources("spec.matchResources", resources)).unwrap_or_default(),
    );
    errors
}

fn validate_params(reference: &Value) -> FieldErrors {
    const PATH: &str = "spec.paramRef";
    let at = |field: &str| format!("{PATH}.{field}");
    let exclusive =
        |field: &str| FieldError::forbidden(at(field), "name and selector are mutually exclusive");
    let (name, selector) = (text(reference, "name"), part(reference, "selector"));
    let mut errors = FieldErrors::new();
    if !name.is_empty() {
        errors.extend(Form::PathSegment.check(&at("name"), name));
        errors.extend(selector.map(|_| exclusive("name")));
    }
    if let Some(selector) = selector {
        errors.extend(selector::validate(&at("selector"), selector, Values::Checked));
        if !name.is_empty() {
            errors.push(exclusive("selector"));
        }
    }
    if name.is_empty() && selector.is_none() {
        errors.push(FieldError::required(PATH, "one of name or selector must be specified"));
    }
    let action = at("parameterNotFoundAction");
    match text(reference, "parameterNotFoundAction") {
        "" => errors.push(FieldError::required(action, "")),
        _ => errors.extend(one_of(action, reference.get("parameterNotFoundAction"), &["Deny", "Allow"])),
    }
    errors
}

fn validate_actions(actions: &[String]) -> FieldErrors {
    const PATH: &str = "spec.validationActions";
    let mut errors = FieldErrors::new();
    let mut seen = BTreeSet::new();
    for (index, action) in actions.iter().enumerate() {
        let at = format!("{PATH}[{index}]");
        errors.extend(one_of(at.clone(), Some(&action.as_str().into()), ACTIONS));
        if !seen.insert(action.as_str()) {
            errors.push(FieldError::duplicate(at, action.as_str()));
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.push(FieldError::invalid(PATH, actions.to_vec(), why));
    }
    if seen.is_empty() {
        errors.push(FieldError::required(PATH, "at least one validation action is required"));
    }
    errors
}
