//! Pod.

mod aggregate;
mod defaults;
mod disabled;
pub(crate) mod go;
mod image;
mod label_keys;
mod print;
mod qos;
mod resize;
mod subject;
#[cfg(test)]
mod tests;
mod validate;
mod validate_claims;
mod validate_containers;
mod validate_env;
mod validate_ephemeral;
mod validate_placement;
mod validate_probes;
mod validate_resources;
mod validate_security;
mod validate_status;
mod validate_update;
mod validate_volumes;
mod validate_windows;
mod warn_paths;
mod warnings;

pub(crate) use defaults::pod_spec as default_spec;
pub(crate) use disabled::drop_disabled;
pub(crate) use validate::{Subject, validate_spec};
pub(crate) use warnings::template_warnings;

pub(crate) use validate::toleration;
pub(crate) use validate_placement::{Values, node_selector};
pub(crate) use validate_resources::requirements;

use serde_json::{Value, json};
use skiff_ordered::Ordered as _;

use std::sync::Arc;

use skiff_schema::Schema;

use crate::groups::CORE;
use crate::row::stored;
use crate::shared::defaults::{fill, list_mut, object_mut};
use skiff_machinery::cells::{self, age_column, name_column, text, wide};
use skiff_machinery::{
    Context, FieldErrors, Grace, Kind, Object, Printer, Scope, Selectable, Strategy, Subresource,
};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
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
        print: Printer::Fixed(print::print),
        counts_generations: true,
        selectable: SELECTABLE.into(),
        ..stored(schema, CORE, "io.k8s.api.core.v1.Pod", Scope::Namespaced, PodStrategy)
            .short(&["po"])
            .in_all()
            .below(&[
                Subresource::Attach,
                Subresource::Binding,
                Subresource::EphemeralContainers,
                Subresource::Eviction,
                Subresource::Exec,
                Subresource::Log,
                Subresource::PortForward,
                Subresource::Proxy,
                Subresource::Resize,
                Subresource::Status,
            ])
    }
}

const SELECTABLE: &[Selectable] = &[
    Selectable::indexed("spec.nodeName", |pod| spec(pod, "nodeName")),
    Selectable::fixed("spec.restartPolicy", |pod| spec(pod, "restartPolicy")),
    Selectable::fixed("spec.schedulerName", |pod| spec(pod, "schedulerName")),
    Selectable::fixed("spec.serviceAccountName", |pod| spec(pod, "serviceAccountName")),
    Selectable::fixed("spec.hostNetwork", |pod| host_network(pod).to_string()),
    Selectable::fixed("status.phase", |pod| status(pod, "phase")),
    Selectable::fixed("status.podIP", |pod| status(pod, "podIP")),
    // Kubernetes takes it and compares nothing with it.
    Selectable::fixed("status.podIPs", |_| String::new()),
    Selectable::fixed("status.nominatedNodeName", |pod| status(pod, "nominatedNodeName")),
];

fn spec(pod: &Object, field: &str) -> String {
    pod.str(&["spec", field]).to_owned()
}

fn status(pod: &Object, field: &str) -> String {
    pod.str(&["status", field]).to_owned()
}

fn host_network(pod: &Object) -> bool {
    pod.get(&["spec", "hostNetwork"]).and_then(Value::as_bool).unwrap_or(false)
}

/// What is special about pods.
struct PodStrategy;

impl Strategy for PodStrategy {
    fn answers_deleted(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Object) {
        defaults::pod(object.as_map_mut());
        let classless = object.str(&["status", "qosClass"]).is_empty();
        if classless && object.get(&["status"]).is_some() {
            let class = qos::class(object);
            object.set(&["status", "qosClass"], class);
        }
    }

    fn prepare_create(&self, cx: Context<'_>, object: &mut Object) {
        // Admission may have chosen the service account after defaulting.
        defaults::service_account(object_mut(object.as_map_mut(), "spec"));
        app_armor_fields(object);
        disabled::drop_disabled(object_mut(object.as_map_mut(), "spec"), None);
        let labels = object.get(&["metadata", "labels"]).and_then(Value::as_object).cloned();
        label_keys::complete(object_mut(object.as_map_mut(), "spec"), labels.as_ref());
        let class = qos::class(object);
        let mut status = json!({"phase": "Pending", "qosClass": class});
        if !cells::items(object, &["spec", "schedulingGates"]).is_empty() {
            status["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null, "lastTransitionTime": cx.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            }]);
        }
        object.set(&["status"], status);
    }

    /// What admission decided stays when a client does not repeat it.
    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        disabled::drop_disabled(object_mut(new.as_map_mut(), "spec"), old.get(&["spec"]));
        for field in ["priority", "preemptionPolicy"] {
            if let (None, Some(value)) = (new.get(&["spec", field]), old.get(&["spec", field])) {
                new.set(&["spec", field], value.clone());
            }
        }
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        validate::validate(object)
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        validate_update::validate_update(new, old)
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        validate_status::validate_status(new, old)
    }

    fn validate_part(&self, _: Context<'_>, part: Subresource, new: &Object, old: &Object) -> FieldErrors {
        match part {
            Subresource::EphemeralContainers => validate_ephemeral::validate_update(new, old),
            Subresource::Resize => resize::validate_update(new, old),
            _ => FieldErrors::new(),
        }
    }

    fn narrow(&self, part: Subresource, old: &Object, wanted: &Object) -> Object {
        match part {
            Subresource::Resize => resize::resized(old, wanted),
            _ => validate_ephemeral::extended(old, wanted),
        }
    }

    /// Only those who create pods are warned: they are seldom people who change them.
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        if old.is_some() { Vec::new() } else { warnings::warnings(new) }
    }

    fn ends_gracefully(&self) -> bool {
        true
    }

    /// The time that the pod asks for, but none when no node has it or its containers have ended.
    fn grace(&self, object: &Object, requested: Option<i64>) -> Grace {
        let own = object.get(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
        let unscheduled = object.str(&["spec", "nodeName"]).is_empty();
        let ended = matches!(object.str(&["status", "phase"]), "Succeeded" | "Failed");
        match requested.or(own).unwrap_or(0) {
            _ if unscheduled || ended => Grace::Immediate,
            0 => Grace::Immediate,
            seconds if seconds < 0 => Grace::Period(1),
            seconds => Grace::Period(seconds),
        }
    }
}

/// Profiles of containers in annotations, as they were named before there was a field, become fields.
fn app_armor_fields(pod: &mut Object) {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let annotations = pod.annotations();
    let named = annotations.into_iter().filter_map(|(key, profile)| {
        let profile = match profile {
            "runtime/default" => json!({"type": "RuntimeDefault"}),
            "unconfined" => json!({"type": "Unconfined"}),
            other => json!({"type": "Localhost", "localhostProfile": other.strip_prefix("localhost/")?}),
        };
        Some((key.strip_prefix(PREFIX)?.to_owned(), profile))
    });
    let named: std::collections::BTreeMap<String, Value> = named.to_map();
    let spec = object_mut(pod.as_map_mut(), "spec");
    for list in ["initContainers", "containers"] {
        for container in list_mut(spec, list) {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
            if let Some(profile) = named.get(name).cloned() {
                fill(object_mut(container, "securityContext"), "appArmorProfile", profile);
            }
        }
    }
}
