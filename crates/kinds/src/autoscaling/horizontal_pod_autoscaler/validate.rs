//! Checks of autoscalers, in the words and with the fields of `autoscaling/v2`.

use serde_json::Value;
use skiff_machinery::cells::{int_of, items, str_of};
use skiff_machinery::names::Form;
use skiff_machinery::quantity::Quantity;
use skiff_machinery::{FieldError, FieldErrors, Object};

use crate::core::resources::check_container_name;
use crate::shared::check::none_negative;

const LONGEST_PERIOD: i64 = 1800;
const LONGEST_WINDOW: i64 = 3600;
const METRICS: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];

/// The field that goes with each type of metrics, in the order in which they are looked at.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];

/// Which versions a reference to an object may name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Versions {
    /// One with a group.
    Grouped,
    /// Any that is one.
    Formed,
    /// It was there before.
    Any,
}

pub(super) fn validate(object: &Object, old: Option<&Object>) -> FieldErrors {
    let least = object.int(&["spec", "minReplicas"]);
    let bound = i64::from(old.is_none_or(|old| old.int(&["spec", "minReplicas"]) != Some(0)));
    let mut errors = FieldErrors::new();
    if let Some(least) = least.filter(|least| *least < bound) {
        let detail = format!("must be greater than or equal to {bound}");
        errors.push(FieldError::invalid("spec.minReplicas", least, detail));
    }
    errors.extend(most(object, least));
    let target = object.get(&["spec", "scaleTargetRef"]).unwrap_or(&Value::Null);
    errors.extend(reference("spec.scaleTargetRef", target, target_versions(target, old)));
    errors.extend(metrics(object, least, described_versions(old)));
    for direction in ["scaleUp", "scaleDown"] {
        let rules = object.get(&["spec", "behavior", direction]).filter(|rules| !rules.is_null());
        let path = format!("spec.behavior.{direction}");
        errors.extend(rules.into_iter().flat_map(|rules| self::rules(&path, rules)));
    }
    errors
}

pub(super) fn validate_status(object: &Object) -> FieldErrors {
    none_negative(object, "status", &["currentReplicas", "desiredReplicas"])
}

fn most(object: &Object, least: Option<i64>) -> FieldErrors {
    const PATH: &str = "spec.maxReplicas";
    let most = object.int(&["spec", "maxReplicas"]).unwrap_or(0);
    let mut errors = FieldErrors::new();
    match most {
        0 => errors.push(FieldError::required(PATH, "must be set and greater than 0")),
        ..0 => errors.push(FieldError::invalid(PATH, most, "must be greater than or equal to 1")),
        _ => {}
    }
    if least.is_some_and(|least| most < least) {
        errors.push(FieldError::invalid(PATH, most, "must be greater than or equal to `minReplicas`"));
    }
    errors
}

/// A target of the core group is only one kind, and what was there before is not looked at.
fn target_versions(target: &Value, old: Option<&Object>) -> Versions {
    let before = old.and_then(|old| old.get(&["spec", "scaleTargetRef"]));
    let same = |before: &Value| ["apiVersion", "kind"].iter().all(|f| str_of(before, f) == str_of(target, f));
    match () {
        () if before.is_some_and(same) => Versions::Any,
        () if str_of(target, "kind") == "ReplicationController" => Versions::Formed,
        () => Versions::Grouped,
    }
}

fn described_versions(old: Option<&Object>) -> Versions {
    let metrics = old.map_or(&[][..], |old| items(old, &["spec", "metrics"]));
    let described = metrics.iter().filter(|metric| metric["type"] == "Object");
    let mut versions = described.map(|metric| str_of(&metric["object"]["describedObject"], "apiVersion"));
    if versions.any(|version| !is_version(version)) { Versions::Any } else { Versions::Formed }
}

fn is_version(version: &str) -> bool {
    version.matches('/').count() <= 1
}

fn reference(path: &str, target: &Value, versions: Versions) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for field in ["kind", "name"] {
        let (path, text) = (format!("{path}.{field}"), str_of(target, field));
        match text {
            "" => errors.push(FieldError::required(path, "")),
            text => errors.extend(Form::PathSegment.check(&path, text)),
        }
    }
    let version = str_of(target, "apiVersion");
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let why = match versions {
        Versions::Any => None,
        _ if !is_version(version) => Some(format!("unexpected GroupVersion string: {version}")),
        Versions::Grouped if group.is_empty() => Some("apiVersion must specify API group".to_owned()),
        Versions::Grouped | Versions::Formed => None,
    };
    errors.extend(why.map(|why| FieldError::invalid(format!("{path}.apiVersion"), version, why)));
    errors
}

