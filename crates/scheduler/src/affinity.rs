//! Node selectors: which nodes a pod asks for by their labels.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};

use skiff_machinery::selector::LabelRequirement;

use crate::model::{NodeInfo, Pending};

/// Whether the node satisfies a pod's `nodeSelector` and required node affinity. The node agent asks the same of a
/// pod that was bound to it.
pub fn required(
    selector: &BTreeMap<String, String>,
    affinity: Option<&NodeAffinity>,
    node_name: &str,
    labels: &BTreeMap<String, String>,
) -> bool {
    let selected = selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    let rules = affinity.and_then(|rules| rules.required_during_scheduling_ignored_during_execution.as_ref());
    selected && rules.is_none_or(|rules| self::selected(rules, node_name, labels))
}

/// Whether one of the selector's terms selects the node.
pub(crate) fn selected(selector: &NodeSelector, node_name: &str, labels: &BTreeMap<String, String>) -> bool {
    selector.node_selector_terms.iter().any(|term| matches(term, node_name, labels))
}

/// The sum of the weights of the preferences that the node satisfies.
pub(crate) fn preferred(pod: &Pending, node: &NodeInfo) -> i64 {
    let terms = pod.affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
    let fits = |term: &NodeSelectorTerm| matches(term, &node.name, &node.labels);
    terms.filter(|term| fits(&term.preference)).map(|term| i64::from(term.weight)).sum()
}

/// Whether the node satisfies every requirement of `term`; a term without requirements selects nothing.
fn matches(term: &NodeSelectorTerm, node_name: &str, labels: &BTreeMap<String, String>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or(&[]);
    let fields = term.match_fields.as_deref().unwrap_or(&[]);
    let label = |key: &str| labels.get(key).map(String::as_str);
    let field = |key: &str| (key == "metadata.name").then_some(node_name);
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|requirement| holds(requirement, label))
        && fields.iter().all(|requirement| holds(requirement, field))
}

/// Whether a requirement holds; one that cannot be understood never does.
fn holds<'v>(requirement: &NodeSelectorRequirement, value: impl Fn(&str) -> Option<&'v str>) -> bool {
    let read = LabelRequirement::try_from(requirement);
    read.is_ok_and(|requirement| requirement.matches(value(&requirement.key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(terms: Value) -> bool {
        let labels = [("zone", "a"), ("cores", "8")].map(|(key, value)| (key.into(), value.into())).into();
        let affinity =
            json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
        let affinity: NodeAffinity = serde_json::from_value(affinity).unwrap();
        required(&BTreeMap::new(), Some(&affinity), "n1", &labels)
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
        json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}])
    }

    #[test]
    fn operators() {
        assert!(check(expression("zone", "In", &["a", "b"])));
        assert!(!check(expression("zone", "In", &["b"])));
        assert!(check(expression("zone", "NotIn", &["b"])));
        assert!(check(expression("other", "NotIn", &["b"])));
        assert!(check(expression("zone", "Exists", &[])));
        assert!(check(expression("other", "DoesNotExist", &[])));
        assert!(check(expression("cores", "Gt", &["7"])));
        assert!(!check(expression("cores", "Lt", &["8"])));
        assert!(!check(expression("zone", "Gt", &["1"])));
    }

    #[test]
    fn terms_are_alternatives_and_an_empty_one_selects_nothing() {
        assert!(!check(json!([])));
        assert!(!check(json!([{}])));
        let fields = |name: &str| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]});
        assert!(check(json!([fields("n2"), fields("n1")])));
        assert!(!check(json!([fields("n2")])));
    }
}
