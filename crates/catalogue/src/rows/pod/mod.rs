//! Pod.

mod print;

use super::cells::{age_column, name_column, text, wide};
use super::{CORE, Plain, stored};
use crate::{Kind, Object, Scope, Selectable, Subresource};

pub(super) fn row() -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Ready", "Containers that are ready, of all."),
            text("Status", "What the pod is doing."),
            text("Restarts", "How often containers were restarted, and when last."),
            age_column(),
            wide("IP", "Address of the pod."),
            wide("Node", "Node that the pod runs on."),
            wide("Nominated Node", "Node that the pod waits to be placed on."),
            wide("Readiness Gates", "Further conditions that must hold, of all."),
        ],
        print: print::print,
        counts_generations: true,
        selectable: SELECTABLE,
        ..stored(CORE, "io.k8s.api.core.v1.Pod", Scope::Namespaced, Plain).short(&["po"]).in_all().below(&[
            Subresource::Attach,
            Subresource::Binding,
            Subresource::EphemeralContainers,
            Subresource::Eviction,
            Subresource::Exec,
            Subresource::Log,
            Subresource::PortForward,
            Subresource::Proxy,
            Subresource::Status,
        ])
    }
}

const SELECTABLE: &[Selectable] = &[
    Selectable { label: "spec.nodeName", value: |pod| spec(pod, "nodeName") },
    Selectable { label: "spec.restartPolicy", value: |pod| spec(pod, "restartPolicy") },
    Selectable { label: "spec.schedulerName", value: |pod| spec(pod, "schedulerName") },
    Selectable { label: "spec.serviceAccountName", value: |pod| spec(pod, "serviceAccountName") },
    Selectable { label: "spec.hostNetwork", value: |pod| host_network(pod).to_string() },
    Selectable { label: "status.phase", value: |pod| status(pod, "phase") },
    Selectable { label: "status.podIP", value: |pod| status(pod, "podIP") },
    Selectable { label: "status.nominatedNodeName", value: |pod| status(pod, "nominatedNodeName") },
];

fn spec(pod: &Object, field: &str) -> String {
    pod.str(&["spec", field]).to_owned()
}

fn status(pod: &Object, field: &str) -> String {
    pod.str(&["status", field]).to_owned()
}

fn host_network(pod: &Object) -> bool {
    pod.get(&["spec", "hostNetwork"]).and_then(serde_json::Value::as_bool).unwrap_or(false)
}