fn metrics(object: &Object, least: Option<i64>, versions: Versions) -> FieldErrors {
    let metrics = items(object, &["spec", "metrics"]);
    let mut errors = FieldErrors::new();
    for (index, metric) in metrics.iter().enumerate() {
        errors.extend(self::metric(&format!("spec.metrics[{index}]"), metric, versions));
    }
    let mut types = metrics.iter().map(|metric| str_of(metric, "type"));
    if least == Some(0) && !types.any(|of| matches!(of, "Object" | "External")) {
        let detail =
            "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(FieldError::forbidden("spec.metrics", detail));
    }
    errors
}

fn metric(path: &str, metric: &Value, versions: Versions) -> FieldErrors {
    let (type_path, of) = (format!("{path}.type"), str_of(metric, "type"));
    let mut errors = FieldErrors::new();
    if of.is_empty() {
        errors.push(FieldError::required(type_path.as_str(), "must specify a metric source type"));
    }
    let unsupported = || FieldError::not_supported(type_path.as_str(), of, &METRICS);
    let is_known = METRICS.contains(&of);
    if !is_known {
        errors.push(unsupported());
    }
    let part = |field: &str| metric.get(field).filter(|part| !part.is_null());
    let present: Vec<&str> =
        SOURCES.iter().map(|(_, field)| *field).filter(|field| part(field).is_some()).collect();
    if let Some((first, part)) = present.first().and_then(|first| Some((first, part(first)?))) {
        errors.extend(source(&format!("{path}.{first}"), first, part, versions));
    }
    let expected = SOURCES.iter().find(|(name, _)| *name == of).map_or("", |(_, field)| *field);
    if !is_known {
        errors.push(unsupported());
    } else if part(expected).is_none() {
        let detail = "must populate information for the given metric source";
        errors.push(FieldError::required(format!("{path}.{expected}"), detail));
    }
    if present.len() != 1 {
        let detail = "must populate the given metric source only";
        let others = present.into_iter().filter(|field| *field != expected);
        errors.extend(others.map(|field| FieldError::forbidden(format!("{path}.{field}"), detail)));
    }
    errors
}

fn source(path: &str, field: &str, source: &Value, versions: Versions) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = FieldErrors::new();
    match field {
        "object" => errors.extend(reference(&at("describedObject"), &source["describedObject"], versions)),
        "resource" | "containerResource" => {
            let name = str_of(source, "name");
            if name.is_empty() {
                errors.push(FieldError::required(at("name"), "must specify a resource name"));
            } else if field == "containerResource" {
                errors.extend(check_container_name(&at("name"), name));
            }
        }
        _ => {}
    }
    if field == "containerResource" {
        match str_of(source, "container") {
            "" => errors.push(FieldError::required(at("container"), "must specify a container")),
            container => errors.extend(Form::DnsLabel.check(&at("container"), container)),
        }
    }
    if matches!(field, "object" | "external" | "pods") {
        match str_of(&source["metric"], "name") {
            "" => errors.push(FieldError::required(at("metric.name"), "must specify a metric name")),
            name => errors.extend(Form::PathSegment.check(&at("metric.name"), name)),
        }
    }
    let target = &source["target"];
    errors.extend(self::target(&at("target"), target));
    errors.extend(one_target(path, field, target));
    errors
}

fn target(path: &str, target: &Value) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = FieldErrors::new();
    let of = str_of(target, "type");
    if of.is_empty() {
        errors.push(FieldError::required(at("type"), "must specify a metric target type"));
    }
    if !matches!(of, "Utilization" | "Value" | "AverageValue") {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(at("type"), of, detail));
    }
    for field in ["value", "averageValue"] {
        let amount = target.get(field).and_then(amount);
        if let Some((text, _)) = amount.filter(|(_, amount)| amount.nanos() <= 0) {
            errors.push(FieldError::invalid(at(field), text, "must be positive"));
        }
    }
    if let Some(share) = target["averageUtilization"].as_i64().filter(|share| *share < 1) {
        errors.push(FieldError::invalid(at("averageUtilization"), share, "must be greater than 0"));
    }
    errors
}

fn amount(value: &Value) -> Option<(String, Quantity)> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let amount = text.parse().ok()?;
    Some((text, amount))
}

/// What is to be reached is said, and once.
fn one_target(path: &str, field: &str, target: &Value) -> FieldErrors {
    let has = |field: &str| target.get(field).is_some_and(|value| !value.is_null());
    let (value, average, share) = (has("value"), has("averageValue"), has("averageUtilization"));
    let required = |at: &str, detail: &str| FieldError::required(format!("{path}.target.{at}"), detail);
    let forbidden = |at: &str, detail: &str| FieldError::forbidden(format!("{path}.target.{at}"), detail);
    let error = match field {
        "object" if !value && !average => {
            required("averageValue", "must set either a target value or averageValue")
        }
        "external" if !value && !average => {
            required("averageValue", "must set either a target value for metric or a per-pod target")
        }
        "external" if value && average => {
            forbidden("value", "may not set both a target value for metric and a per-pod target")
        }
        "pods" if !average => required("averageValue", "must specify a positive target averageValue"),
        "resource" | "containerResource" if !share && !average => {
            required("averageUtilization", "must set either a target raw value or a target utilization")
        }
        "resource" | "containerResource" if share && average => {
            forbidden("averageValue", "may not set both a target raw value and a target utilization")
        }
        _ => return FieldErrors::new(),
    };
    [error].into()
}

