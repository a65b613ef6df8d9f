//! Whole requests through both plugins of policies.

mod mutating;
mod validating;

use std::sync::Arc;

use async_trait::async_trait;
use futures::executor::block_on;
use serde_json::{Value, json};
use skiff_audit::Level;
use skiff_machinery::selector::LabelSelector;
use skiff_machinery::{Namespace, Object, Scope};

use super::*;
use crate::attributes::{Attributes, GroupVersionKind, GroupVersionResource, Operation};
use crate::chain::{Chain, Plugin};
use crate::refusal::Refusal;
use crate::testing::{Served, object, request, surroundings};

/// ConfigMaps `default/one` and `default/two`; `Limit`s are of the cluster, and there are none.
struct Stored;

fn config_map(name: &str, most: i64) -> Arc<Object> {
    Arc::new(object(json!({
        "metadata": {"name": name, "namespace": "default", "labels": {"is": name}}, "data": {"most": most},
    })))
}

#[async_trait]
impl Params for Stored {
    fn scope(&self, kind: &GroupVersionKind) -> Option<Scope> {
        match kind.kind.as_str() {
            "ConfigMap" => Some(Scope::Namespaced),
            "Limit" => Some(Scope::Cluster),
            _ => None,
        }
    }

    async fn get(
        &self,
        kind: &GroupVersionKind,
        namespace: Namespace<'_>,
        name: &str,
    ) -> Result<Option<Arc<Object>>, String> {
        let all = self.list(kind, namespace, &LabelSelector::default()).await?;
        Ok(all.into_iter().find(|object| object.name() == name))
    }

    async fn list(
        &self,
        kind: &GroupVersionKind,
        namespace: Namespace<'_>,
        selector: &LabelSelector,
    ) -> Result<Vec<Arc<Object>>, String> {
        if kind.kind != "ConfigMap" || namespace.as_str() != "default" {
            return Ok(Vec::new());
        }
        let all = [config_map("one", 1), config_map("two", 2)];
        Ok(all.into_iter().filter(|object| selector.matches(&object.labels())).collect())
    }
}

/// A policy for pods with this in its `spec`.
fn policy(name: &str, change: Value) -> Object {
    let rule = json!({"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
    let mut spec = json!({"matchConstraints": {"resourceRules": [rule]}});
    merge(&mut spec, &change);
    let mut policy = object(json!({"metadata": {"name": name}, "spec": spec}));
    default_policy(&mut policy);
    policy
}

fn binding(policy: &str, change: Value) -> Arc<Binding> {
    let mut spec = json!({"policyName": policy, "validationActions": ["Deny"]});
    merge(&mut spec, &change);
    let mut binding = object(json!({"metadata": {"name": "b"}, "spec": spec}));
    default_binding(&mut binding);
    Arc::new(Binding::compile(&binding))
}

fn merge(into: &mut Value, change: &Value) {
    change.as_object().unwrap().iter().for_each(|(field, value)| into[field] = value.clone());
}

fn admitted(plugin: Arc<dyn Plugin>, mut attributes: Attributes) -> (Result<(), Refusal>, Attributes) {
    let chain = Chain::new(vec![plugin]);
    let admitted = block_on(chain.admit(&mut attributes));
    let result = admitted.and_then(|()| block_on(chain.validate(&attributes)));
    (result, attributes)
}

fn message(result: Result<(), Refusal>) -> String {
    result.map_or_else(|refusal| refusal.message, |()| String::new())
}
