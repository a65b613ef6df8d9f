//! `matchLabelKeys` and `mismatchLabelKeys` (KEP-3633, KEP-3243): a new pod's own values of these labels become part of the
//! selectors beside them, so that whoever reads the selectors need not know of the keys.

use serde_json::{Map, Value, json};

type Labels<'a> = Option<&'a Map<String, Value>>;

/// Completes the selectors in the affinities and spread constraints of `spec`, for a pod with these labels.
pub(super) fn complete(spec: &mut Map<String, Value>, labels: Labels<'_>) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let rules = spec.get_mut("affinity").and_then(|affinity| affinity.get_mut(kind));
        let Some(rules) = rules.and_then(Value::as_object_mut) else { continue };
        let required = items(rules.get_mut("requiredDuringSchedulingIgnoredDuringExecution"));
        required.for_each(|term| selector(term, labels));
        let preferred = items(rules.get_mut("preferredDuringSchedulingIgnoredDuringExecution"));
        preferred.filter_map(|one| one.get_mut("podAffinityTerm")).for_each(|term| selector(term, labels));
    }
    items(spec.get_mut("topologySpreadConstraints")).for_each(|constraint| selector(constraint, labels));
}

fn items(list: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    list.and_then(Value::as_array_mut).into_iter().flatten()
}

/// A term without a selector selects nothing, whatever its keys.
fn selector(term: &mut Value, labels: Labels<'_>) {
    let mut further = Vec::new();
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in term.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if let Some(value) = labels.and_then(|labels| labels.get(key)) {
                further.push(json!({"key": key, "operator": operator, "values": [value]}));
            }
        }
    }
    let Some(selector) = term.get_mut("labelSelector").and_then(Value::as_object_mut) else { return };
    if further.is_empty() {
        return;
    }
    match selector.get_mut("matchExpressions").and_then(Value::as_array_mut) {
        Some(expressions) => expressions.extend(further),
        None => drop(selector.insert("matchExpressions".into(), further.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_the_pod_become_part_of_the_selectors() {
        let term = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "matchLabelKeys": ["hash", "absent"],
                          "mismatchLabelKeys": ["tenant"]});
        let mut spec = json!({
            "affinity": {"podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [term, {"matchLabelKeys": ["hash"]}],
                "preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": term}],
            }},
            "topologySpreadConstraints": [{"labelSelector": {}, "matchLabelKeys": ["hash"]}],
        });
        let labels = json!({"hash": "1", "tenant": "a", "app": "web"});
        complete(spec.as_object_mut().unwrap(), labels.as_object());
        let (own, other) = (
            json!({"key": "hash", "operator": "In", "values": ["1"]}),
            json!({"key": "tenant", "operator": "NotIn", "values": ["a"]}),
        );
        let rules = &spec["affinity"]["podAntiAffinity"];
        let required = &rules["requiredDuringSchedulingIgnoredDuringExecution"];
        assert_eq!(required[0]["labelSelector"]["matchExpressions"], json!([own, other]));
        assert_eq!(required[1], json!({"matchLabelKeys": ["hash"]}));
        let preferred = &rules["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"];
        assert_eq!(preferred["labelSelector"], required[0]["labelSelector"]);
        let spread = &spec["topologySpreadConstraints"][0]["labelSelector"];
        assert_eq!(*spread, json!({"matchExpressions": [own]}));
    }
}
