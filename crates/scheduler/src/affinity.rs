//! Node selectors: which nodes a pod asks for by their labels.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};

use skiff_machinery::selector::{LabelOperator, LabelRequirement};

use crate::model::Labels;

/// Whether the node satisfies a pod's `nodeSelector` and required node affinity. The node agent asks the same of a
/// pod that was bound to it.
pub fn required(
    selector: &BTreeMap<String, String>,
    affinity: Option<&NodeAffinity>,
    node_name: &str,
    labels: &BTreeMap<String, String>,
) -> bool {
    selects(selector, labels)
        && affinity.is_none_or(|affinity| NodeRules::of(affinity).allow(node_name, labels))
}

/// Whether one of the selector's terms selects the node.
pub(crate) fn selected(selector: &NodeSelector, node_name: &str, labels: &Labels) -> bool {
    selector.node_selector_terms.iter().any(|term| NodeTerm::of(term).matches(node_name, labels))
}

/// Whether the labels are all there.
pub(crate) fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// A `NodeAffinity`, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeRules {
    /// Of these one must be satisfied, if there are any rules.
    required: Option<Vec<NodeTerm>>,
    /// Terms with what they are worth.
    preferred: Vec<(i64, NodeTerm)>,
}

impl NodeRules {
    pub(crate) fn of(affinity: &NodeAffinity) -> Self {
        let required = affinity.required_during_scheduling_ignored_during_execution.as_ref();
        let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        Self {
            required: required.map(|rules| rules.node_selector_terms.iter().map(NodeTerm::of).collect()),
            preferred: preferred
                .map(|term| (i64::from(term.weight), NodeTerm::of(&term.preference)))
                .collect(),
        }
    }

    /// Whether every node is allowed.
    pub(crate) fn allow_all(&self) -> bool {
        self.required.is_none()
    }

    /// Whether the node satisfies what is required.
    pub(crate) fn allow(&self, node_name: &str, labels: &Labels) -> bool {
        let terms = self.required.as_ref();
        terms.is_none_or(|terms| terms.iter().any(|term| term.matches(node_name, labels)))
    }

    /// The sum of the weights of the preferences that the node satisfies.
    pub(crate) fn liking(&self, node_name: &str, labels: &Labels) -> i64 {
        let satisfied = self.preferred.iter().filter(|(_, term)| term.matches(node_name, labels));
        satisfied.map(|(weight, _)| weight).sum()
    }

    /// The names of the nodes that alone are allowed, if every term names some; none if the names contradict each other.
    pub(crate) fn names(&self) -> Option<BTreeSet<&str>> {
        let terms = self.required.as_ref().filter(|terms| !terms.is_empty())?;
        let mut names = BTreeSet::new();
        for term in terms {
            names.extend(term.names()?);
        }
        Some(names)
    }
}

/// A term: all of its requirements must hold.
#[derive(Clone, Debug, PartialEq)]
struct NodeTerm {
    labels: Vec<LabelRequirement>,
    fields: Vec<LabelRequirement>,
    /// Whether something is required, and all of it understood; else nothing is selected.
    selects: bool,
}

impl NodeTerm {
    fn of(term: &NodeSelectorTerm) -> Self {
        let said = |list: &Option<Vec<NodeSelectorRequirement>>| {
            let said = list.as_deref().unwrap_or(&[]);
            let read: Vec<LabelRequirement> =
                said.iter().filter_map(|requirement| LabelRequirement::try_from(requirement).ok()).collect();
            (said.len(), read)
        };
        let ((expressions, labels), (names, fields)) =
            (said(&term.match_expressions), said(&term.match_fields));
        let understood = labels.len() == expressions && fields.len() == names;
        Self { selects: understood && expressions + names > 0, labels, fields }
    }

    fn matches(&self, node_name: &str, labels: &Labels) -> bool {
        let label = |key: &str| labels.get(key).map(String::as_str);
        let field = |key: &str| (key == NAME).then_some(node_name);
        self.selects
            && self.labels.iter().all(|requirement| requirement.matches(label(&requirement.key)))
            && self.fields.iter().all(|requirement| requirement.matches(field(&requirement.key)))
    }

    fn names(&self) -> Option<BTreeSet<&str>> {
        let named = self.fields.iter().filter(|requirement| requirement.key == NAME);
        let lists = named.filter_map(|requirement| match &requirement.operator {
            LabelOperator::In(values) => Some(values.iter().map(String::as_str).collect()),
            _ => None,
        });
        lists.reduce(|one: BTreeSet<&str>, other| one.intersection(&other).copied().collect())
    }
}

/// The only field of nodes that a term can speak of.
const NAME: &str = "metadata.name";

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
    fn terms_that_name_nodes_say_which() {
        let name = |operator: &str, names: &[&str]| json!({"matchFields": [{"key": "metadata.name", "operator": operator, "values": names}]});
        let names = |terms: Value| {
            let affinity =
                json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
            let rules = NodeRules::of(&serde_json::from_value(affinity).unwrap());
            rules.names().map(|names| names.into_iter().collect::<Vec<_>>().join(","))
        };
        assert_eq!(names(json!([name("In", &["a", "b"]), name("In", &["c"])])), Some("a,b,c".to_owned()));
        assert_eq!(names(json!([name("In", &["a"]), name("NotIn", &["c"])])), None);
        let mut both = name("In", &["a", "b"]);
        both["matchFields"]
            .as_array_mut()
            .unwrap()
            .extend(name("In", &["b", "c"])["matchFields"].as_array().unwrap().clone());
        assert_eq!(names(json!([both])), Some("b".to_owned()));
        assert_eq!(names(json!([])), None);
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
