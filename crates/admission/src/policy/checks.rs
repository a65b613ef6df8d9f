//! What is wrong with fields that several kinds of policies and bindings have.

use std::collections::BTreeSet;

use serde_json::Value;
use skiff_cel::is_reserved;
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors};

use crate::expressions::Environments;
use crate::fields::{FAILURE_POLICIES, MATCH_POLICIES, one_of, validate_conditions, validate_rule};
use crate::selector::{self, Values};
use crate::surroundings::{items, text, texts};

/// What policies do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Validating,
    Mutating,
}

/// Of a deletion there is nothing to change.
const MUTATING_OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];

/// Operations in rules of what changes objects.
pub(super) fn validate_operations(path: &str, resources: Option<&Value>) -> FieldErrors {
    let rules = resources.map_or(&[][..], |resources| items(resources, "resourceRules"));
    let operations = rules.iter().flat_map(|rule| texts(rule, "operations"));
    let at = || format!("{path}.resourceRules.operations");
    operations.flat_map(|word| one_of(at(), Some(&word.into()), MUTATING_OPERATIONS)).collect()
}

/// A field that is there and not null.
pub(super) fn part<'a>(of: &'a Value, field: &str) -> Option<&'a Value> {
    of.get(field).filter(|part| !part.is_null())
}

/// One of a set of words, which must be there.
pub(super) fn needed(path: String, value: Option<&Value>, supported: &[&str]) -> FieldErrors {
    match value {
        None => [FieldError::required(path, "")].into(),
        value => one_of(path, value, supported),
    }
}

/// What policies of both kinds begin with: `failurePolicy`, `paramKind`, `matchConstraints`, `matchConditions`.
pub(super) fn validate_common(spec: &Value, conditions: bool, of: Kind) -> FieldErrors {
    let mut errors = needed("spec.failurePolicy".to_owned(), part(spec, "failurePolicy"), FAILURE_POLICIES);
    let params = part(spec, "paramKind");
    errors.extend(params.map(validate_param_kind).unwrap_or_default());
    match part(spec, "matchConstraints") {
        None => errors.push(FieldError::required("spec.matchConstraints", "")),
        Some(constraints) => {
            errors.extend(validate_resources("spec.matchConstraints", constraints));
            let rules = items(constraints, "resourceRules");
            if rules.is_empty() {
                errors.push(FieldError::required("spec.matchConstraints.resourceRules", ""));
            }
            if of == Kind::Mutating {
                errors.extend(validate_operations("spec.matchConstraints", Some(constraints)));
            }
        }
    }
    if conditions {
        errors.extend(validate_conditions("spec.matchConditions", spec, params.is_some()));
    }
    errors
}

/// Whether conditions that were accepted once mean the same as then.
pub(super) fn same_conditions(new: &Value, old: &Value) -> bool {
    part(new, "paramKind") == part(old, "paramKind")
        && items(new, "matchConditions") == items(old, "matchConditions")
}

fn validate_param_kind(kind: &Value) -> FieldErrors {
    const VERSION: &str = "spec.paramKind.apiVersion";
    const KIND: &str = "spec.paramKind.kind";
    let mut errors = FieldErrors::new();
    let api_version = text(kind, "apiVersion");
    match api_version.matches('/').count() {
        _ if api_version.is_empty() => errors.push(FieldError::required(VERSION, "")),
        0 | 1 => {
            let (group, version) = match api_version.split_once('/') {
                _ if api_version == "/" => ("", ""),
                Some(parts) => parts,
                None => ("", api_version),
            };
            let mut refuse = |value: &str, form: Form| {
                let problems = form.problems(value).join(",");
                if !problems.is_empty() {
                    errors.push(FieldError::invalid(VERSION, value, problems));
                }
            };
            if !group.is_empty() {
                refuse(group, Form::Subdomain);
            }
            if version.is_empty() {
                errors.push(FieldError::invalid(VERSION, api_version, "version must be specified"));
            } else {
                refuse(version, Form::Rfc1035Label);
            }
        }
        _ => {
            let why = format!("unexpected GroupVersion string: {api_version}");
            errors.push(FieldError::invalid(VERSION, api_version, why));
        }
    }
    match text(kind, "kind") {
        "" => errors.push(FieldError::required(KIND, "")),
        kind => {
            let problems = Form::Rfc1035Label.problems(&kind.to_lowercase()).join(",");
            if !problems.is_empty() {
                let why = format!("may have mixed case, but should otherwise match: {problems}");
                errors.push(FieldError::invalid(KIND, kind, why));
            }
        }
    }
    errors
}

/// `MatchResources`.
pub(super) fn validate_resources(path: &str, resources: &Value) -> FieldErrors {
    let mut errors = needed(format!("{path}.matchPolicy"), part(resources, "matchPolicy"), MATCH_POLICIES);
    for field in ["namespaceSelector", "objectSelector"] {
        let at = format!("{path}.{field}");
        match part(resources, field) {
            None => errors.push(FieldError::required(at, "")),
            Some(selector) => errors.extend(selector::validate(&at, selector, Values::Checked)),
        }
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in items(resources, field).iter().enumerate() {
            errors.extend(validate_named_rule(&format!("{path}.{field}[{index}]"), rule));
        }
    }
    errors
}

fn validate_named_rule(path: &str, rule: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut seen = BTreeSet::new();
    for (index, name) in texts(rule, "resourceNames").into_iter().enumerate() {
        let at = format!("{path}.resourceNames[{index}]");
        errors.extend(Form::PathSegment.check(&at, &name));
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(at, name));
        } else {
            seen.insert(name);
        }
    }
    errors.extend(validate_rule(path, rule));
    errors
}

/// `variables`, which are declared to the expressions that follow.
pub(super) fn validate_variables(spec: &Value, environments: &mut Environments) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (index, variable) in items(spec, "variables").iter().enumerate() {
        let path = format!("spec.variables[{index}]");
        let (name, expression) = (text(variable, "name"), text(variable, "expression"));
        let at = format!("{path}.name");
        if name.trim().is_empty() {
            errors.push(FieldError::required(at, "name is not specified"));
        } else if !is_identifier(name) {
            errors.push(FieldError::invalid(at, name, "must be a valid CEL identifier"));
        }
        let at = format!("{path}.expression");
        if expression.trim().is_empty() {
            errors.push(FieldError::required(at, "expression is not specified"));
            continue;
        }
        let compiled = environments.compile_variable(name, expression);
        errors.extend(compiled.program.err().map(|issue| issue.of_field(&at, expression)));
    }
    errors
}

fn is_identifier(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = name.starts_with(|c: char| word(c) && !c.is_ascii_digit());
    starts && name.chars().all(word) && !is_reserved(name)
}
