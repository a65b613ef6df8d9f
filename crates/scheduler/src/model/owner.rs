//! Pods of one kind: those of a Service, or of one ReplicationController, ReplicaSet or StatefulSet. By these they are spread where they
//! do not say how.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::Pod;
use skiff_informer::ObjectKey;
use skiff_machinery::selector::LabelSelector;
use skiff_ordered::Ordered as _;

use super::Labels;

/// The kinds of owners whose pods are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OwnerKind {
    ReplicationController,
    ReplicaSet,
    StatefulSet,
}

/// What made a pod, in the pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub kind: OwnerKind,
    pub name: String,
}

impl Owner {
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let mut references = pod.metadata.owner_references.iter().flatten();
        let owner = references.find(|reference| reference.controller == Some(true))?;
        let kind = match (owner.api_version.as_str(), owner.kind.as_str()) {
            ("v1", "ReplicationController") => OwnerKind::ReplicationController,
            ("apps/v1", "ReplicaSet") => OwnerKind::ReplicaSet,
            ("apps/v1", "StatefulSet") => OwnerKind::StatefulSet,
            _ => return None,
        };
        Some(Self { kind, name: owner.name.clone() })
    }
}

/// What Services and owners select.
#[derive(Debug, Default)]
pub(crate) struct Selectors {
    /// By namespace, then by the Service's name; only of those that select something.
    services: HashMap<String, BTreeMap<String, Labels>>,
    owners: HashMap<OwnerKind, HashMap<ObjectKey, LabelSelector>>,
}

impl Selectors {
    pub(crate) fn set_service(&mut self, key: &ObjectKey, selector: Option<&Labels>) {
        match selector {
            Some(selector) => {
                let services = self.services.entry(key.namespace().to_owned()).or_default();
                services.insert(key.name().to_owned(), selector.clone());
            }
            None => {
                if let Some(services) = self.services.get_mut(key.namespace()) {
                    services.remove(key.name());
                    if services.is_empty() {
                        self.services.remove(key.namespace());
                    }
                }
            }
        }
    }

    pub(crate) fn set_owner(&mut self, kind: OwnerKind, key: &ObjectKey, selector: Option<&LabelSelector>) {
        let owners = self.owners.entry(kind).or_default();
        match selector {
            Some(selector) => drop(owners.insert(key.clone(), selector.clone())),
            None => drop(owners.remove(key)),
        }
    }

    /// Selects the pods that belong together with one of these labels: what its Services and its owner select all at once. Nothing
    /// is known of the pod if that is everything.
    pub(crate) fn of_pod(&self, namespace: &str, labels: &Labels, owner: Option<&Owner>) -> LabelSelector {
        let services = self.services.get(namespace).into_iter().flat_map(BTreeMap::values);
        let matching =
            services.filter(|selector| selector.iter().all(|(key, value)| labels.get(key) == Some(value)));
        let merged: Labels = matching.flatten().map(|(key, value)| (key.clone(), value.clone())).one_by_one();
        let mut requirements = LabelSelector::all_of(merged).requirements().to_vec();
        let owned = owner
            .and_then(|owner| self.owners.get(&owner.kind)?.get(&ObjectKey::new(namespace, &owner.name)));
        requirements.extend(owned.into_iter().flat_map(|selector| selector.requirements().iter().cloned()));
        LabelSelector::of(requirements)
    }
}
