//! ClusterRoles that are the sum of others.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use serde::Deserialize;
use skiff_machinery::selector::LabelSelector;

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
    cluster_role_selectors: Option<Vec<v1::LabelSelector>>,
}

impl Role {
    /// Its own rules.
    pub(super) fn rules(&self) -> &[Rule] {
        self.rules.as_deref().unwrap_or_default()
    }

    /// What its aggregation takes in: roles that one of these selects. One that cannot be understood selects nothing.
    fn selectors(&self) -> Vec<LabelSelector> {
        let selectors = self.aggregation_rule.iter().flat_map(|a| a.cluster_role_selectors.iter().flatten());
        selectors.filter_map(|selector| LabelSelector::try_from(selector).ok()).collect()
    }

    /// Its labels.
    fn labels(&self) -> BTreeMap<&str, &str> {
        let labels = self.metadata.labels.iter().flatten();
        labels.map(|(key, value)| (key.as_str(), value.as_str())).collect()
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
    let mut rules: Vec<Rule> = Vec::new();
    let mut seen = BTreeSet::from([name]);
    let mut open = vec![name];
    while let Some(role) = open.pop().and_then(|name| roles.get(name)) {
        let selectors = role.selectors();
        for (other, source) in roles {
            let labels = source.labels();
            if !selectors.iter().any(|selector| selector.matches(&labels)) || !seen.insert(other) {
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
