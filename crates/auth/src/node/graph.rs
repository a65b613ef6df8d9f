//! Which node runs which pods, and what those pods refer to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;
use skiff_machinery::Namespace;
use skiff_store::Model;

/// A namespaced kind of object that pods refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Referent {
    Secret,
    ConfigMap,
    Claim,
    ServiceAccount,
}

/// What is known of a pod that is bound to a node.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PodFacts {
    pub(crate) uid: String,
    /// For whom tokens in its volumes are; the empty name stands for the API server.
    audiences: BTreeSet<String>,
    refers_to: BTreeSet<(Referent, String)>,
}

impl PodFacts {
    /// Whether a volume of the pod has a token for this audience in it.
    pub(crate) fn has_token_for(&self, audience: &str) -> bool {
        self.audiences.contains(audience)
    }
}

/// Namespace and name.
type Id = (String, String);

/// The pods of every node.
#[derive(Default)]
pub(crate) struct NodeGraph {
    pods: HashMap<String, BTreeMap<Id, PodFacts>>,
    node_of: HashMap<Id, String>,
}

impl NodeGraph {
    /// The pod, if it is bound to the node.
    pub(crate) fn pod(&self, node: &str, namespace: Namespace<'_>, name: &str) -> Option<&PodFacts> {
        self.pods.get(node)?.get(&(namespace.as_str().to_owned(), name.to_owned()))
    }

    /// Whether a pod bound to the node refers to an object.
    pub(crate) fn refers(&self, node: &str, kind: Referent, namespace: Namespace<'_>, name: &str) -> bool {
        let wanted = (kind, name.to_owned());
        let start = (namespace.as_str().to_owned(), String::new());
        let Some(pods) = self.pods.get(node) else { return false };
        let mut here = pods.range(start..).take_while(|((ns, _), _)| ns == namespace.as_str());
        here.any(|(_, pod)| pod.refers_to.contains(&wanted))
    }
}

impl Model for NodeGraph {
    const PREFIX: &'static str = "/registry/core/pods/";

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn put(&mut self, key: &str, value: &[u8]) {
        self.remove(key);
        let Some(id) = parse_key(key) else { return };
        match serde_json::from_slice::<Pod>(value) {
            Ok(pod) => {
                // A mirror pod stands for what the node decided to run: it gives no access to anything.
                let mirror = pod.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(MIRROR));
                if let Some(node) = pod.spec.node_name.clone().filter(|node| !node.is_empty() && !mirror) {
                    self.node_of.insert(id.clone(), node.clone());
                    self.pods.entry(node).or_default().insert(id, pod.facts());
                }
            }
            Err(error) => tracing::error!(key, %error, "cannot read a pod; its node gets no access for it"),
        }
    }

    fn remove(&mut self, key: &str) {
        let Some(id) = parse_key(key) else { return };
        let Some(node) = self.node_of.remove(&id) else { return };
        if let Some(pods) = self.pods.get_mut(&node) {
            pods.remove(&id);
            if pods.is_empty() {
                self.pods.remove(&node);
            }
        }
    }
}

fn parse_key(key: &str) -> Option<Id> {
    let (namespace, name) = key.strip_prefix(NodeGraph::PREFIX)?.split_once('/')?;
    Some((namespace.to_owned(), name.to_owned()))
}

/// Marks pods that a node made known itself.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";

/// A list that may be absent or null.
type List<T> = Option<Vec<T>>;

