//! ClusterRoles that are the sum of others.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;

use super::Rule;

/// A Role or ClusterRole as stored.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Role {
    metadata: Metadata,
    rules: Option<Vec<Rule>>,
    aggregation_rule: Option<AggregationRule>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AggregationRule {
    cluster_role_selectors: Option<Vec<LabelSelector>>,
}

impl Role {
    /// Its own rules.
    pub(super) fn rules(&self) -> &[Rule] {
        self.rules.as_deref().unwrap_or_default()
    }

    /// Whether its aggregation takes in a role with these labels.
    fn takes_in(&self, labels: &BTreeMap<String, String>) -> bool {
        let selectors = self.aggregation_rule.iter().flat_map(|a| a.cluster_role_selectors.iter().flatten());
        selectors.into_iter().any(|selector| selects(selector, labels))
    }
}

/// The rules of each ClusterRole that aggregates: those of all roles that it takes in, once each. A role
/// that is taken in and aggregates itself (`admin` takes in `edit`, which takes in `view`) stands for
/// those that it takes in.
pub(super) fn aggregate(roles: BTreeMap<&str, &Role>) -> HashMap<String, Vec<Rule>> {
    let aggregating = roles.iter().filter(|(_, role)| role.aggregation_rule.is_some());
    aggregating.map(|(name, _)| ((*name).to_owned(), sum(name, &roles))).collect()
}

fn sum(name: &str, roles: &BTreeMap<&str, &Role>) -> Vec<Rule> {
    let empty = BTreeMap::new();
    let mut rules: Vec<Rule> = Vec::new();
    let mut seen = BTreeSet::from([name]);
    let mut open = vec![name];
    while let Some(role) = open.pop().and_then(|name| roles.get(name)) {
        for (other, source) in roles {
            let labels = source.metadata.labels.as_ref().unwrap_or(&empty);
            if !role.takes_in(labels) || !seen.insert(other) {
                continue;
            }
            if source.aggregation_rule.is_some() {
                open.push(other);
                continue;
            }
            for rule in source.rules() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    rules
}

/// Whether a label selector matches; an empty one matches everything.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let expressions = selector.match_expressions.iter().flatten();
    equal
        && expressions.into_iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            let listed = || requirement.values.iter().flatten().any(|v| Some(v) == value);
            match requirement.operator.as_str() {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}
