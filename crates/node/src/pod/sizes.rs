//! The resources of a pod, which may change while it runs: those that its specification asks for, those that the node
//! has granted, and those that its control groups have.

use super::local::{LocalPod, Role};
use crate::quantity::Amounts;
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::{Deserialize, Serialize};
use skiff_ordered::Ordered as _;
use std::collections::BTreeMap;

/// The resources that can change.
pub(crate) const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// The requests and limits of a pod and of its containers, but for ephemeral ones, which have none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sizes {
    /// Those of the pod as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<ResourceRequirements>,
    /// By name of the container.
    pub(crate) containers: BTreeMap<String, ResourceRequirements>,
}

impl Sizes {
    /// What a pod asks for.
    pub(crate) fn of(pod: &LocalPod) -> Self {
        let containers = pod.containers.iter().filter(|container| container.role != Role::Ephemeral);
        let named = |container: &super::local::LocalContainer| {
            (container.name.to_string(), container.spec.resources.clone().unwrap_or_default())
        };
        Self { pod: pod.spec.resources.clone(), containers: containers.map(named).one_by_one() }
    }

    /// The pod with these resources instead of its own. A container without an entry keeps its own.
    pub(crate) fn applied(&self, mut pod: LocalPod) -> LocalPod {
        pod.spec.resources.clone_from(&self.pod);
        for container in &mut pod.containers {
            if let Some(resources) = self.containers.get(container.name.as_str()) {
                container.spec.resources = Some(resources.clone());
            }
        }
        pod
    }

    /// Whether these are what a pod has, however it is written.
    pub(crate) fn are_of(&self, pod: &LocalPod) -> bool {
        let none = ResourceRequirements::default();
        let mut containers = pod.containers.iter().filter(|container| container.role != Role::Ephemeral);
        let own = |container: &super::local::LocalContainer| self.containers.get(container.name.as_str());
        same(self.pod.as_ref().unwrap_or(&none), pod.spec.resources.as_ref().unwrap_or(&none))
            && containers.all(|container| {
                let resources = container.spec.resources.as_ref().unwrap_or(&none);
                own(container).is_some_and(|own| same(own, resources))
            })
    }

    /// Whether these are the same amounts, however they are written.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let none = ResourceRequirements::default();
        same(self.pod.as_ref().unwrap_or(&none), other.pod.as_ref().unwrap_or(&none))
            && self.containers.len() == other.containers.len()
            && self
                .containers
                .iter()
                .all(|(name, own)| other.containers.get(name).is_some_and(|other| same(own, other)))
    }
}

/// Whether requests and limits are the same amounts.
pub(crate) fn same(one: &ResourceRequirements, other: &ResourceRequirements) -> bool {
    same_amounts(one.requests.as_ref(), other.requests.as_ref())
        && same_amounts(one.limits.as_ref(), other.limits.as_ref())
}

fn same_amounts(one: Option<&Amounts>, other: Option<&Amounts>) -> bool {
    let (none, count) = (Amounts::new(), |amounts: Option<&Amounts>| amounts.map_or(0, Amounts::len));
    let other_of = |name: &String| other.unwrap_or(&none).get(name);
    count(one) == count(other)
        && one.into_iter().flatten().all(|(name, amount)| exact(Some(amount)) == exact(other_of(name)))
}

/// An amount for comparison; nothing when it cannot be read.
pub(crate) fn exact(amount: Option<&Quantity>) -> Option<i128> {
    Some(amount?.0.parse::<skiff_quantity::Quantity>().ok()?.nanos())
}

/// Whether an amount of a resource that can change, request or limit, is another; an absent one is zero.
pub(crate) fn differs(one: &ResourceRequirements, other: &ResourceRequirements, resource: &str) -> bool {
    let of = |amounts: &Option<Amounts>| exact(amounts.as_ref().and_then(|a| a.get(resource))).unwrap_or(0);
    of(&one.requests) != of(&other.requests) || of(&one.limits) != of(&other.limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    fn sizes(resources: &str) -> Sizes {
        Sizes::of(&pod_of(&format!(r#"{{"containers": [{{"name": "c", "resources": {resources}}}]}}"#)))
    }

    #[test]
    fn amounts_are_compared_and_not_their_text() {
        let check = |one: &str, other: &str, expected: bool| {
            assert_eq!(sizes(one).same(&sizes(other)), expected, "{one} {other}");
        };
        check("{}", "{}", true);
        check(r#"{"requests": {"cpu": "1000m"}}"#, r#"{"requests": {"cpu": "1"}}"#, true);
        check(r#"{"requests": {"cpu": "1"}}"#, r#"{"limits": {"cpu": "1"}}"#, false);
        check(r#"{"limits": {"memory": "1Gi"}}"#, r#"{"limits": {"memory": "1024Mi"}}"#, true);
        check(r#"{"limits": {"memory": "1Gi"}}"#, r#"{"limits": {"memory": "1G"}}"#, false);
        check(r#"{"requests": {"cpu": "1"}}"#, r#"{"requests": {"cpu": "1", "memory": "1"}}"#, false);
    }

    #[test]
    fn a_pod_takes_on_what_it_is_given() {
        let asked = pod_of(
            r#"{"resources": {"requests": {"cpu": "3"}}, "initContainers": [{"name": "i"}],
                "containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]}"#,
        );
        let mut granted = Sizes::of(&asked);
        granted.pod = None;
        granted.containers.insert("c".into(), ResourceRequirements::default());
        let pod = granted.applied(asked);
        assert!(Sizes::of(&pod).same(&granted) && granted.are_of(&pod));
        assert!(!Sizes::default().are_of(&pod));
        assert_eq!(pod.spec.resources, None);
    }
}
