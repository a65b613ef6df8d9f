//! Changing the resources of a pod that runs (KEP-1287, KEP-5419): what differs between what the node granted and what the
//! control groups have, and what is done about it. Pure.

use super::local::{LocalContainer, LocalPod, Role};
use super::observed::{Observed, Run};
use super::sizes::{RESIZABLE, Sizes, differs};
use crate::container::limits::{pod_resources, resources};
use crate::ids::ContainerName;
use k8s_openapi::api::core::v1::ResourceRequirements;
use serde::Serialize;
use skiff_runtime::{Change, Resources};

/// What has to be written so that the groups of a pod have what it was granted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Changes {
    /// The limits of the pod's own group.
    pub(crate) pod: Option<Change>,
    /// Those of running containers that go on as they are, with their IDs.
    pub(crate) containers: Vec<(ContainerName, String, Change)>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.pod.is_none() && self.containers.is_empty()
    }
}

/// What differs between `pod`, with what it was granted, and its groups. Nothing while a container is being stopped for its
/// new resources: it has the old ones until it is gone.
pub(crate) fn changes(pod: &LocalPod, observed: &Observed) -> Changes {
    if resizable(pod).any(|container| needs_restart(container, observed)) {
        return Changes::default();
    }
    let own = |container: &LocalContainer| {
        let running = observed.container(&container.name).running()?;
        let change = Change { from: current(pod, container, observed)?, to: resources(pod, container) };
        // A limit of the pod's is also that of a container without one.
        let changes = is_resized(container, observed) || change.from != change.to;
        changes.then(|| (container.name.clone(), running.id.clone(), change))
    };
    Changes { pod: group_change(pod, observed), containers: resizable(pod).filter_map(own).collect() }
}

/// Whether the pod's group or a running container has other resources than the pod was granted.
pub(crate) fn is_under_way(pod: &LocalPod, observed: &Observed) -> bool {
    group_change(pod, observed).is_some() || resizable(pod).any(|container| is_resized(container, observed))
}

/// Whether a running container has to be started anew to have the resources it was granted.
pub(crate) fn needs_restart(container: &LocalContainer, observed: &Observed) -> bool {
    let (Some(has), Some(granted)) = (running_with(container, observed), container.spec.resources.as_ref())
    else {
        return false;
    };
    let restarts = |resource: &str| {
        let policies = container.spec.resize_policy.iter().flatten();
        let own = policies.into_iter().find(|policy| policy.resource_name == resource);
        own.is_some_and(|policy| policy.restart_policy == "RestartContainer")
    };
    RESIZABLE.iter().any(|resource| differs(has, granted, resource) && restarts(resource))
}

/// The containers whose groups are changed: an init container that runs to its end keeps what it began with.
fn resizable(pod: &LocalPod) -> impl Iterator<Item = &LocalContainer> {
    pod.containers.iter().filter(|container| matches!(container.role, Role::Main | Role::Sidecar))
}

fn is_resized(container: &LocalContainer, observed: &Observed) -> bool {
    let granted = container.spec.resources.clone().unwrap_or_default();
    running_with(container, observed)
        .is_some_and(|has| RESIZABLE.iter().any(|resource| differs(has, &granted, resource)))
}

/// What a running container has.
fn running_with<'a>(container: &LocalContainer, observed: &'a Observed) -> Option<&'a ResourceRequirements> {
    let state = observed.container(&container.name);
    state.sizes.as_ref().filter(|_| matches!(state.run, Run::Running(_)))
}

/// The limits that a running container has.
fn current(pod: &LocalPod, container: &LocalContainer, observed: &Observed) -> Option<Resources> {
    let whole = observed.resizing.group.as_ref()?.applied(pod.clone());
    let mut before = container.clone();
    before.spec.resources.clone_from(&observed.container(&container.name).sizes);
    Some(resources(&whole, &before))
}

fn group_change(pod: &LocalPod, observed: &Observed) -> Option<Change> {
    let had = observed.resizing.group.as_ref()?;
    if had.same(&Sizes::of(pod)) {
        return None;
    }
    Some(Change { from: pod_resources(&had.applied(pod.clone())), to: pod_resources(pod) })
}

/// What an event says of a resize, in the kubelet's words and order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Part<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Part<'a>>,
    generation: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

#[derive(Serialize)]
struct Part<'a> {
    name: &'a str,
    resources: ResourceRequirements,
}

/// The message of an event about the resize of `pod` by `generation`.
pub(crate) fn event_message(prefix: &str, pod: &LocalPod, generation: i64, error: &str) -> String {
    let parts = |roles: [Role; 2]| {
        let chosen = pod.containers.iter().filter(move |container| roles.contains(&container.role));
        let part = |container: &'_ LocalContainer| container.spec.resources.clone().unwrap_or_default();
        chosen.map(|container| Part { name: container.name.as_str(), resources: part(container) }).collect()
    };
    let summary = Summary {
        init_containers: parts([Role::Init, Role::Sidecar]),
        containers: parts([Role::Main, Role::Main]),
        generation,
        error,
    };
    match serde_json::to_string(&summary) {
        Ok(summary) => format!("{prefix}: {summary}"),
        Err(_) => prefix.to_owned(),
    }
}