/// The parts of a pod that name other objects.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    uid: String,
    annotations: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    service_account_name: Option<String>,
    image_pull_secrets: List<Name>,
    containers: List<Container>,
    init_containers: List<Container>,
    ephemeral_containers: List<Container>,
    volumes: List<Volume>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Name {
    name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    env: List<Variable>,
    env_from: List<Source>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Variable {
    value_from: Option<Source>,
}

/// Every way in which an environment entry or a projected volume names a Secret or ConfigMap.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Source {
    secret_key_ref: Option<Name>,
    config_map_key_ref: Option<Name>,
    secret_ref: Option<Name>,
    config_map_ref: Option<Name>,
    secret: Option<Name>,
    config_map: Option<Name>,
    service_account_token: Option<Token>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Token {
    audience: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Volume {
    name: String,
    secret: Option<SecretVolume>,
    config_map: Option<Name>,
    projected: Option<Projected>,
    persistent_volume_claim: Option<Claim>,
    ephemeral: Option<serde::de::IgnoredAny>,
    csi: Option<Csi>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SecretVolume {
    secret_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Projected {
    sources: List<Source>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Claim {
    claim_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Csi {
    node_publish_secret_ref: Option<Name>,
}

impl Pod {
    fn facts(self) -> PodFacts {
        let audiences = self.spec.volumes.iter().flatten().flat_map(Volume::audiences).collect();
        let mut refers_to = BTreeSet::new();
        let mut add = |kind, name: Option<String>| {
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                refers_to.insert((kind, name));
            }
        };
        let Spec { image_pull_secrets, containers, init_containers, ephemeral_containers, .. } = self.spec;
        add(Referent::ServiceAccount, self.spec.service_account_name);
        for secret in image_pull_secrets.into_iter().flatten() {
            add(Referent::Secret, secret.name);
        }
        for container in [containers, init_containers, ephemeral_containers].into_iter().flatten().flatten() {
            let variables = container.env.into_iter().flatten().filter_map(|variable| variable.value_from);
            for source in variables.chain(container.env_from.into_iter().flatten()) {
                source.names(&mut add);
            }
        }
        for volume in self.spec.volumes.into_iter().flatten() {
            volume.names(&self.metadata.name, &mut add);
        }
        PodFacts { uid: self.metadata.uid, audiences, refers_to }
    }
}

impl Source {
    fn names(self, add: &mut impl FnMut(Referent, Option<String>)) {
        for name in [self.secret_key_ref, self.secret_ref, self.secret].into_iter().flatten() {
            add(Referent::Secret, name.name);
        }
        for name in [self.config_map_key_ref, self.config_map_ref, self.config_map].into_iter().flatten() {
            add(Referent::ConfigMap, name.name);
        }
    }
}

impl Volume {
    /// For whom the tokens in it are.
    fn audiences(&self) -> impl Iterator<Item = String> {
        let sources = self.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        let tokens = sources.filter_map(|source| source.service_account_token.as_ref());
        tokens.map(|token| token.audience.clone().unwrap_or_default())
    }

    fn names(self, pod: &str, add: &mut impl FnMut(Referent, Option<String>)) {
        // The claim that is made for such a volume has a name of both.
        add(Referent::Claim, self.ephemeral.map(|_| format!("{pod}-{}", self.name)));
        add(Referent::Secret, self.secret.and_then(|secret| secret.secret_name));
        add(
            Referent::Secret,
            self.csi.and_then(|csi| csi.node_publish_secret_ref).and_then(|name| name.name),
        );
        add(Referent::ConfigMap, self.config_map.and_then(|map| map.name));
        add(Referent::Claim, self.persistent_volume_claim.and_then(|claim| claim.claim_name));
        for source in self.projected.into_iter().flat_map(|projected| projected.sources.into_iter().flatten())
        {
            source.names(add);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// Node `n1` runs pod `default/p` (UID `u1`), which refers to one object in every way.
    pub(in crate::node) fn example() -> NodeGraph {
        let mut graph = NodeGraph::default();
        let pod = json!({
            "metadata": {"name": "p", "namespace": "default", "uid": "u1", "annotations": null},
            "spec": {
                "nodeName": "n1",
                "serviceAccountName": "sa",
                "imagePullSecrets": [{"name": "pull"}],
                "initContainers": [{"envFrom": [{"secretRef": {"name": "from"}}]}],
                "containers": [{
                    "env": [
                        {"name": "A", "value": "x"},
                        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "keys", "key": "k"}}},
                    ],
                    "envFrom": null,
                }],
                "volumes": [
                    {"name": "1", "secret": {"secretName": "volume"}},
                    {"name": "2", "projected": {"sources": [
                        {"serviceAccountToken": {"path": "token"}},
                        {"serviceAccountToken": {"path": "vault", "audience": "vault"}},
                        {"configMap": {"name": "kube-root-ca.crt"}},
                    ]}},
                    {"name": "3", "persistentVolumeClaim": {"claimName": "claim"}},
                    {"name": "4", "emptyDir": {}},
                    {"name": "5", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
                ],
            },
        });
        graph.put("/registry/core/pods/default/p", pod.to_string().as_bytes());
        graph
    }

    #[test]
    fn references_are_found_wherever_they_are() {
        let graph = example();
        let check = |kind, name: &str| {
            assert!(graph.refers("n1", kind, Namespace::new("default"), name), "{kind:?} {name}");
            assert!(!graph.refers("n2", kind, Namespace::new("default"), name));
            assert!(!graph.refers("n1", kind, Namespace::new("other"), name));
        };
        check(Referent::Secret, "pull");
        check(Referent::Secret, "from");
        check(Referent::Secret, "volume");
        check(Referent::ConfigMap, "keys");
        check(Referent::ConfigMap, "kube-root-ca.crt");
        check(Referent::Claim, "claim");
        check(Referent::Claim, "p-5");
        assert!(!graph.refers("n1", Referent::Claim, Namespace::new("default"), "p-4"));
        check(Referent::ServiceAccount, "sa");
        assert!(!graph.refers("n1", Referent::ConfigMap, Namespace::new("default"), "pull"));
    }

    #[test]
    fn a_removed_pod_gives_no_access() {
        let mut graph = example();
        graph.remove("/registry/core/pods/default/p");
        assert!(graph.pod("n1", Namespace::new("default"), "p").is_none());
        assert!(!graph.refers("n1", Referent::Secret, Namespace::new("default"), "pull"));
        assert!(graph.pods.is_empty() && graph.node_of.is_empty());
    }
}
