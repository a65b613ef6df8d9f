//! The Node object of this machine; pure functions of what the machine is and does.

use super::disk::DiskPressure;
use super::machine::Machine;
use crate::config::AgentConfig;
use crate::pod::handler::HANDLERS;
use crate::time::api_time;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints,
    NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use skiff_runtime::Image;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Most images listed in a Node's status.
const MAX_IMAGES: usize = 50;

/// Whether the node takes pods.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Readiness {
    Ready,
    /// Not yet; the text says why.
    NotReady(String),
}

/// The labels the agent gives the Node.
pub(crate) fn labels(config: &AgentConfig, machine: &Machine) -> BTreeMap<String, String> {
    let mut labels = config.node_labels.clone();
    let arch = &machine.system.architecture;
    for (key, value) in [
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

/// The object to register.
pub(crate) fn node(config: &AgentConfig, machine: &Machine, status: NodeStatus) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(config.node_name.clone()),
            labels: Some(labels(config, machine)),
            ..ObjectMeta::default()
        },
        spec: None,
        status: Some(status),
    }
}

/// The status at `now`; `before` are the conditions reported last.
pub(crate) fn status(
    config: &AgentConfig,
    machine: &Machine,
    node_ip: Option<IpAddr>,
    health: (&Readiness, DiskPressure),
    images: &[Image],
    before: &[NodeCondition],
    now: Timestamp,
) -> NodeStatus {
    let address = |kind: &str, address: String| NodeAddress { type_: kind.into(), address };
    let internal = node_ip.map(|ip| address("InternalIP", ip.to_string()));
    let capacity = machine.capacity(config.max_pods);
    NodeStatus {
        addresses: Some(
            internal.into_iter().chain([address("Hostname", config.node_name.clone())]).collect(),
        ),
        allocatable: Some(capacity.clone()),
        capacity: Some(capacity),
        conditions: Some(conditions(health, before, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(config.listen.port()) }),
        }),
        images: (!images.is_empty()).then(|| list_images(images)),
        node_info: Some(machine.system.clone()),
        runtime_handlers: Some(HANDLERS.iter().map(|name| handler(name, machine)).collect()),
        ..NodeStatus::default()
    }
}

/// What the only runtime of the node can do, by one of its names.
fn handler(name: &str, machine: &Machine) -> NodeRuntimeHandler {
    let features = NodeRuntimeHandlerFeatures {
        recursive_read_only_mounts: Some(true),
        user_namespaces: Some(machine.user_namespaces),
    };
    NodeRuntimeHandler { name: Some(name.to_owned()), features: Some(features) }
}

/// The largest images first.
fn list_images(images: &[Image]) -> Vec<ContainerImage> {
    let mut images: Vec<&Image> = images.iter().collect();
    skiff_ordered::sort_by_key(&mut images, |image| std::cmp::Reverse(image.size));
    let shown = images.into_iter().take(MAX_IMAGES).map(|image| ContainerImage {
        names: Some(image.digests.iter().chain(&image.names).cloned().collect()),
        size_bytes: i64::try_from(image.size).ok(),
    });
    shown.collect()
}

fn conditions(
    (readiness, disk): (&Readiness, DiskPressure),
    before: &[NodeCondition],
    now: Timestamp,
) -> Vec<NodeCondition> {
    let (ready, reason, message) = match readiness {
        Readiness::Ready => (true, "KubeletReady", "kubelet is posting ready status"),
        Readiness::NotReady(why) => (false, "KubeletNotReady", why.as_str()),
    };
    let (full, full_reason, full_message) = match disk {
        DiskPressure::None => (false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        DiskPressure::Full => (true, "KubeletHasDiskPressure", "kubelet has disk pressure"),
    };
    [
        ("MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", full, full_reason, full_message),
        ("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", ready, reason, message),
    ]
    .into_iter()
    .map(|(kind, holds, reason, message)| {
        let status = if holds { "True" } else { "False" };
        let old = before.iter().find(|condition| condition.type_ == kind && condition.status == status);
        NodeCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: Some(api_time(now)),
            last_transition_time: old
                .and_then(|old| old.last_transition_time.clone())
                .or_else(|| Some(api_time(now))),
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::at;

    #[test]
    fn transition_times_move_only_with_the_status() {
        let first = conditions((&Readiness::NotReady("no network".into()), DiskPressure::None), &[], at(0));
        let second = conditions((&Readiness::Ready, DiskPressure::None), &first, at(10));
        let of = |list: &[NodeCondition], kind: &str| list.iter().find(|c| c.type_ == kind).cloned().unwrap();
        assert_eq!(of(&second, "Ready").last_transition_time, Some(api_time(at(10))));
        assert_eq!(of(&second, "Ready").reason.as_deref(), Some("KubeletReady"));
        assert_eq!(of(&second, "DiskPressure").last_transition_time, Some(api_time(at(0))));
        assert_eq!(of(&second, "DiskPressure").last_heartbeat_time, Some(api_time(at(10))));
        let third = conditions((&Readiness::Ready, DiskPressure::Full), &second, at(20));
        assert_eq!(of(&third, "DiskPressure").status, "True");
        assert_eq!(of(&third, "DiskPressure").last_transition_time, Some(api_time(at(20))));
    }
}
