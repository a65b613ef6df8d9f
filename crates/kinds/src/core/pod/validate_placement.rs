//! Checks of where a pod may run: affinities and spread constraints.

use k8s_openapi::api::core::v1::{
    Affinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm,
    TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use serde_json::json;

use crate::shared::check::one_of_optional;
use skiff_machinery::names::Form;
use skiff_machinery::selector;
use skiff_machinery::{FieldError, FieldErrors};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Checks affinities at `path`.
pub(super) fn affinity(path: &str, affinity: Option<&Affinity>) -> FieldErrors {
    let Some(affinity) = affinity else { return FieldErrors::new() };
    let mut errors = FieldErrors::new();
    if let Some(node) = &affinity.node_affinity {
        let path = format!("{path}.nodeAffinity");
        if let Some(selector) = &node.required_during_scheduling_ignored_during_execution {
            errors.extend(node_selector(&format!("{path}.{REQUIRED}"), selector, Values::Checked));
        }
        let preferred = node.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        for (index, one) in preferred.enumerate() {
            let path = format!("{path}.{PREFERRED}[{index}]");
            errors.extend(weight(&path, one.weight));
            errors.extend(term(&format!("{path}.preference"), &one.preference, Values::Free));
        }
    }
    if let Some(pods) = &affinity.pod_affinity {
        let (required, preferred) = (
            &pods.required_during_scheduling_ignored_during_execution,
            &pods.preferred_during_scheduling_ignored_during_execution,
        );
        errors.extend(pod_terms(&format!("{path}.podAffinity"), required.as_deref(), preferred.as_deref()));
    }
    if let Some(pods) = &affinity.pod_anti_affinity {
        let (required, preferred) = (
            &pods.required_during_scheduling_ignored_during_execution,
            &pods.preferred_during_scheduling_ignored_during_execution,
        );
        errors.extend(pod_terms(
            &format!("{path}.podAntiAffinity"),
            required.as_deref(),
            preferred.as_deref(),
        ));
    }
    errors
}

/// Checks a selector of nodes at `path`.
pub(crate) fn node_selector(path: &str, selector: &NodeSelector, values: Values) -> FieldErrors {
    let path = format!("{path}.nodeSelectorTerms");
    let mut errors = FieldErrors::new();
    if selector.node_selector_terms.is_empty() {
        errors.push(FieldError::required(path.clone(), "must have at least one node selector term"));
    }
    for (index, one) in selector.node_selector_terms.iter().enumerate() {
        errors.extend(term(&format!("{path}[{index}]"), one, values));
    }
    errors
}

fn weight(path: &str, weight: i32) -> FieldErrors {
    if (1..=100).contains(&weight) {
        return FieldErrors::new();
    }
    [FieldError::invalid(format!("{path}.weight"), weight, "must be in the range 1-100")].into()
}

/// Whether the values of a term have to be such as labels can have. A preference that nothing meets does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// They have to.
    Checked,
    /// They need not.
    Free,
}

fn term(path: &str, term: &NodeSelectorTerm, values: Values) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (index, one) in term.match_expressions.iter().flatten().enumerate() {
        errors.extend(expression(&format!("{path}.matchExpressions[{index}]"), one, values));
    }
    for (index, one) in term.match_fields.iter().flatten().enumerate() {
        errors.extend(field(&format!("{path}.matchFields[{index}]"), one));
    }
    errors
}

fn expression(path: &str, requirement: &NodeSelectorRequirement, checked: Values) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let values = requirement.values.as_deref().unwrap_or_default();
    let mut errors = FieldErrors::new();
    match (requirement.operator.as_str(), values.len()) {
        ("In" | "NotIn", 0) => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(at("values"), detail));
        }
        ("Exists" | "DoesNotExist", 1..) => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(at("values"), detail));
        }
        ("Gt" | "Lt", 0 | 2..) => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(FieldError::required(at("values"), detail));
        }
        ("In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt", _) => {}
        (operator, _) => {
            errors.push(FieldError::invalid(at("operator"), operator, "not a valid selector operator"));
        }
    }
    errors.extend(Form::QualifiedName.check(&at("key"), &requirement.key));
    if checked == Values::Checked {
        for (index, value) in values.iter().enumerate() {
            errors.extend(Form::LabelValue.check(&format!("{path}.values[{index}]"), value));
        }
    }
    errors
}

