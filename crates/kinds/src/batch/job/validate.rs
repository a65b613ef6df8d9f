//! Checks of jobs and of their specs, which cron jobs have as well.

use serde_json::{Value, json};
use skiff_machinery::names::Form;
use skiff_machinery::selector::{self, Values};
use skiff_machinery::{FieldError, FieldErrors, Object};

use super::{labels, policies};
use crate::shared::check::not_negative;
use crate::shared::template::{TEMPLATE, Template};
use crate::shared::workload::{self, Fit};

const MOST_PARALLEL_INDEXED: i64 = 100_000;
const MOST_FAILED_INDEXES: i64 = 100_000;
/// From how many completions on less else is allowed.
const MANY_COMPLETIONS: i64 = 100_000;
const MOST_OF_MANY: i64 = 10_000;
const LONGEST_MANAGER: usize = 63;

/// Which of a job's labels have to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Labels {
    /// Those by both names.
    All,
    /// Those by the old names: the job is older than the new ones.
    Old,
}

/// Checks a job that is about to be created.
pub(super) fn validate(job: &Object) -> FieldErrors {
    check(job, Labels::All, Values::Checked)
}

/// Checks a job as a whole.
pub(super) fn check(job: &Object, labels: Labels, values: Values) -> FieldErrors {
    let mut errors = generated_selector(job, labels);
    errors.extend(spec_with_selector(job, values));
    let completions = job.int(&["spec", "completions"]).unwrap_or(0);
    if job.str(&["spec", "completionMode"]) == "Indexed" && completions > 0 {
        let hostname = format!("{}-{}", job.name(), completions - 1);
        if !Form::DnsLabel.fits(&hostname) {
            let detail = format!("will not able to create pod with invalid DNS label: {hostname}");
            errors.push(FieldError::invalid("metadata.name", job.name(), detail));
        }
    }
    errors
}

/// A selector that the server makes is that of the job's UID, and the template has the labels that go with it.
fn generated_selector(job: &Object, labels: Labels) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let manual = job.get(&["spec", "manualSelector"]) == Some(&Value::Bool(true));
    let Some(selector) = workload::selector_of(job).filter(|_| !manual) else { return errors };
    if job.uid().is_empty() {
        errors.push(FieldError::required("metadata.uid", ""));
    }
    let [old_name, name] = labels::NAMES;
    let [old_uid, uid] = labels::UIDS;
    let wanted = [(old_uid, job.uid()), (old_name, job.name()), (uid, job.uid()), (name, job.name())];
    let wanted = if labels == Labels::All { &wanted[..] } else { &wanted[..2] };
    let there = &TEMPLATE.get(job)["metadata"]["labels"];
    for (key, value) in wanted {
        let path = format!("spec.template.metadata.labels[{key}]");
        let detail = format!("must be '{value}'");
        match there.get(key).and_then(Value::as_str) {
            None => errors.push(FieldError::required(path, detail)),
            Some(found) if found != *value => {
                errors.push(FieldError::invalid(path, there.clone(), detail));
            }
            Some(_) => {}
        }
    }
    let known = wanted.iter().copied().collect();
    if selector::read(selector).is_some_and(|selector| !selector.matches(&known)) {
        errors.push(workload::about_selector(selector, "`selector` not auto-generated"));
    }
    errors
}

/// Checks the spec of a job that has a selector.
pub(super) fn spec_with_selector(job: &Object, values: Values) -> FieldErrors {
    let mut errors = spec(job, "spec", &["spec"], TEMPLATE);
    match workload::selector_of(job) {
        None => errors.push(FieldError::required("spec.selector", "")),
        Some(selector) => errors.extend(selector::validate("spec.selector", selector, values)),
    }
    if workload::fit(job, TEMPLATE) == Fit::Missed {
        errors.push(workload::missed(job, TEMPLATE));
    }
    errors
}

/// Checks the spec of a job at a path.
pub(in crate::batch) fn spec(object: &Object, path: &str, keys: &[&str], template: Template) -> FieldErrors {
    let spec = object.get(keys).unwrap_or(&Value::Null);
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = numbers(path, spec);
    errors.extend(manager(&at("managedBy"), spec));
    errors.extend(mode(path, spec));
    if let Some(policy) = spec.get("podFailurePolicy").filter(|policy| !policy.is_null()) {
        errors.extend(policies::failure(&at("podFailurePolicy"), policy, spec));
    }
    if let Some(policy) = spec.get("successPolicy").filter(|policy| !policy.is_null()) {
        errors.extend(success(&at("successPolicy"), policy, spec));
    }
    errors.extend(replacement(&at("podReplacementPolicy"), spec));
    errors.extend(template.validate(object));
    errors.extend(restart(&at("template.spec.restartPolicy"), spec));
    errors
}

fn number(spec: &Value, field: &str) -> Option<i64> {
    spec.get(field).and_then(Value::as_i64)
}

fn numbers(path: &str, spec: &Value) -> FieldErrors {
    const FIELDS: [&str; 7] = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    let there = FIELDS.iter().filter_map(|field| Some((field, number(spec, field)?)));
    let mut errors: FieldErrors =
        there.flat_map(|(field, number)| not_negative(&format!("{path}.{field}"), number)).collect();
    if number(spec, "maxFailedIndexes").is_some() && number(spec, "backoffLimitPerIndex").is_none() {
        let detail = "when maxFailedIndexes is specified";
        errors.push(FieldError::required(format!("{path}.backoffLimitPerIndex"), detail));
    }
    errors
}

