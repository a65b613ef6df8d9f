//! What controllers read from a pod, and what the shared cache keeps of one.

pub(crate) mod pace;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus};

/// Annotation by which a user ranks pods for scale-down; lower goes first.
pub(crate) const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Keeps what controllers read and drops the rest (environments, volumes, images, …), which is most of a pod.
pub(crate) fn trim(mut pod: Pod) -> Pod {
    pod.metadata.annotations = pod.metadata.annotations.take().and_then(trim_annotations);
    pod.spec = pod.spec.map(trim_spec);
    pod.status = pod.status.map(|status| PodStatus {
        phase: status.phase,
        conditions: status.conditions,
        pod_ip: status.pod_ip,
        pod_ips: status.pod_ips,
        reason: status.reason,
        container_statuses: status
            .container_statuses
            .map(|all| all.into_iter().map(trim_container_status).collect()),
        ..PodStatus::default()
    });
    pod
}

fn trim_annotations(mut annotations: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    annotations.retain(|name, _| name == DELETION_COST);
    Some(annotations).filter(|annotations| !annotations.is_empty())
}

/// The containers with ports that Services can name.
fn trim_containers(containers: Vec<Container>) -> Vec<Container> {
    let is_named = |container: &Container| container.ports.iter().flatten().any(|port| port.name.is_some());
    containers.into_iter().filter(is_named).map(trim_container).collect()
}

fn trim_spec(spec: PodSpec) -> PodSpec {
    PodSpec {
        node_name: spec.node_name,
        hostname: spec.hostname,
        subdomain: spec.subdomain,
        tolerations: spec.tolerations,
        containers: trim_containers(spec.containers),
        init_containers: spec
            .init_containers
            .map(trim_containers)
            .filter(|containers| !containers.is_empty()),
        ..PodSpec::default()
    }
}

fn trim_container(container: Container) -> Container {
    Container {
        name: container.name,
        ports: container.ports,
        restart_policy: container.restart_policy,
        ..Container::default()
    }
}

fn trim_container_status(status: ContainerStatus) -> ContainerStatus {
    ContainerStatus { name: status.name, restart_count: status.restart_count, ..ContainerStatus::default() }
}

/// The pod's condition of `kind`, such as `Ready`.
pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// Whether the condition Ready is True.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// When the pod became ready; `None` while it is not.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// The phase, empty when unset.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("")
}

/// Whether the pod has ended for good.
pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether deletion of the pod has begun.
pub(crate) fn is_deleting(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether the pod counts as a replica: neither ended nor being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_deleting(pod)
}

/// The node the pod is bound to.
pub(crate) fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// Every address of the pod, the primary one first.
pub(crate) fn addresses(pod: &Pod) -> impl Iterator<Item = &str> {
    let status = pod.status.as_ref();
    let listed =
        status.into_iter().flat_map(|status| status.pod_ips.iter().flatten()).map(|ip| ip.ip.as_str());
    let has_list = status.is_some_and(|status| status.pod_ips.as_ref().is_some_and(|ips| !ips.is_empty()));
    let single = status.and_then(|status| status.pod_ip.as_deref()).filter(|_| !has_list);
    listed.chain(single).filter(|ip| !ip.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_what_is_read() {
        let port = json!({"name": "web", "containerPort": 80});
        let pod = json!({
            "metadata": {"name": "p", "labels": {"app": "a"}, "annotations": {(DELETION_COST): "5", "large": "x"}},
            "spec": {"nodeName": "n1", "containers": [
                {"name": "a", "image": "i", "ports": [port]}, {"name": "b", "image": "i", "ports": [{"containerPort": 81}]},
            ], "initContainers": [{"name": "c", "restartPolicy": "Always"}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "a", "restartCount": 3, "image": "i", "imageID": "x", "ready": true},
            ]},
        });
        let expected = json!({
            "metadata": {"name": "p", "labels": {"app": "a"}, "annotations": {(DELETION_COST): "5"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "a", "ports": [port]}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "a", "restartCount": 3, "image": "", "imageID": "", "ready": false},
            ]},
        });
        let read = |pod| serde_json::from_value::<Pod>(pod).unwrap();
        assert_eq!(trim(read(pod)), read(expected));
        let plain =
            json!({"metadata": {"annotations": {"large": "x"}}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(trim(read(plain)), read(json!({"metadata": {}, "spec": {"containers": []}})));
    }
}