/// How fast it goes.
fn rules(path: &str, rules: &Value) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = FieldErrors::new();
    if let Some(window) = rules["stabilizationWindowSeconds"].as_i64() {
        let detail = match window {
            ..0 => "must be greater than or equal to zero".to_owned(),
            window if window > LONGEST_WINDOW => format!("must be less than or equal to {LONGEST_WINDOW}"),
            _ => String::new(),
        };
        if !detail.is_empty() {
            errors.push(FieldError::invalid(at("stabilizationWindowSeconds"), window, detail));
        }
    }
    let choices = ["Disabled", "Max", "Min"];
    if let Some(choice) = rules["selectPolicy"].as_str().filter(|choice| !choices.contains(choice)) {
        errors.push(FieldError::not_supported(at("selectPolicy"), choice, &choices));
    }
    let policies = rules["policies"].as_array().map_or(&[][..], Vec::as_slice);
    if policies.is_empty() {
        errors.push(FieldError::required(at("policies"), "must specify at least one Policy"));
    }
    for (index, policy) in policies.iter().enumerate() {
        errors.extend(self::policy(&format!("{path}.policies[{index}]"), policy));
    }
    let tolerance = rules.get("tolerance").and_then(amount);
    if let Some((text, _)) = tolerance.filter(|(_, amount)| amount.nanos() < 0) {
        errors.push(FieldError::invalid(at("tolerance"), text, "must be greater than or equal to 0"));
    }
    errors
}

fn policy(path: &str, policy: &Value) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = FieldErrors::new();
    let (of, types) = (str_of(policy, "type"), ["Percent", "Pods"]);
    if !types.contains(&of) {
        errors.push(FieldError::not_supported(at("type"), of, &types));
    }
    let period = int_of(policy, "periodSeconds");
    for (field, number) in [("value", int_of(policy, "value")), ("periodSeconds", period)] {
        if number <= 0 {
            errors.push(FieldError::invalid(at(field), number, "must be greater than zero"));
        }
    }
    if period > LONGEST_PERIOD {
        let detail = format!("must be less than or equal to {LONGEST_PERIOD}");
        errors.push(FieldError::invalid(at("periodSeconds"), period, detail));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts};
    use serde_json::json;

    fn check(changes: Value, old: Option<Value>, expected: &[&str]) {
        let made = |changes: &Value| {
            let mut spec = json!({
                "maxReplicas": 3, "minReplicas": 1,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}],
            });
            spec.as_object_mut().unwrap().extend(changes.as_object().cloned().unwrap());
            object(json!({"spec": spec}))
        };
        let old = old.map(|changes| made(&changes));
        assert_eq!(texts(validate(&made(&changes), old.as_ref())), expected, "{changes}");
    }

    #[test]
    fn targets_are_named_with_their_group() {
        let target = |version: &str, kind: &str| json!({"scaleTargetRef": {"apiVersion": version, "kind": kind, "name": "d"}});
        let refused =
            r#"spec.scaleTargetRef.apiVersion: Invalid value: "v1": apiVersion must specify API group"#;
        check(target("v1", "Foo"), None, &[refused]);
        check(target("v1", "Foo"), Some(target("v1", "Foo")), &[]);
        check(target("v1", "ReplicationController"), None, &[]);
        check(
            target("a/b/c", "Foo"),
            None,
            &[
                r#"spec.scaleTargetRef.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c"#,
            ],
        );
    }

    #[test]
    fn metrics_have_what_their_type_says() {
        let metrics = |metric: Value| json!({"metrics": [metric]});
        let pods =
            |target: Value| json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": target}});
        check(metrics(pods(json!({"type": "AverageValue", "averageValue": "1"}))), None, &[]);
        check(
            metrics(pods(json!({"type": "Value", "value": "0"}))),
            None,
            &[
                r#"spec.metrics[0].pods.target.value: Invalid value: "0": must be positive"#,
                "spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue",
            ],
        );
        check(
            metrics(json!({"type": "Pods"})),
            None,
            &["spec.metrics[0].pods: Required value: must populate information for the given metric source"],
        );
        check(
            json!({"minReplicas": 0}),
            Some(json!({"minReplicas": 0})),
            &[
                "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas",
            ],
        );
    }
}
