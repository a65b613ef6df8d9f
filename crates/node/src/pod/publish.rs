//! Writes a pod's status to the API: only when it changed, one write at a time, retried.

use super::conditions::{RESIZE_IN_PROGRESS, RESIZE_PENDING};
use super::local::LocalPod;
use super::observed::Observed;
use super::status::status;
use super::tasks::{Done, Tasks};
use crate::shared::Shared;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Conditions that the node decides; others are left alone.
const OWN_CONDITIONS: [&str; 6] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    RESIZE_PENDING,
    RESIZE_IN_PROGRESS,
];

/// The pause after a write that failed.
const RETRY: Duration = Duration::from_secs(1);

/// The state of one pod's status in the API.
pub(crate) struct Publisher {
    client: Client,
    host_ips: Vec<IpAddr>,
    /// The status written last, or being written.
    sent: Option<PodStatus>,
    writing: bool,
    retry_at: Option<Timestamp>,
    /// The pod had ended before this agent knew it: its status is history and stays.
    silent: bool,
}

impl Publisher {
    /// Nothing written yet; `silent` for a pod that had ended before this agent knew it.
    pub(crate) fn new(shared: &Shared, silent: bool) -> Self {
        Self {
            client: shared.client.clone(),
            host_ips: shared.host_ips.clone(),
            sent: None,
            writing: false,
            retry_at: None,
            silent,
        }
    }

    /// Whether a write is under way.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing
    }

    /// Whether the API may not have the status that was given last.
    pub(crate) fn is_behind(&self) -> bool {
        self.writing || self.retry_at.is_some()
    }

    /// Begins a write if the status differs from the one in the API; returns when to come back if it may not yet.
    pub(crate) fn publish(
        &mut self,
        pod: &mut Arc<LocalPod>,
        observed: &Observed,
        tasks: &mut Tasks,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if self.silent || self.writing || observed.removed {
            return None;
        }
        if let Some(retry_at) = self.retry_at.filter(|retry_at| now < *retry_at) {
            return Some(retry_at);
        }
        if let Some(until) = observed.quiet_until().filter(|until| now < *until) {
            return Some(until);
        }
        let next = status(pod, observed, &self.host_ips, now);
        if self.sent.as_ref().unwrap_or(&pod.status) == &next {
            return None;
        }
        let patch = patch(pod, &next);
        Arc::make_mut(pod).status = next.clone();
        self.sent = Some(next);
        self.writing = true;
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let name = pod.name.clone();
        tasks.spawn(async move {
            let result = api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch)).await;
            Done::StatusWritten(result.map(drop))
        });
        None
    }

    /// Takes in how a write ended.
    pub(crate) fn written(&mut self, result: Result<(), kube::Error>, now: Timestamp) {
        self.writing = false;
        self.retry_at = None;
        match result {
            Ok(()) => {}
            // The object is gone or another has its name: the watch will say so.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => {
                tracing::warn!(%error, "writing a pod's status, will try again");
                self.sent = Some(PodStatus::default());
                self.retry_at = Some(crate::time::after(now, RETRY));
            }
        }
    }

    /// The pod as the API has it now, with the status this node wrote last where the API may not show it yet.
    pub(crate) fn merge_status(&self, mut pod: LocalPod) -> LocalPod {
        let Some(sent) = &self.sent else { return pod };
        let foreign = pod.status.conditions.take().into_iter().flatten().filter(|c| !is_own(&c.type_));
        let own = sent.conditions.iter().flatten().filter(|c| is_own(&c.type_)).cloned();
        let conditions = own.chain(foreign).collect();
        pod.status = PodStatus {
            conditions: Some(conditions),
            qos_class: pod.status.qos_class.take(),
            ..sent.clone()
        };
        pod
    }
}

fn is_own(kind: &str) -> bool {
    OWN_CONDITIONS.contains(&kind)
}

/// The patch that makes the API show `next`; fields that may vanish are named even when empty.
fn patch(pod: &LocalPod, next: &PodStatus) -> serde_json::Value {
    let mut status = json!(next);
    if let Some(status) = status.as_object_mut() {
        for field in ["reason", "message", "initContainerStatuses", "ephemeralContainerStatuses", "podIP"] {
            status.entry(field).or_insert(serde_json::Value::Null);
        }
        // Set by the API server; never ours to change.
        status.remove("qosClass");
        // Addresses are merged one by one as well, but a pod whose sandbox was made anew has only its new ones.
        for field in ["podIPs", "hostIPs"] {
            let addresses = status.entry(field).or_insert_with(|| json!([]));
            if let Some(addresses) = addresses.as_array_mut() {
                addresses.push(json!({ "$patch": "replace" }));
            }
        }
        // Conditions are merged one by one, and within one a field that is not named stays.
        let conditions = status.get_mut("conditions").and_then(serde_json::Value::as_array_mut);
        for condition in conditions.into_iter().flatten().filter_map(serde_json::Value::as_object_mut) {
            for field in ["reason", "message"] {
                condition.entry(field).or_insert(serde_json::Value::Null);
            }
        }
        let gone = gone(pod, next).map(|kind| json!({ "type": kind, "$patch": "delete" }));
        if let Some(conditions) = status.get_mut("conditions").and_then(serde_json::Value::as_array_mut) {
            conditions.extend(gone);
        }
    }
    json!({ "metadata": { "uid": pod.uid.as_str() }, "status": status })
}

/// The conditions that the node has given the pod and that hold no more.
fn gone<'a>(pod: &'a LocalPod, next: &'a PodStatus) -> impl Iterator<Item = &'a str> {
    let before = pod.status.conditions.iter().flatten().map(|condition| condition.type_.as_str());
    let still = |kind: &str| next.conditions.iter().flatten().any(|condition| condition.type_ == kind);
    before.filter(move |kind| is_own(kind) && !still(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    #[test]
    fn what_vanishes_is_named() {
        let pod = pod_of(r#"{"containers": []}"#);
        let next: PodStatus = serde_json::from_value(json!({
            "qosClass": "BestEffort", "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
        }))
        .unwrap();
        let patch = patch(&pod, &next);
        assert_eq!(patch["metadata"]["uid"], "u");
        let status = patch["status"].as_object().unwrap();
        assert!(!status.contains_key("qosClass"));
        assert_eq!(status["message"], serde_json::Value::Null);
        assert_eq!(status["podIPs"], json!([{"$patch": "replace"}]));
        let ready = json!({"type": "Ready", "status": "True", "reason": null, "message": null});
        assert_eq!(status["conditions"], json!([ready]));
        let mut resized = pod_of(r#"{"containers": []}"#);
        resized.status = serde_json::from_value(json!({"conditions": [
            {"type": "PodResizeInProgress", "status": "True"}, {"type": "Mine", "status": "True"}]}))
        .unwrap();
        let patch = super::patch(&resized, &next);
        assert_eq!(
            patch["status"]["conditions"],
            json!([ready, {"type": "PodResizeInProgress", "$patch": "delete"}])
        );
    }
}
