//! Checks of what a failed pod means for its job, and of when a job has succeeded.

use std::collections::BTreeSet;

use serde_json::Value;
use skiff_machinery::cells::str_of;
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors};
use skiff_ordered::Ordered as _;

use super::indexes;
use crate::shared::check::not_negative;

const MOST_RULES: usize = 20;
const MOST_EXIT_CODES: usize = 255;
const MOST_CONDITIONS: usize = 20;
const LONGEST_INDEXES: usize = 64 * 1024;

const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];

fn items<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A word of these, which has to be there.
fn word(path: &str, word: &str, words: &[&str]) -> FieldErrors {
    match word {
        "" => {
            let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
            [FieldError::required(path, format!("valid values: [{}]", quoted.join(" ")))].into()
        }
        word if words.contains(&word) => FieldErrors::new(),
        word => [FieldError::not_supported(path, word, words)].into(),
    }
}

/// Checks `podFailurePolicy` of a job's spec.
pub(super) fn failure(path: &str, policy: &Value, spec: &Value) -> FieldErrors {
    let rules = items(policy, "rules");
    let path = format!("{path}.rules");
    let mut errors = FieldErrors::new();
    if rules.len() > MOST_RULES {
        errors.push(FieldError::too_many(path.as_str(), rules.len(), MOST_RULES));
    }
    let pods = &spec["template"]["spec"];
    let containers = ["containers", "initContainers"].into_iter().flat_map(|list| items(pods, list));
    let names: BTreeSet<&str> = containers.map(|container| str_of(container, "name")).to_set();
    for (index, rule) in rules.iter().enumerate() {
        errors.extend(failure_rule(&format!("{path}[{index}]"), rule, spec, &names));
    }
    errors
}

fn failure_rule(path: &str, rule: &Value, spec: &Value, containers: &BTreeSet<&str>) -> FieldErrors {
    let action_path = format!("{path}.action");
    let action = str_of(rule, "action");
    let mut errors = word(&action_path, action, &ACTIONS);
    if action == "FailIndex" && spec.get("backoffLimitPerIndex").is_none_or(Value::is_null) {
        let detail = "requires the backoffLimitPerIndex to be set";
        errors.push(FieldError::invalid(action_path, action, detail));
    }
    let codes = rule.get("onExitCodes").filter(|codes| !codes.is_null());
    let conditions = items(rule, "onPodConditions");
    if let Some(codes) = codes {
        errors.extend(exit_codes(&format!("{path}.onExitCodes"), codes, containers));
    }
    if !conditions.is_empty() {
        errors.extend(pod_conditions(&format!("{path}.onPodConditions"), conditions));
    }
    let detail = match (codes.is_some(), !conditions.is_empty()) {
        (true, true) => "specifying both OnExitCodes and OnPodConditions is not supported",
        (false, false) => "specifying one of OnExitCodes and OnPodConditions is required",
        _ => return errors,
    };
    errors.push(FieldError::invalid(path, Value::Null, detail).without_value());
    errors
}

fn pod_conditions(path: &str, conditions: &[Value]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if conditions.len() > MOST_CONDITIONS {
        errors.push(FieldError::too_many(path, conditions.len(), MOST_CONDITIONS));
    }
    for (index, pattern) in conditions.iter().enumerate() {
        let path = format!("{path}[{index}]");
        errors.extend(Form::QualifiedName.check(&format!("{path}.type"), str_of(pattern, "type")));
        errors.extend(word(&format!("{path}.status"), str_of(pattern, "status"), &STATUSES));
    }
    errors
}

fn exit_codes(path: &str, codes: &Value, containers: &BTreeSet<&str>) -> FieldErrors {
    let operator = str_of(codes, "operator");
    let mut errors = word(&format!("{path}.operator"), operator, &OPERATORS);
    if let Some(name) = codes.get("containerName").and_then(Value::as_str)
        && !containers.contains(name)
    {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.push(FieldError::invalid(format!("{path}.containerName"), name, detail));
    }
    let values = items(codes, "values");
    let path = format!("{path}.values");
    let all = || codes.get("values").cloned().unwrap_or_default();
    if values.is_empty() {
        errors.push(FieldError::invalid(path.as_str(), all(), "at least one value is required"));
    } else if values.len() > MOST_EXIT_CODES {
        errors.push(FieldError::too_many(path.as_str(), values.len(), MOST_EXIT_CODES));
    }
    let mut known = BTreeSet::new();
    for (index, code) in values.iter().filter_map(Value::as_i64).enumerate() {
        let path = format!("{path}[{index}]");
        if operator == "In" && code == 0 {
            errors.push(FieldError::invalid(path.as_str(), code, "must not be 0 for the In operator"));
        }
        if !known.insert(code) {
            errors.push(FieldError::duplicate(path, code));
        }
    }
    if !values.is_sorted_by_key(Value::as_i64) {
        errors.push(FieldError::invalid(path, all(), "must be ordered"));
    }
    errors
}

/// Checks `successPolicy` of an indexed job's spec.
pub(super) fn success(path: &str, policy: &Value, completions: i64) -> FieldErrors {
    let rules = items(policy, "rules");
    let path = format!("{path}.rules");
    let mut errors = FieldErrors::new();
    if rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.push(FieldError::required(path.as_str(), detail));
    }
    if rules.len() > MOST_RULES {
        errors.push(FieldError::too_many(path.as_str(), rules.len(), MOST_RULES));
    }
    for (index, rule) in rules.iter().enumerate() {
        errors.extend(success_rule(&format!("{path}[{index}]"), rule, completions));
    }
    errors
}

fn success_rule(path: &str, rule: &Value, completions: i64) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let count = rule.get("succeededCount").and_then(Value::as_i64);
    let list = rule.get("succeededIndexes").and_then(Value::as_str);
    if count.is_none() && list.is_none() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(FieldError::required(path, detail));
    }
    let mut total = 0;
    if let Some(list) = list {
        let path = format!("{path}.succeededIndexes");
        if list.len() > LONGEST_INDEXES {
            errors.push(FieldError::too_long(path.as_str(), LONGEST_INDEXES));
        }
        match indexes::count(list, completions) {
            Ok(count) => total = count,
            Err(why) => {
                errors.push(FieldError::invalid(
                    path,
                    list,
                    format!("error parsing succeededIndexes: {why}"),
                ));
            }
        }
    }
    if let Some(count) = count {
        let path = format!("{path}.succeededCount");
        errors.extend(not_negative(&path, count));
        let mut bound = |most: i64, of: &str| {
            if count > most {
                let detail = format!("must be less than or equal to {most} (the number of {of})");
                errors.push(FieldError::invalid(path.as_str(), count, detail));
            }
        };
        bound(completions, "specified completions");
        if list.is_some() {
            bound(total, "indexes in the specified succeededIndexes field");
        }
    }
    errors
}
