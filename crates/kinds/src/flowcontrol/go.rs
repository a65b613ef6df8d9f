//! Specs as errors of Kubernetes show them: its own types in JSON, with every field, in their order.

use serde_json::{Value, json};
use skiff_machinery::cells::str_of;

use super::common::{number, part};

/// An object of these fields.
fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, text)| format!("{name:?}:{text}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn text(value: &Value, field: &str) -> String {
    json!(str_of(value, field)).to_string()
}

/// A field as it is; null when it is absent.
fn plain(value: &Value, field: &str) -> String {
    value.get(field).unwrap_or(&Value::Null).to_string()
}

/// An object that may be missing.
fn optional(value: &Value, field: &str, show: impl Fn(&Value) -> String) -> String {
    part(value, field).map_or_else(|| "null".to_owned(), show)
}

fn list(value: &Value, field: &str, show: impl Fn(&Value) -> String) -> String {
    match value.get(field).and_then(Value::as_array) {
        None => "null".to_owned(),
        Some(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(",")),
    }
}

fn named(value: &Value) -> String {
    object(&[("Name", text(value, "name"))])
}

/// A distinguisher method.
pub(super) fn method(method: &Value) -> String {
    object(&[("Type", text(method, "type"))])
}

fn subject(subject: &Value) -> String {
    let account = |account: &Value| {
        object(&[("Namespace", text(account, "namespace")), ("Name", text(account, "name"))])
    };
    object(&[
        ("Kind", text(subject, "kind")),
        ("User", optional(subject, "user", named)),
        ("Group", optional(subject, "group", named)),
        ("ServiceAccount", optional(subject, "serviceAccount", account)),
    ])
}

fn rule(rule: &Value) -> String {
    let resources = |rule: &Value| {
        let is_global = rule.get("clusterScope").and_then(Value::as_bool).unwrap_or_default();
        object(&[
            ("Verbs", plain(rule, "verbs")),
            ("APIGroups", plain(rule, "apiGroups")),
            ("Resources", plain(rule, "resources")),
            ("ClusterScope", is_global.to_string()),
            ("Namespaces", plain(rule, "namespaces")),
        ])
    };
    let others = |rule: &Value| {
        object(&[("Verbs", plain(rule, "verbs")), ("NonResourceURLs", plain(rule, "nonResourceURLs"))])
    };
    object(&[
        ("Subjects", list(rule, "subjects", subject)),
        ("ResourceRules", list(rule, "resourceRules", resources)),
        ("NonResourceRules", list(rule, "nonResourceRules", others)),
    ])
}

/// The spec of a FlowSchema.
pub(super) fn flow_schema(spec: &Value) -> String {
    let level = part(spec, "priorityLevelConfiguration").unwrap_or(&Value::Null);
    object(&[
        ("PriorityLevelConfiguration", named(level)),
        ("MatchingPrecedence", number(spec, "matchingPrecedence").to_string()),
        ("DistinguisherMethod", optional(spec, "distinguisherMethod", method)),
        ("Rules", list(spec, "rules", rule)),
    ])
}

/// The spec of a PriorityLevelConfiguration.
pub(super) fn priority_level(spec: &Value) -> String {
    let queuing = |queuing: &Value| {
        object(&[
            ("Queues", number(queuing, "queues").to_string()),
            ("HandSize", number(queuing, "handSize").to_string()),
            ("QueueLengthLimit", number(queuing, "queueLengthLimit").to_string()),
        ])
    };
    let limited = |limited: &Value| {
        let response = part(limited, "limitResponse").unwrap_or(&Value::Null);
        let response =
            object(&[("Type", text(response, "type")), ("Queuing", optional(response, "queuing", queuing))]);
        object(&[
            ("NominalConcurrencyShares", number(limited, "nominalConcurrencyShares").to_string()),
            ("LimitResponse", response),
            ("LendablePercent", plain(limited, "lendablePercent")),
            ("BorrowingLimitPercent", plain(limited, "borrowingLimitPercent")),
        ])
    };
    let exempt = |exempt: &Value| {
        object(&[
            ("NominalConcurrencyShares", plain(exempt, "nominalConcurrencyShares")),
            ("LendablePercent", plain(exempt, "lendablePercent")),
        ])
    };
    object(&[
        ("Type", text(spec, "type")),
        ("Limited", optional(spec, "limited", limited)),
        ("Exempt", optional(spec, "exempt", exempt)),
    ])
}
