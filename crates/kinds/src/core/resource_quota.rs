//! ResourceQuota: what all objects of a namespace may use together.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{self, age, age_column, name_column, str_of, strings, text};
use skiff_machinery::quantity::Quantity;
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy,
    Subresource,
};
use skiff_ordered::Ordered as _;
use skiff_schema::Schema;

use super::resources::{amounts, check_quota, is_quota_resource};
use crate::groups::CORE;
use crate::row::stored;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Request", "What is used and may be used, but for limits."),
            text("Limit", "What the limits come to and may come to."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        ..stored(schema, CORE, "io.k8s.api.core.v1.ResourceQuota", Scope::Namespaced, QuotaStrategy)
            .short(&["quota"])
            .below(&[Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let used = object.get(&["status", "used"]);
    let used = |name: &str| amounts(used).find(|(known, _)| *known == name).map(|(_, amount)| amount);
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (name, hard) in amounts(object.get(&["status", "hard"])) {
        let list = if name.starts_with("limits.") { &mut limits } else { &mut requests };
        list.push(format!("{name}: {}/{hard}", used(name).unwrap_or(Quantity::from(0))));
    }
    cells::row([object.name().into(), requests.join(", ").into(), limits.join(", ").into(), age(object, now)])
}

/// What is special about quotas.
struct QuotaStrategy;

impl Strategy for QuotaStrategy {
    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    /// Nothing is counted yet.
    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        object.set(&["status"], serde_json::Map::new());
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = check_quota("spec.hard", object.get(&["spec", "hard"]));
        errors.extend(check_scopes(object));
        errors.extend(check_selector(object));
        errors
    }

    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = self.validate(cx, new);
        let [before, after] = [old, new].map(|quota| strings(quota, &["spec", "scopes"]));
        if before.iter().to_set() != after.iter().to_set() {
            errors.push(FieldError::invalid("spec.scopes", after, "field is immutable"));
        }
        errors
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, _: &Object) -> FieldErrors {
        let mut errors = check_quota("status.hard", new.get(&["status", "hard"]));
        errors.extend(check_quota("status.used", new.get(&["status", "used"])));
        errors
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        if old.is_some() { Vec::new() } else { requests_above_limits(new) }
    }

    fn answers_deleted(&self) -> bool {
        true
    }
}

fn requests_above_limits(quota: &Object) -> Vec<String> {
    let hard = || amounts(quota.get(&["spec", "hard"]));
    let find = |wanted: &str| hard().find(|(name, _)| *name == wanted);
    let warning = |resource: &&str| {
        let plain = matches!(*resource, "cpu" | "memory").then(|| find(resource)).flatten();
        let (name, request) = find(&format!("requests.{resource}")).or(plain)?;
        let (limit_name, limit) = find(&format!("limits.{resource}"))?;
        (request.nanos() > limit.nanos())
            .then(|| format!("ResourceQuota {name} ({request}) should be less than {limit_name} ({limit})"))
    };
    ["cpu", "memory", "storage", "ephemeral-storage"].iter().filter_map(warning).collect()
}

const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// Scopes that exclude each other.
const OPPOSITES: [[&str; 2]; 2] = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];

/// Whether objects of a scope use the resource.
fn is_used_in(scope: &str, resource: &str) -> bool {
    let of_containers = matches!(
        resource,
        "cpu" | "memory" | "limits.cpu" | "limits.memory" | "requests.cpu" | "requests.memory"
    );
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ if SCOPES.contains(&scope) => resource == "pods" || of_containers,
        _ => true,
    }
}

/// How often a resource of the quota is none that objects of the scope use.
fn unused_in<'a>(quota: &'a Object, scope: &'a str) -> impl Iterator<Item = ()> + 'a {
    let names = amounts(quota.get(&["spec", "hard"])).map(|(name, _)| name);
    names.filter(move |name| is_quota_resource(name) && !is_used_in(scope, name)).map(drop)
}

fn opposites(scopes: &BTreeSet<&str>) -> usize {
    OPPOSITES.iter().filter(|pair| pair.iter().all(|scope| scopes.contains(scope))).count()
}

fn check_scopes(quota: &Object) -> FieldErrors {
    let scopes = strings(quota, &["spec", "scopes"]);
    let refuse = |why: &str| FieldError::invalid("spec.scopes", scopes.clone(), why);
    let mut errors = FieldErrors::new();
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            errors.push(refuse("unsupported scope"));
        }
        errors.extend(unused_in(quota, scope).map(|()| refuse("unsupported scope applied to resource")));
    }
    let set = scopes.iter().copied().collect();
    errors.extend((0..opposites(&set)).map(|_| refuse("conflicting scopes")));
    errors
}

