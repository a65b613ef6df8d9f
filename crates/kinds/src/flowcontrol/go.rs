//! Specs as errors of Kubernetes show them: its own types in JSON, with every field, in their order.

use serde_json::Value;

use super::{number, part};
use crate::shared::go::{list, object, optional, plain, text};

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
