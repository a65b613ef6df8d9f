//! Validation answers as Kubernetes 1.36 does: `cases/validation.tsv` has in each line an object (with the one that it replaces, when
//! it does) and the errors that Kubernetes' own code has for it after its defaults are filled.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use serde_json::Value;
use skiff_admission::{
    Type, default_binding, default_configuration, default_policy, validate_configuration,
    validate_configuration_update, validate_mutating_binding, validate_mutating_policy,
    validate_mutating_policy_update, validate_validating_binding, validate_validating_policy,
    validate_validating_policy_update,
};
use skiff_machinery::{FieldErrors, Object};

const CASES: &str = include_str!("cases/validation.tsv");

fn filled(value: &Value) -> Object {
    let mut object = Object::from_value(value.clone()).unwrap();
    match object.kind() {
        "MutatingWebhookConfiguration" => default_configuration(&mut object, Type::Mutating),
        "ValidatingWebhookConfiguration" => default_configuration(&mut object, Type::Validating),
        kind if kind.ends_with("Binding") => default_binding(&mut object),
        _ => default_policy(&mut object),
    }
    object
}

fn errors(new: &Object, old: Option<&Object>) -> FieldErrors {
    let configuration = |of| match old {
        Some(old) => validate_configuration_update(new, old, of),
        None => validate_configuration(new, of),
    };
    match (new.kind(), old) {
        ("MutatingWebhookConfiguration", _) => configuration(Type::Mutating),
        ("ValidatingWebhookConfiguration", _) => configuration(Type::Validating),
        ("ValidatingAdmissionPolicy", None) => validate_validating_policy(new),
        ("ValidatingAdmissionPolicy", Some(old)) => validate_validating_policy_update(new, old),
        ("MutatingAdmissionPolicy", None) => validate_mutating_policy(new),
        ("MutatingAdmissionPolicy", Some(old)) => validate_mutating_policy_update(new, old),
        ("ValidatingAdmissionPolicyBinding", _) => validate_validating_binding(new),
        ("MutatingAdmissionPolicyBinding", _) => validate_mutating_binding(new),
        (kind, _) => panic!("no kind {kind}"),
    }
}

#[test]
fn errors_are_those_of_kubernetes() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in CASES.lines() {
        let (case, expected) = line.split_once('\t').unwrap();
        let case: Value = serde_json::from_str(case).unwrap();
        let expected: Vec<String> = serde_json::from_str(expected).unwrap();
        let old = case.get("old").map(filled);
        let found = errors(&filled(&case["object"]), old.as_ref());
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        count += 1;
        if found != expected {
            wrong.push(format!("{case}\n  expected {expected:#?}\n  found {found:#?}"));
        }
    }
    assert!(count > 200, "only {count} cases");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}
