//! Conditions as newer kinds have them (`metav1.Condition`).

use std::collections::BTreeSet;

use serde_json::Value;
use skiff_machinery::cells::str_of;
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors};

const LONGEST_REASON: usize = 1024;
const LONGEST_MESSAGE: usize = 32 * 1024;
const REASON: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

/// Checks conditions: each type comes once, with a status, a time and a reason.
pub(crate) fn validate(path: &str, conditions: &[Value]) -> FieldErrors {
    let (mut errors, mut known) = (FieldErrors::new(), BTreeSet::new());
    for (index, condition) in conditions.iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        let kind = str_of(condition, "type");
        if !known.insert(kind) {
            errors.push(FieldError::duplicate(at("type"), kind));
        }
        errors.extend(Form::QualifiedName.check(&at("type"), kind));
        let (status, statuses) = (str_of(condition, "status"), ["False", "True", "Unknown"]);
        if !statuses.contains(&status) {
            errors.push(FieldError::not_supported(at("status"), status, &statuses));
        }
        if let Some(seen) = condition["observedGeneration"].as_i64().filter(|seen| *seen < 0) {
            let detail = "must be greater than or equal to zero";
            errors.push(FieldError::invalid(at("observedGeneration"), seen, detail));
        }
        if str_of(condition, "lastTransitionTime").is_empty() {
            errors.push(FieldError::required(at("lastTransitionTime"), ""));
        }
        errors.extend(reason(&at("reason"), str_of(condition, "reason")));
        if str_of(condition, "message").len() > LONGEST_MESSAGE {
            errors.push(FieldError::too_long(at("message"), LONGEST_MESSAGE));
        }
    }
    errors
}

fn reason(path: &str, reason: &str) -> FieldErrors {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = reason.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return [FieldError::required(path, "")].into();
    };
    let inner = bytes.iter().all(|byte| is_word(*byte) || b",:".contains(byte));
    let mut errors = FieldErrors::new();
    if !first.is_ascii_alphabetic() || !is_word(*last) || !inner {
        errors.push(FieldError::invalid(path, reason, REASON));
    }
    if reason.len() > LONGEST_REASON {
        errors.push(FieldError::too_long(path, LONGEST_REASON));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::texts;
    use serde_json::json;

    #[test]
    fn conditions_are_complete() {
        let check = |changes: Value, expected: &[&str]| {
            let mut condition = json!({
                "type": "Ready", "status": "True", "reason": "Done", "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            condition.as_object_mut().unwrap().extend(changes.as_object().cloned().unwrap());
            assert_eq!(texts(validate("c", &[condition])), expected);
        };
        check(json!({}), &[]);
        check(json!({"reason": ""}), &["c[0].reason: Required value"]);
        check(json!({"reason": "a b"}), &[&format!("c[0].reason: Invalid value: \"a b\": {REASON}")]);
        check(json!({"lastTransitionTime": null}), &["c[0].lastTransitionTime: Required value"]);
        check(
            json!({"status": "Maybe"}),
            &[r#"c[0].status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown""#],
        );
    }
}
