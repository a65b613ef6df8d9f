//! Labels of nodes that were called otherwise once, and those who still ask for them.

use serde_json::Value;
use skiff_machinery::cells::str_of;

const NODE_LABELS: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

/// What is to be said of a label's key, if it is an old one.
pub(crate) fn deprecation(key: &str) -> Option<&'static str> {
    NODE_LABELS.into_iter().find(|(label, _)| *label == key).map(|(_, text)| text)
}

/// The warnings of the `matchExpressions` of a term about nodes at a path.
pub(crate) fn in_expressions(path: &str, term: &Value) -> Vec<String> {
    let expressions = term.get("matchExpressions").and_then(Value::as_array).into_iter().flatten();
    let warnings = expressions.enumerate().filter_map(|(index, expression)| {
        let key = str_of(expression, "key");
        Some(format!("{path}.matchExpressions[{index}].key: {key} is {}", deprecation(key)?))
    });
    warnings.collect()
}
