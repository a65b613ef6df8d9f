//! What is wrong with ValidatingAdmissionPolicies.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors, Object};

use super::checks::{Kind, part, same_conditions, validate_common, validate_variables};
use crate::expressions::{Environments, Returns, Scope};
use crate::fields::one_of;
use crate::surroundings::{items, text};

const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
/// So many audit annotations may a policy have.
const ANNOTATIONS: usize = 20;
/// Bytes of the expression of an audit annotation.
const ANNOTATION: usize = 5 * 1024;

/// The `spec` of a policy or binding.
pub(super) fn spec_of(object: &Object) -> Value {
    object.get(&["spec"]).cloned().unwrap_or_default()
}

/// Checks a policy that is about to be made, but for its metadata.
pub fn validate_validating_policy(object: &Object) -> FieldErrors {
    validate(object, true)
}

/// Checks a policy that is about to be changed, but for its metadata.
pub fn validate_validating_policy_update(new: &Object, old: &Object) -> FieldErrors {
    validate(new, !same_conditions(&spec_of(new), &spec_of(old)))
}

/// Checks what a status says of types.
pub fn validate_validating_policy_status(object: &Object) -> FieldErrors {
    const PATH: &str = "status.typeChecking.expressionWarnings";
    let mut errors = FieldErrors::new();
    let warnings = object.get(&["status", "typeChecking", "expressionWarnings"]).and_then(Value::as_array);
    for (index, warning) in warnings.into_iter().flatten().enumerate() {
        if text(warning, "warning").is_empty() {
            errors.push(FieldError::required(format!("{PATH}[{index}].warning"), ""));
        }
        if text(warning, "fieldRef").trim().is_empty() {
            errors.push(FieldError::required(format!("{PATH}[{index}].fieldRef"), ""));
        }
    }
    errors
}

fn validate(object: &Object, conditions: bool) -> FieldErrors {
    let spec = &spec_of(object);
    let mut errors = validate_common(spec, conditions, Kind::Validating);
    let variables = !items(spec, "variables").is_empty();
    let mut environments = Environments::new(part(spec, "paramKind").is_some(), variables);
    errors.extend(validate_variables(spec, &mut environments));
    let (validations, annotations) = (items(spec, "validations"), items(spec, "auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        errors.push(FieldError::required("spec.validations", why));
        errors.push(FieldError::required("spec.auditAnnotations", why));
        return errors;
    }
    for (index, validation) in validations.iter().enumerate() {
        let path = format!("spec.validations[{index}]");
        errors.extend(validate_validation(&path, validation, &environments));
    }
    errors.extend(validate_annotations(object.name(), annotations, &environments));
    errors
}

fn validate_validation(path: &str, validation: &Value, environments: &Environments) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let compile = |field: &str, expression: &str, scope, returns| {
        let issue = environments.compile(expression, scope, returns).program.err();
        issue.map(|issue| issue.of_field(&at(field), expression))
    };
    let (expression, message) = (text(validation, "expression"), text(validation, "message"));
    let message_expression = text(validation, "messageExpression");
    let mut errors = FieldErrors::new();
    if expression.trim().is_empty() {
        errors.push(FieldError::required(at("expression"), "expression is not specified"));
    } else {
        errors.extend(compile("expression", expression, Scope::Authorizer, Returns::Bool));
    }
    if !message_expression.trim().is_empty() {
        errors.extend(compile("messageExpression", message_expression, Scope::Plain, Returns::Text));
    } else if !message_expression.is_empty() {
        let why = "must be non-empty if specified";
        errors.push(FieldError::invalid(at("messageExpression"), message_expression, why));
    }
    if !message.is_empty() && message.trim().is_empty() {
        errors.push(FieldError::invalid(at("message"), message, "must be non-empty if specified"));
    } else if message.trim().contains(['\n', '\r']) {
        errors.push(FieldError::invalid(at("message"), message, "must not contain line breaks"));
    }
    errors.extend(one_of(at("reason"), part(validation, "reason"), REASONS));
    errors
}

fn validate_annotations(policy: &str, annotations: &[Value], environments: &Environments) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if annotations.len() > ANNOTATIONS {
        let why = format!("must not have more than {ANNOTATIONS} auditAnnotations");
        // As Kubernetes shows them: by the names that the fields have in its code.
        let shown = |annotation: &Value| json!({"Key": text(annotation, "key"), "ValueExpression": text(annotation, "valueExpression")});
        let shown: Vec<Value> = annotations.iter().map(shown).collect();
        errors.push(FieldError::invalid("spec.auditAnnotations", shown, why));
    }
    let mut keys = BTreeSet::new();
    for (index, annotation) in annotations.iter().enumerate() {
        let path = format!("spec.auditAnnotations[{index}]");
        errors.extend(validate_annotation(&path, policy, annotation, environments));
        let key = text(annotation, "key");
        if !keys.insert(key) {
            errors.push(FieldError::duplicate(format!("{path}.key"), key));
        }
    }
    errors
}

fn validate_annotation(
    path: &str,
    policy: &str,
    annotation: &Value,
    environments: &Environments,
) -> FieldErrors {
    let key = text(annotation, "key");
    let at = format!("{path}.key");
    let mut errors = match policy {
        "" => [FieldError::invalid(at, key, "requires metadata.name be non-empty")].into(),
        policy => Form::QualifiedName.check(&at, &format!("{policy}/{key}")),
    };
    let at = format!("{path}.valueExpression");
    let given = text(annotation, "valueExpression");
    match given.trim() {
        "" => errors.push(FieldError::required(at, "valueExpression is not specified")),
        long if long.len() > ANNOTATION => {
            errors.push(FieldError::required(at, format!("must not exceed {ANNOTATION} bytes in length")));
        }
        expression => {
            let compiled = environments.compile(expression, Scope::Authorizer, Returns::TextOrNull);
            errors.extend(compiled.program.err().map(|issue| issue.of_field(&at, given)));
        }
    }
    errors
}
