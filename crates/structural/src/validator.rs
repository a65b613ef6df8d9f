//! All checks of a custom resource, in the order of the API server.

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrorKind, FieldErrors, Findings};

use crate::cel::RuleSet;
use crate::listtype::check_lists;
use crate::meta::check_metadata;
use crate::model::Structural;
use crate::path::Path;
use crate::scale::ScalePaths;
use crate::validate::{validate, validate_part_update, validate_update};

/// Checks the objects of one version of a kind; what it needs is made once, when it is first asked for.
///
/// Not checked here: `apiVersion`, `kind` and `metadata` of the object itself, which are checked as those of all kinds.
#[derive(Debug)]
pub struct Validator {
    schema: Arc<Structural>,
    scale: Option<ScalePaths>,
    rules: OnceLock<Option<RuleSet>>,
}

impl Validator {
    /// A validator by a schema, and by what the subresource `scale` reads, if there is one.
    pub fn new(schema: Arc<Structural>, scale: Option<ScalePaths>) -> Self {
        Self { schema, scale, rules: OnceLock::new() }
    }

    /// The schema that it checks by.
    pub fn schema(&self) -> &Arc<Structural> {
        &self.schema
    }

    /// Checks a new object.
    pub fn create(&self, new: &Value) -> Findings {
        let mut errors = validate(new, &self.schema);
        errors.extend(self.scale.iter().flat_map(|scale| scale.check(new)));
        errors.extend(check_metadata(new, &self.schema, false));
        errors.extend(check_lists(new, &self.schema));
        self.with_rules(errors, new, None)
    }

    /// Checks an object that replaces another. What was wrong before and is unchanged is let pass.
    pub fn update(&self, new: &Value, old: &Value) -> Findings {
        let mut errors = validate_update(new, old, &self.schema);
        errors.extend(self.scale.iter().flat_map(|scale| scale.check(new)));
        errors.extend(check_metadata(new, &self.schema, false));
        errors.extend(self.lists_of_update(new, old));
        self.with_rules(errors, new, Some(old))
    }

    /// Checks an object whose status replaces another.
    pub fn update_status(&self, new: &Value, old: &Value) -> Findings {
        let mut errors = FieldErrors::new();
        if let (Some(status), Some(schema)) = (new.get("status"), self.schema.properties.get("status")) {
            let old = old.get("status").unwrap_or(&Value::Null);
            errors.extend(validate_part_update(&Path::Root("status"), status, old, schema));
        }
        errors.extend(self.scale.iter().flat_map(|scale| scale.check_status(new)));
        errors.extend(self.lists_of_update(new, old));
        self.with_rules(errors, new, Some(old))
    }

    /// Items that repeat others, unless there were such before.
    fn lists_of_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let found = check_lists(new, &self.schema);
        if found.is_empty() || check_lists(old, &self.schema).is_empty() { found } else { FieldErrors::new() }
    }

    fn with_rules(&self, mut errors: FieldErrors, new: &Value, old: Option<&Value>) -> Findings {
        let rules = self.rules.get_or_init(|| RuleSet::compile(&self.schema));
        let Some(rules) = rules else { return Findings { errors, warnings: Vec::new() } };
        if errors.iter().any(is_blocking) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            errors.push(FieldError::invalid("<nil>", Value::Null, detail));
            return Findings { errors, warnings: Vec::new() };
        }
        let found = rules.validate(new, old, &self.schema);
        errors.extend(found.errors);
        Findings { errors, warnings: found.warnings }
    }
}

/// Whether an object with such an error may be of a form that rules cannot cope with.
fn is_blocking(error: &FieldError) -> bool {
    matches!(
        error.kind,
        FieldErrorKind::NotSupported
            | FieldErrorKind::Required
            | FieldErrorKind::TooLong
            | FieldErrorKind::TooMany
            | FieldErrorKind::TypeInvalid
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn validator() -> Validator {
        let schema = Structural::parse(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "required": ["a"], "properties": {
                "a": {"type": "integer", "maximum": 9, "x-kubernetes-validations": [{"rule": "self > 1"}]},
                "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "pod": {"type": "object", "x-kubernetes-embedded-resource": true},
                "replicas": {"type": "integer"}}},
            "status": {"type": "object", "properties": {"b": {"type": "string", "maxLength": 2}}}}}))
        .unwrap();
        let scale = ScalePaths::new(".spec.replicas", ".status.replicas", None);
        Validator::new(Arc::new(schema), Some(scale))
    }

    fn texts(findings: &Findings) -> Vec<String> {
        findings.errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_new_object_passes_all_checks() {
        let check = |new: Value, wanted: &[&str]| {
            assert_eq!(texts(&validator().create(&new)), wanted, "{new}");
        };
        let unchecked = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        check(json!({"spec": {"a": 2}}), &[]);
        check(json!({"spec": {"a": 1}}), &["spec.a: Invalid value: 1: failed rule: self > 1"]);
        check(json!({"spec": {}}), &["spec.a: Required value", unchecked]);
        check(
            json!({"spec": {"a": 1, "replicas": -1, "set": ["x", "x"]}}),
            &[
                ".spec.replicas: Invalid value: -1: should be a non-negative integer",
                r#"spec.set[1]: Duplicate value: "x""#,
                "spec.a: Invalid value: 1: failed rule: self > 1",
            ],
        );
        check(
            json!({"spec": {"a": 2, "pod": {"kind": "Pod"}}}),
            &["spec.pod.apiVersion: Required value", unchecked],
        );
    }

    #[test]
    fn what_was_wrong_before_is_let_pass() {
        let check = |old: Value, new: Value, wanted: &[&str], warnings: &[&str]| {
            let found = validator().update(&new, &old);
            assert_eq!((texts(&found), found.warnings), (to(wanted), to(warnings)), "{old} {new}");
        };
        let rule = "spec.a: Invalid value: 1: failed rule: self > 1";
        let list = r#"spec.set[1]: Duplicate value: "x""#;
        check(json!({"spec": {"a": 1}}), json!({"spec": {"a": 1}}), &[], &[rule]);
        check(json!({"spec": {"a": 2}}), json!({"spec": {"a": 1}}), &[rule], &[]);
        check(json!({"spec": {"a": 2}}), json!({"spec": {"a": 2, "set": ["x", "x"]}}), &[list], &[]);
        let twice = json!({"spec": {"a": 2, "set": ["x", "x"]}});
        check(twice.clone(), twice, &[], &[]);
    }

    #[test]
    fn a_status_is_checked_by_itself() {
        let check = |old: Value, new: Value, wanted: &[&str]| {
            assert_eq!(texts(&validator().update_status(&new, &old)), wanted, "{old} {new}");
        };
        let long = json!({"spec": {}, "status": {"b": "long"}});
        check(long.clone(), long.clone(), &[]);
        check(json!({}), json!({"spec": {}, "status": {"b": "x"}}), &[]);
        check(
            json!({}),
            json!({"status": {"b": "x", "replicas": "x"}}),
            &[
                ".status.replicas: Invalid value: 0: .status.replicas accessor error: x is of the type string, expected int64",
            ],
        );
        let unchecked = texts(&validator().update_status(&long, &json!({})));
        assert_eq!(unchecked[0], "status.b: Too long: may not be more than 2 bytes");
    }

    fn to(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }
}