/// A requirement on a field of the node: its name is the only one.
fn field(path: &str, requirement: &NodeSelectorRequirement) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let values = requirement.values.as_deref().unwrap_or_default();
    let mut errors = FieldErrors::new();
    match (requirement.operator.as_str(), values.len()) {
        ("In" | "NotIn", 1) => {}
        ("In" | "NotIn", _) => {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.push(FieldError::required(at("values"), detail));
        }
        (operator, _) => {
            errors.push(FieldError::invalid(at("operator"), operator, "not a valid selector operator"));
        }
    }
    if requirement.key != "metadata.name" {
        let key = requirement.key.as_str();
        errors.push(FieldError::invalid(at("key"), key, "not a valid field selector key"));
        return errors;
    }
    for (index, value) in values.iter().enumerate() {
        errors.extend(Form::Subdomain.check(&format!("{path}.values[{index}]"), value));
    }
    errors
}

fn pod_terms(
    path: &str,
    required: Option<&[PodAffinityTerm]>,
    preferred: Option<&[WeightedPodAffinityTerm]>,
) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (index, one) in required.into_iter().flatten().enumerate() {
        errors.extend(pod_term(&format!("{path}.{REQUIRED}[{index}]"), one));
    }
    for (index, one) in preferred.into_iter().flatten().enumerate() {
        let path = format!("{path}.{PREFERRED}[{index}]");
        errors.extend(weight(&path, one.weight));
        errors.extend(pod_term(&format!("{path}.podAffinityTerm"), &one.pod_affinity_term));
    }
    errors
}

fn pod_term(path: &str, term: &PodAffinityTerm) -> FieldErrors {
    let mut errors = label_selector(&format!("{path}.labelSelector"), &term.label_selector);
    errors.extend(label_selector(&format!("{path}.namespaceSelector"), &term.namespace_selector));
    for name in term.namespaces.iter().flatten() {
        errors.extend(Form::DnsLabel.check(&format!("{path}.namespace"), name));
    }
    let (own, others) = (term.match_label_keys.as_deref(), term.mismatch_label_keys.as_deref());
    errors.extend(label_keys(
        path,
        own.unwrap_or_default(),
        others.unwrap_or_default(),
        &term.label_selector,
    ));
    errors.extend(topology_key(path, &term.topology_key, "can not be empty"));
    errors
}

fn label_selector(path: &str, selector: &Option<LabelSelector>) -> FieldErrors {
    let selector = selector.as_ref().map(|selector| json!(selector));
    selector.map(|it| selector::validate(path, &it, selector::Values::Checked)).unwrap_or_default()
}

/// Checks `matchLabelKeys` and `mismatchLabelKeys` at `path`. The selector has what was made of them at its end already (see
/// `label_keys.rs`), so a key that it has twice was there before.
fn label_keys(
    path: &str,
    own: &[String],
    others: &[String],
    selector: &Option<LabelSelector>,
) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (field, keys) in [("matchLabelKeys", own), ("mismatchLabelKeys", others)] {
        if !keys.is_empty() && selector.is_none() {
            let detail = "must not be specified when labelSelector is not set";
            errors.push(FieldError::forbidden(format!("{path}.{field}"), detail));
            continue;
        }
        for (index, key) in keys.iter().enumerate() {
            errors.extend(Form::QualifiedName.check(&format!("{path}.{field}[{index}]"), key));
        }
    }
    let mut seen: Vec<&str> =
        selector.iter().flat_map(|s| s.match_labels.iter().flatten()).map(|(key, _)| key.as_str()).collect();
    for expression in selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten()) {
        let index = own.iter().position(|key| *key == expression.key);
        if let Some(index) = index.filter(|_| seen.contains(&expression.key.as_str())) {
            let detail = "exists in both matchLabelKeys and labelSelector";
            errors.push(FieldError::invalid(format!("{path}[{index}]"), expression.key.as_str(), detail));
        }
        seen.push(&expression.key);
    }
    for (index, key) in own.iter().enumerate().filter(|(_, key)| others.contains(key)) {
        let detail = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.push(FieldError::invalid(format!("{path}.matchLabelKeys[{index}]"), key.as_str(), detail));
    }
    errors
}

fn topology_key(path: &str, key: &str, missing: &str) -> FieldErrors {
    let path = format!("{path}.topologyKey");
    let mut errors = FieldErrors::new();
    if key.is_empty() {
        errors.push(FieldError::required(path.clone(), missing));
    }
    errors.extend(Form::QualifiedName.check(&path, key));
    errors
}