/// The name of the controller that has to do with a job.
fn manager(path: &str, spec: &Value) -> FieldErrors {
    const PATH: &str = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";
    let Some(manager) = spec.get("managedBy").and_then(Value::as_str) else { return FieldErrors::new() };
    let mut errors = FieldErrors::new();
    match manager.split_once('/') {
        _ if manager.is_empty() => errors.push(FieldError::required(path, "")),
        Some((domain, name)) if !domain.is_empty() && !name.is_empty() => {
            errors.extend(Form::Subdomain.check(path, domain));
            let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
            if !name.bytes().all(is_right) {
                let detail = format!("Invalid path (regex used for validation is '{PATH}')");
                errors.push(FieldError::invalid(path, name, detail));
            }
        }
        _ => {
            let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(FieldError::invalid(path, manager, detail));
        }
    }
    if manager.len() > LONGEST_MANAGER {
        errors.push(FieldError::too_long(path, LONGEST_MANAGER));
    }
    errors
}

/// Whether pods of a job are told apart, and what goes with that.
fn mode(path: &str, spec: &Value) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mode = spec.get("completionMode").and_then(Value::as_str);
    let mut errors = FieldErrors::new();
    match mode {
        Some("Indexed") => errors.extend(indexed(path, spec)),
        None | Some("NonIndexed") => {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                let given = number(spec, field);
                let refuse =
                    |given: i64| FieldError::invalid(at(field), given, "requires indexed completion mode");
                errors.extend(given.map(refuse));
            }
        }
        Some(other) => {
            errors.push(FieldError::not_supported(at("completionMode"), other, &["NonIndexed", "Indexed"]));
        }
    }
    errors
}

fn indexed(path: &str, spec: &Value) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = FieldErrors::new();
    let [completions, parallel, failed] =
        ["completions", "parallelism", "maxFailedIndexes"].map(|field| number(spec, field));
    if completions.is_none() {
        errors.push(FieldError::required(at("completions"), "when completion mode is Indexed"));
    }
    let mut bound = |field: &str, given: Option<i64>, most: i64, detail: String| {
        if let Some(given) = given.filter(|given| *given > most) {
            errors.push(FieldError::invalid(at(field), given, detail));
        }
    };
    let parallel_detail =
        format!("must be less than or equal to {MOST_PARALLEL_INDEXED} when completion mode is Indexed");
    bound("parallelism", parallel, MOST_PARALLEL_INDEXED, parallel_detail);
    if let Some(completions) = completions {
        bound(
            "maxFailedIndexes",
            failed,
            completions,
            "must be less than or equal to completions".to_owned(),
        );
    }
    let failed_detail = format!("must be less than or equal to {MOST_FAILED_INDEXES}");
    bound("maxFailedIndexes", failed, MOST_FAILED_INDEXES, failed_detail);
    let is_huge = completions.is_some_and(|completions| completions > MANY_COMPLETIONS);
    if is_huge && number(spec, "backoffLimitPerIndex").is_some() {
        let detail = format!(
            "must be less than or equal to {MOST_OF_MANY} when completions are above {MANY_COMPLETIONS} and used with backoff limit per index"
        );
        if failed.is_none() {
            let detail = format!("must be specified when completions is above {MANY_COMPLETIONS}");
            errors.push(FieldError::required(at("maxFailedIndexes"), detail));
        }
        for (field, given) in [("parallelism", parallel), ("maxFailedIndexes", failed)] {
            if let Some(given) = given.filter(|given| *given > MOST_OF_MANY) {
                errors.push(FieldError::invalid(at(field), given, detail.clone()));
            }
        }
    }
    errors
}

fn success(path: &str, policy: &Value, spec: &Value) -> FieldErrors {
    if spec.get("completionMode").and_then(Value::as_str) == Some("Indexed") {
        return policies::success(path, policy, number(spec, "completions").unwrap_or(0));
    }
    let rule = |rule: &Value| {
        let part = |field: &str| rule.get(field).unwrap_or(&Value::Null);
        format!(
            r#"{{"SucceededIndexes":{},"SucceededCount":{}}}"#,
            part("succeededIndexes"),
            part("succeededCount")
        )
    };
    let rules = policy.get("rules").and_then(Value::as_array);
    let rules = rules.map(|rules| rules.iter().map(rule).collect::<Vec<_>>().join(","));
    let shown = rules.map_or_else(|| "null".to_owned(), |rules| format!("[{rules}]"));
    let detail = "requires indexed completion mode";
    let error = FieldError::invalid(path, json!(policy), detail);
    [error.showing(format!(r#"{{"Rules":{shown}}}"#))].into()
}

/// When pods that end are replaced.
fn replacement(path: &str, spec: &Value) -> FieldErrors {
    let Some(policy) = spec.get("podReplacementPolicy").and_then(Value::as_str) else {
        return FieldErrors::new();
    };
    let by_failure = spec.get("podFailurePolicy").is_some_and(|policy| !policy.is_null());
    let supported = if by_failure { &["Failed"][..] } else { &["Failed", "TerminatingOrFailed"] };
    if supported.contains(&policy) {
        return FieldErrors::new();
    }
    [FieldError::not_supported(path, policy, supported)].into()
}

/// Pods of a job end.
fn restart(path: &str, spec: &Value) -> FieldErrors {
    let by_failure = spec.get("podFailurePolicy").is_some_and(|policy| !policy.is_null());
    let policy = spec["template"]["spec"]["restartPolicy"].as_str().unwrap_or_default();
    let error = match policy {
        "" | "Always" => FieldError::required(path, r#"valid values: "OnFailure", "Never""#),
        "OnFailure" if by_failure => {
            let detail = r#"only "Never" is supported when podFailurePolicy is specified"#;
            FieldError::invalid(path, policy, detail)
        }
        "OnFailure" | "Never" => return FieldErrors::new(),
        _ => FieldError::not_supported(path, policy, &["OnFailure", "Never"]),
    };
    [error].into()
}
