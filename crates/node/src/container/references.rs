//! Which ConfigMaps and Secrets a pod refers to, and the copies the agent holds of them.

use crate::pod::local::LocalPod;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A kind of object that pods read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum SourceKind {
    ConfigMap,
    Secret,
}

/// One object in the pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SourceRef {
    pub(crate) kind: SourceKind,
    pub(crate) name: String,
}

/// The copies held of what a pod refers to; what does not exist is absent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) config_maps: BTreeMap<String, Arc<ConfigMap>>,
    pub(crate) secrets: BTreeMap<String, Arc<Secret>>,
}

/// Everything `pod` refers to, in volumes, environments and for the pulling of its images.
pub(crate) fn references(pod: &LocalPod) -> BTreeSet<SourceRef> {
    let mut found = BTreeSet::new();
    let mut config_map = |name: Option<&str>| {
        found.extend(name.map(|name| SourceRef { kind: SourceKind::ConfigMap, name: name.into() }));
    };
    for container in &pod.containers {
        for from in container.spec.env_from.iter().flatten() {
            config_map(from.config_map_ref.as_ref().map(|r| r.name.as_str()));
        }
        for value in container.spec.env.iter().flatten().filter_map(|env| env.value_from.as_ref()) {
            config_map(value.config_map_key_ref.as_ref().map(|r| r.name.as_str()));
        }
    }
    for volume in pod.spec.volumes.iter().flatten() {
        config_map(volume.config_map.as_ref().map(|r| r.name.as_str()));
        for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            config_map(source.config_map.as_ref().map(|r| r.name.as_str()));
        }
    }
    let mut secret = |name: Option<&str>| {
        found.extend(name.map(|name| SourceRef { kind: SourceKind::Secret, name: name.into() }));
    };
    for container in &pod.containers {
        for from in container.spec.env_from.iter().flatten() {
            secret(from.secret_ref.as_ref().map(|r| r.name.as_str()));
        }
        for value in container.spec.env.iter().flatten().filter_map(|env| env.value_from.as_ref()) {
            secret(value.secret_key_ref.as_ref().map(|r| r.name.as_str()));
        }
    }
    for reference in pod.spec.image_pull_secrets.iter().flatten() {
        secret(Some(reference.name.as_str()).filter(|name| !name.is_empty()));
    }
    for volume in pod.spec.volumes.iter().flatten() {
        secret(volume.secret.as_ref().and_then(|r| r.secret_name.as_deref()));
        for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            secret(source.secret.as_ref().map(|r| r.name.as_str()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod;

    #[test]
    fn volumes_and_environments_are_searched() {
        let pod = pod(r#"{"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {
                "imagePullSecrets": [{"name": "s5"}, {}],
                "containers": [{"name": "c",
                  "envFrom": [{"configMapRef": {"name": "m1"}}, {"secretRef": {"name": "s1"}}],
                  "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s2", "key": "k"}}},
                          {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "m2", "key": "k"}}}]}],
                "volumes": [{"name": "v", "secret": {"secretName": "s3"}},
                            {"name": "w", "projected": {"sources": [{"configMap": {"name": "m3"}}, {"secret": {"name": "s4"}}]}},
                            {"name": "x", "configMap": {"name": "m1"}}]}}"#);
        let names: Vec<String> = references(&pod).into_iter().map(|r| r.name).collect();
        assert_eq!(names, ["m1", "m2", "m3", "s1", "s2", "s3", "s4", "s5"]);
    }
}
