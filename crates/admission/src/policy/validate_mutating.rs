//! What is wrong with MutatingAdmissionPolicies.

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors, Object};

use super::checks::{Kind, part, same_conditions, validate_common, validate_variables};
use super::validate::spec_of;
use crate::expressions::{Environments, Returns, Scope};
use crate::fields::{REINVOCATION_POLICIES, one_of};
use crate::surroundings::{items, text};

const PATCH_TYPES: &[&str] = &["ApplyConfiguration", "JSONPatch"];

/// Checks a policy that is about to be made, but for its metadata.
pub fn validate_mutating_policy(object: &Object) -> FieldErrors {
    validate(object, true)
}

/// Checks a policy that is about to be changed, but for its metadata.
pub fn validate_mutating_policy_update(new: &Object, old: &Object) -> FieldErrors {
    validate(new, !same_conditions(&spec_of(new), &spec_of(old)))
}

fn validate(object: &Object, conditions: bool) -> FieldErrors {
    let spec = &spec_of(object);
    let mut errors = validate_common(spec, conditions, Kind::Mutating);
    let mut environments = Environments::new(part(spec, "paramKind").is_some(), true);
    errors.extend(validate_variables(spec, &mut environments));
    let mutations = items(spec, "mutations");
    if mutations.is_empty() {
        errors.push(FieldError::required("spec.mutations", "mutations must contain at least one item"));
    }
    for (index, mutation) in mutations.iter().enumerate() {
        let path = format!("spec.mutations[{index}]");
        errors.extend(validate_mutation(&path, mutation, &environments));
    }
    let at = "spec.reinvocationPolicy".to_owned();
    match text(spec, "reinvocationPolicy") {
        "" => errors.push(FieldError::required(at, "")),
        _ => errors.extend(one_of(at, spec.get("reinvocationPolicy"), REINVOCATION_POLICIES)),
    }
    errors
}

fn validate_mutation(path: &str, mutation: &Value, environments: &Environments) -> FieldErrors {
    let (field, other, returns) = match text(mutation, "patchType") {
        "" => return [FieldError::required(format!("{path}.patchType"), "")].into(),
        "JSONPatch" => ("jsonPatch", "applyConfiguration", Returns::Patches),
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch", Returns::Configuration),
        _ => return one_of(format!("{path}.patchType"), mutation.get("patchType"), PATCH_TYPES),
    };
    let patch_type = text(mutation, "patchType");
    let mut errors = FieldErrors::new();
    match part(mutation, field) {
        None => {
            let why = format!("must be specified when patchType is {patch_type}");
            errors.push(FieldError::required(format!("{path}.{field}"), why));
        }
        Some(given) => {
            let at = format!("{path}.{field}.expression");
            match text(given, "expression").trim() {
                "" => errors.push(FieldError::required(at, "")),
                expression => {
                    let compiled = environments.compile(expression, Scope::Patches, returns);
                    errors.extend(compiled.program.err().map(|issue| issue.of_field(&at, expression)));
                }
            }
        }
    }
    if part(mutation, other).is_some() {
        let why = format!("must not be specified when patchType is {patch_type}");
        errors.push(FieldError::invalid(format!("{path}.{other}"), format!("{{{other}}}"), why));
    }
    errors
}