/// Checks spread constraints at `path`.
pub(super) fn spread(path: &str, constraints: &[TopologySpreadConstraint]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (index, one) in constraints.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let at = |field: &str| format!("{path}.{field}");
        if one.max_skew <= 0 {
            errors.push(FieldError::invalid(at("maxSkew"), one.max_skew, "must be greater than 0"));
        }
        if one.topology_key.is_empty() {
            errors.push(FieldError::required(at("topologyKey"), "can not be empty"));
        }
        let policies = ["DoNotSchedule", "ScheduleAnyway"];
        errors.extend(one_of_optional(&at("whenUnsatisfiable"), Some(&one.when_unsatisfiable), &policies));
        let kind =
            |one: &TopologySpreadConstraint| (one.topology_key.clone(), one.when_unsatisfiable.clone());
        if constraints[index + 1..].iter().any(|other| kind(other) == kind(one)) {
            let (key, policy) = kind(one);
            let path = at("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(path, format!("{{{key}, {policy}}}")));
        }
        errors.extend(min_domains(&at("minDomains"), one));
        let policies = ["Honor", "Ignore"];
        let (affinity, taints) = (&one.node_affinity_policy, &one.node_taints_policy);
        errors.extend(one_of_optional(&at("nodeAffinityPolicy"), affinity.as_deref(), &policies));
        errors.extend(one_of_optional(&at("nodeTaintsPolicy"), taints.as_deref(), &policies));
        let keys = one.match_label_keys.as_deref().unwrap_or_default();
        errors.extend(label_keys(&path, keys, &[], &one.label_selector));
        errors.extend(label_selector(&at("labelSelector"), &one.label_selector));
    }
    errors
}

fn min_domains(path: &str, constraint: &TopologySpreadConstraint) -> FieldErrors {
    let Some(count) = constraint.min_domains else { return FieldErrors::new() };
    let mut errors = FieldErrors::new();
    if count <= 0 {
        errors.push(FieldError::invalid(path, count, "must be greater than 0"));
    }
    if constraint.when_unsatisfiable != "DoNotSchedule" {
        let detail = format!(
            "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
            constraint.when_unsatisfiable
        );
        errors.push(FieldError::invalid(path, count, detail));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn constraints_are_checked_each_and_together() {
        let check = |constraints: Value, expected: &[&str]| {
            let constraints: Vec<TopologySpreadConstraint> = serde_json::from_value(constraints).unwrap();
            let errors: Vec<String> = spread("s", &constraints).iter().map(ToString::to_string).collect();
            assert_eq!(errors, expected);
        };
        let one =
            json!({"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2});
        check(json!([one]), &[]);
        check(
            json!([one, one]),
            &[r#"s[0].{topologyKey, whenUnsatisfiable}: Duplicate value: "{a, DoNotSchedule}""#],
        );
        check(
            json!([{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2}]),
            &[
                "s[0].maxSkew: Invalid value: 0: must be greater than 0",
                "s[0].topologyKey: Required value: can not be empty",
                "s[0].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
            ],
        );
    }

    #[test]
    fn label_keys_are_names_that_the_selector_does_not_have() {
        let check = |term: Value, expected: &[&str]| {
            let term: PodAffinityTerm = serde_json::from_value(term).unwrap();
            let errors: Vec<String> = pod_term("t", &term).iter().map(ToString::to_string).collect();
            assert_eq!(errors, expected);
        };
        let key = |key: &str| json!({"key": key, "operator": "In", "values": ["v"]});
        let selector = json!({"matchExpressions": [key("a")]});
        check(json!({"topologyKey": "k", "labelSelector": selector, "matchLabelKeys": ["a"]}), &[]);
        check(
            json!({"topologyKey": "k", "matchLabelKeys": ["a"]}),
            &["t.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"],
        );
        check(
            json!({"topologyKey": "k", "matchLabelKeys": ["a"], "mismatchLabelKeys": ["a"],
                   "labelSelector": {"matchLabels": {"a": "w"}, "matchExpressions": [key("a")]}}),
            &[
                r#"t[0]: Invalid value: "a": exists in both matchLabelKeys and labelSelector"#,
                r#"t.matchLabelKeys[0]: Invalid value: "a": exists in both matchLabelKeys and mismatchLabelKeys"#,
            ],
        );
    }

    #[test]
    fn terms_have_operators_values_and_keys() {
        let check = |affinity: Value, expected: &[&str]| {
            let affinity: Affinity = serde_json::from_value(affinity).unwrap();
            let errors: Vec<String> =
                super::affinity("a", Some(&affinity)).iter().map(|error| error.to_string()).collect();
            assert_eq!(errors, expected);
        };
        let required = |terms: Value| json!({"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}});
        let at = "a.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
        check(
            required(json!([])),
            &[&format!("{at}: Required value: must have at least one node selector term")],
        );
        let one = |key: &str, operator: &str, values: Value| {
            required(json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]))
        };
        check(one("k", "In", json!(["v"])), &[]);
        check(
            one("k", "In", json!([])),
            &[&format!(
                "{at}[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
            )],
        );
        check(
            one("k", "Odd", json!([])),
            &[&format!(
                "{at}[0].matchExpressions[0].operator: Invalid value: \"Odd\": not a valid selector operator"
            )],
        );
        check(
            json!({"podAffinity": {PREFERRED: [{"weight": 0, "podAffinityTerm": {"topologyKey": "k"}}]}}),
            &[
                "a.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
            ],
        );
    }
}