fn check_selector(quota: &Object) -> FieldErrors {
    const PATH: &str = "spec.scopeSelector.matchExpressions";
    let expressions = cells::items(quota, &["spec", "scopeSelector", "matchExpressions"]);
    let mut errors = FieldErrors::new();
    for expression in expressions {
        let scope = str_of(expression, "scopeName");
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(format!("{PATH}.scopeName"), scope, "unsupported scope"));
        }
        let refuse = |()| FieldError::invalid(PATH, selector(quota), "unsupported scope applied to resource");
        errors.extend(unused_in(quota, scope).map(refuse));
        errors.extend(check_operator(PATH, scope, expression));
    }
    let set = expressions.iter().map(|expression| str_of(expression, "scopeName")).collect();
    let scopes = strings(quota, &["spec", "scopes"]);
    let refuse = |_| FieldError::invalid(PATH, scopes.clone(), "conflicting scopes");
    errors.extend((0..opposites(&set)).map(refuse));
    errors
}

fn check_operator(path: &str, scope: &str, expression: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let (operator, at) = (str_of(expression, "operator"), format!("{path}.operator"));
    let has_values = SCOPES.contains(&scope) && matches!(scope, "PriorityClass" | "VolumeAttributesClass");
    if SCOPES.contains(&scope) && !has_values && operator != "Exists" {
        let why = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.push(FieldError::invalid(at.as_str(), operator, why));
    }
    let values = expression.get("values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.push(FieldError::required(format!("{path}.values"), why));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.push(FieldError::invalid(format!("{path}.values"), values.to_vec(), why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => errors.push(FieldError::invalid(at, operator, "not a valid selector operator")),
    }
    errors
}

/// A selector as errors show it: by the names of Go's fields.
fn selector(quota: &Object) -> Value {
    let expressions = cells::items(quota, &["spec", "scopeSelector", "matchExpressions"]);
    let shown = expressions.iter().map(|expression| {
        let values = expression.get("values").cloned().unwrap_or_default();
        let (scope, operator) = (str_of(expression, "scopeName"), str_of(expression, "operator"));
        json!({"ScopeName": scope, "Operator": operator, "Values": values})
    });
    json!({"MatchExpressions": shown.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    fn quota(spec: Value) -> Object {
        object(json!({"metadata": {"name": "x"}, "spec": spec}))
    }

    #[test]
    fn scopes_fit_each_other_and_what_is_counted() {
        let check = |spec: Value, expected: &[&str]| {
            let errors = with_context(|cx| QuotaStrategy.validate(cx, &quota(spec.clone())));
            assert_eq!(texts(errors), expected, "{spec}");
        };
        let scoped = |scopes: Value, name: &str| json!({"hard": {name: "1"}, "scopes": scopes});
        check(scoped(json!(["NotTerminating", "NotBestEffort"]), "cpu"), &[]);
        check(scoped(json!(["Odd"]), "pods"), &[r#"spec.scopes: Invalid value: ["Odd"]: unsupported scope"#]);
        check(
            scoped(json!(["Terminating"]), "configmaps"),
            &[r#"spec.scopes: Invalid value: ["Terminating"]: unsupported scope applied to resource"#],
        );
        check(
            scoped(json!(["BestEffort", "NotBestEffort"]), "pods"),
            &[r#"spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes"#],
        );
        let selected = |expression: Value| json!({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [expression]}});
        check(selected(json!({"scopeName": "PriorityClass", "operator": "In", "values": ["a"]})), &[]);
        check(
            selected(json!({"scopeName": "PriorityClass", "operator": "In"})),
            &[
                "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ],
        );
        let errors = with_context(|cx| {
            let spec = selected(json!({"scopeName": "BestEffort", "operator": "Like"}));
            QuotaStrategy.validate(cx, &quota(spec))
        });
        let errors = texts(errors);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].contains("\"Like\": must be 'Exists' when"), "{errors:?}");
        assert!(errors[1].ends_with("not a valid selector operator"), "{errors:?}");
    }

    #[test]
    fn scopes_do_not_change() {
        let check = |before: Value, after: Value, expected: &[&str]| {
            let [old, new] = [before, after].map(|scopes| quota(json!({"scopes": scopes})));
            assert_eq!(texts(with_context(|cx| QuotaStrategy.validate_update(cx, &new, &old))), expected);
        };
        check(json!(["BestEffort"]), json!(["BestEffort"]), &[]);
        check(
            json!(["BestEffort"]),
            json!(["Terminating"]),
            &[r#"spec.scopes: Invalid value: ["Terminating"]: field is immutable"#],
        );
    }

    #[test]
    fn a_limit_below_its_request_is_warned_of() {
        let warnings = |hard: Value| QuotaStrategy.warnings(&quota(json!({"hard": hard})), None);
        assert!(warnings(json!({"requests.cpu": "1", "limits.cpu": "1"})).is_empty());
        assert_eq!(
            warnings(json!({"cpu": "2", "limits.cpu": "1"})),
            ["ResourceQuota cpu (2) should be less than limits.cpu (1)"]
        );
    }

    #[test]
    fn a_row_shows_what_is_used() {
        let status = json!({"hard": {"pods": "5", "limits.cpu": "1", "cpu": "1"}, "used": {"pods": "2", "cpu": "500m"}});
        let quota = object(json!({"metadata": {"name": "x"}, "status": status}));
        let cells = print(&quota, Timestamp::UNIX_EPOCH).cells;
        assert_eq!((&cells[1], &cells[2]), (&json!("cpu: 500m/1, pods: 2/5"), &json!("limits.cpu: 0/1")));
    }
}
