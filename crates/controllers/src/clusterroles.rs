//! Gives each ClusterRole that aggregates others their rules; that is what authorisation goes by.
//!
//! Source: Kubernetes' page on RBAC, "Aggregated ClusterRoles".

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use skiff_informer::{Next, ObjectKey, Queue, is_not_found};
use skiff_machinery::selector::LabelSelector;
use skiff_ordered::Ordered as _;

use crate::environment::{Controller, Environment};
use crate::informers::Informers;

const NAME: &str = "clusterrole-aggregation-controller";

/// A role whose rules could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the rules of ClusterRole {role}")]
struct Error {
    role: String,
    source: kube::Error,
}

/// Subscribes to ClusterRoles and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let (informers, shutdown) = (environment.informers.clone(), environment.shutdown.clone());
    let queue = environment.vitals.queue("clusterroles");
    let (wake, all) = (queue.clone(), informers.clone());
    informers.cluster_roles.subscribe(move |_| wake_aggregating(&all, &wake));
    let client = environment.client(NAME);
    Box::pin(async move {
        informers.cluster_roles.synced().await;
        wake_aggregating(&informers, &queue);
        queue.run(1, &shutdown, |key| reconcile(&client, &informers, key)).await;
    })
}

/// Any role may be part of any that aggregates, and there are few of these.
fn wake_aggregating(informers: &Informers, queue: &Queue<ObjectKey>) {
    let roles = informers.cluster_roles.all();
    let aggregating = roles.iter().filter(|role| role.aggregation_rule.is_some());
    aggregating.for_each(|role| queue.add(ObjectKey::cluster(&role.name_any())));
}

async fn reconcile(client: &Client, informers: &Informers, key: ObjectKey) -> Result<Next, Error> {
    let Some(role) = informers.cluster_roles.get(&key) else { return Ok(Next::Done) };
    let Some(rules) = plan(&role, &informers.cluster_roles.all()) else { return Ok(Next::Done) };
    let rules = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": key.name()}, "rules": rules,
    });
    let api = Api::<ClusterRole>::all(client.clone());
    match api.patch(key.name(), &PatchParams::apply(NAME).force(), &Patch::Apply(rules)).await {
        Err(error) if !is_not_found(&error) => Err(Error { role: key.name().to_owned(), source: error }),
        _ => Ok(Next::Done),
    }
}

/// The rules that a role shall have, each once; `None` if it has them, or does not aggregate.
fn plan(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Option<Vec<PolicyRule>> {
    let selectors = role.aggregation_rule.as_ref()?.cluster_role_selectors.iter().flatten();
    let mut others: Vec<&ClusterRole> =
        all.iter().map(AsRef::as_ref).filter(|other| other.name_any() != role.name_any()).collect();
    skiff_ordered::sort_by_key(&mut others, |other| other.name_any());
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in selectors {
        for rule in others
            .iter()
            .filter(|other| selects(selector, other))
            .flat_map(|other| other.rules.iter().flatten())
        {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    (role.rules.as_deref().unwrap_or_default() != rules).then_some(rules)
}

/// Whether a role is selected; a selector that cannot be understood selects nothing.
fn selects(selector: &v1::LabelSelector, role: &ClusterRole) -> bool {
    let labels = role.labels().iter().map(|(key, value)| (key.as_str(), value.as_str())).to_map();
    LabelSelector::try_from(selector).is_ok_and(|selector| selector.matches(&labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn role(value: Value) -> ClusterRole {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_role_has_the_rules_of_those_it_selects() {
        let rule = |resource: &str| json!({"apiGroups": [""], "resources": [resource], "verbs": ["get"]});
        let part = |name: &str, label: &str, rules: Value| {
            Arc::new(role(json!({"metadata": {"name": name, "labels": {"to": label}}, "rules": rules})))
        };
        let sum = role(json!({"metadata": {"name": "sum", "labels": {"to": "sum"}}, "rules": [rule("old")],
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "sum"}}]}}));
        let all = [
            part("b", "sum", json!([rule("pods"), rule("nodes")])),
            part("a", "sum", json!([rule("services"), rule("pods")])),
            part("c", "other", json!([rule("secrets")])),
            Arc::new(sum.clone()),
        ];
        let planned = plan(&sum, &all).unwrap();
        let resources: Vec<&str> =
            planned.iter().map(|rule| rule.resources.as_ref().unwrap()[0].as_str()).collect();
        assert_eq!(resources, ["services", "pods", "nodes"]);
        let right = ClusterRole { rules: Some(planned), ..sum };
        assert_eq!(plan(&right, &all), None);
        assert_eq!(plan(&all[0], &all), None);
    }

    #[test]
    fn selectors_may_have_expressions() {
        let labelled = role(json!({"metadata": {"name": "x", "labels": {"a": "1"}}}));
        let check = |expression: Value, expected: bool| {
            let selector = serde_json::from_value(json!({"matchExpressions": [expression]})).unwrap();
            assert_eq!(selects(&selector, &labelled), expected, "{expression}");
        };
        check(json!({"key": "a", "operator": "In", "values": ["1"]}), true);
        check(json!({"key": "a", "operator": "NotIn", "values": ["1"]}), false);
        check(json!({"key": "b", "operator": "DoesNotExist"}), true);
        check(json!({"key": "b", "operator": "Exists"}), false);
    }
}
