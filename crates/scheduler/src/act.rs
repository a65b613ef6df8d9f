//! Decisions, written to the API.

use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};
use skiff_informer::{EventType, Happening, ObjectKey, SeriesRecorder, describe, is_conflict, is_not_found};
use std::collections::HashMap;
use std::sync::Arc;

use crate::configuration::{Configuration, Profile};
use crate::model::PodInfo;
use crate::preempt::Preemption;
use crate::schedule::{Room, Unschedulable};

/// A decision that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} pod {pod}")]
pub(crate) struct Error {
    action: &'static str,
    pod: ObjectKey,
    source: kube::Error,
}

/// What writes.
pub(crate) struct Hand {
    client: Client,
    /// By profile: events name it as who reports them.
    recorders: HashMap<String, SeriesRecorder>,
}

impl Hand {
    pub(crate) fn new(client: Client, configuration: &Configuration) -> Self {
        let recorder = |profile: &Arc<Profile>| {
            (profile.name.clone(), SeriesRecorder::start(client.clone(), &profile.name))
        };
        Self { recorders: configuration.profiles().map(recorder).collect(), client }
    }

    /// Tells of something in the name of the profile by which `decided` is decided about.
    fn tell(&self, decided: &PodInfo, happening: Happening) {
        let profile = decided.pending.as_ref().map(|pending| pending.profile.name.as_str());
        if let Some(recorder) = profile.and_then(|profile| self.recorders.get(profile)) {
            recorder.event(Happening { note: shortened(happening.note), ..happening });
        }
    }

    /// Tells why a pod was not scheduled.
    fn tell_failure(&self, key: &ObjectKey, pod: &PodInfo, note: String) {
        let happening = Happening {
            regarding: reference(key, pod),
            related: None,
            kind: EventType::Warning,
            reason: "FailedScheduling",
            action: "Scheduling",
            note,
        };
        self.tell(pod, happening);
    }

    /// Binds the pod; false if it is gone or somebody else bound it, which the watch will tell.
    pub(crate) async fn bind(&self, key: &ObjectKey, pod: &PodInfo, node: &str) -> Result<bool, Error> {
        let target =
            ObjectReference { kind: Some("Node".into()), name: Some(node.to_owned()), ..Default::default() };
        let metadata = ObjectMeta {
            name: Some(key.name().into()),
            namespace: Some(key.namespace().into()),
            uid: Some(pod.uid.clone()),
            ..ObjectMeta::default()
        };
        let binding = Binding { metadata, target };
        let pods = self.pods_in(key);
        let bound: kube::Result<Value> =
            pods.create_subresource("binding", key.name(), &PostParams::default(), &binding).await;
        match bound {
            Ok(_) => {
                let happening = Happening {
                    regarding: reference(key, pod),
                    related: None,
                    kind: EventType::Normal,
                    reason: "Scheduled",
                    action: "Binding",
                    note: format!("Successfully assigned {key} to {node}"),
                };
                self.tell(pod, happening);
                Ok(true)
            }
            Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(false),
            Err(source) => {
                let message = format!("running Bind plugin \"DefaultBinder\": {}", describe(&source));
                self.tell_failure(key, pod, message.clone());
                let generation = pod.pending.as_ref().and_then(|pending| pending.generation);
                let condition = unscheduled("SchedulerError", &message, generation, Timestamp::now());
                self.patch_status(key, pod, json!({"conditions": [condition]}), "report what failed").await?;
                Err(Error { action: "bind", pod: key.clone(), source })
            }
        }
    }

    /// Tells that the pod's volumes could not be bound.
    pub(crate) fn refuse_volumes(&self, key: &ObjectKey, pod: &PodInfo, why: &str) {
        let message = format!("running PreBind plugin \"VolumeBinding\": {why}");
        self.tell_failure(key, pod, message);
    }

    /// Reports why the pod fits nowhere, and where room is made for it. It is tried again when the cluster changes.
    pub(crate) async fn refuse(
        &self,
        key: &ObjectKey,
        pod: &PodInfo,
        why: &Unschedulable,
    ) -> Result<(), Error> {
        let Some(pending) = pod.pending.as_deref() else { return Ok(()) };
        let message = &why.message;
        self.tell_failure(key, pod, message.clone());
        let nominated = match &why.room {
            Room::Made(preemption) => Some(preemption.node.as_str()),
            Room::AsBefore => pending.nominated.as_deref(),
            Room::None => None,
        };
        if pending.reported.as_ref() == Some(message) && pending.nominated.as_deref() == nominated {
            return Ok(());
        }
        let condition = unscheduled("Unschedulable", message, pending.generation, Timestamp::now());
        let mut status = json!({"conditions": [condition]});
        if pending.nominated.as_deref() != nominated {
            status["nominatedNodeName"] = json!(nominated);
        }
        self.patch_status(key, pod, status, "report why nothing fits").await
    }

    /// Ends the pods whose place is taken, and tells those that were promised the same place before.
    pub(crate) async fn make_room(
        &self,
        (by, pod): (&ObjectKey, &PodInfo),
        preemption: &Preemption,
        outranked: &[(ObjectKey, Arc<PodInfo>)],
    ) -> Result<(), Error> {
        let node = &preemption.node;
        let victims = preemption.victims.iter().filter(|(_, victim)| !victim.terminating);
        try_join_all(victims.map(|(key, victim)| self.end((key, victim), (by, pod), node))).await?;
        let withdrawn = json!({"nominatedNodeName": null});
        try_join_all(outranked.iter().map(|(key, other)| {
            self.patch_status(key, other, withdrawn.clone(), "withdraw the nomination of")
        }))
        .await?;
        Ok(())
    }

    /// Ends one pod for the sake of another, with the condition that says so.
    async fn end(
        &self,
        (key, victim): (&ObjectKey, &PodInfo),
        (other, by): (&ObjectKey, &PodInfo),
        node: &str,
    ) -> Result<(), Error> {
        let scheduler = by.pending.as_ref().map_or("", |pending| pending.profile.name.as_str());
        let message = format!("{scheduler}: preempting to accommodate a higher priority pod");
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": message,
            "lastProbeTime": null, "lastTransitionTime": Time(Timestamp::now()),
        });
        self.patch_status(key, victim, json!({"conditions": [condition]}), "mark for preemption").await?;
        let uid = Preconditions { uid: Some(victim.uid.clone()), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(uid), ..DeleteParams::default() };
        match self.pods_in(key).delete(key.name(), &parameters).await {
            Ok(_) => {
                let happening = Happening {
                    regarding: reference(key, victim),
                    related: Some(reference(other, by)),
                    kind: EventType::Normal,
                    reason: "Preempted",
                    action: "Preempting",
                    note: format!("Preempted by pod {} on node {node}", by.uid),
                };
                self.tell(by, happening);
                Ok(())
            }
            Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(()),
            Err(source) => Err(Error { action: "preempt", pod: key.clone(), source }),
        }
    }

    async fn patch_status(
        &self,
        key: &ObjectKey,
        pod: &PodInfo,
        status: Value,
        action: &'static str,
    ) -> Result<(), Error> {
        let patch = Patch::Strategic(json!({"metadata": {"uid": pod.uid}, "status": status}));
        match self.pods_in(key).patch_status(key.name(), &PatchParams::default(), &patch).await {
            Err(source) if !is_not_found(&source) && !is_conflict(&source) => {
                Err(Error { action, pod: key.clone(), source })
            }
            _ => Ok(()),
        }
    }

    fn pods_in(&self, key: &ObjectKey) -> Api<Pod> {
        Api::namespaced(self.client.clone(), key.namespace())
    }
}

/// What an event can say at most, in bytes.
const NOTE: usize = 1024;

/// A message as far as an event can say it.
pub(crate) fn shortened(message: String) -> String {
    const REST: &str = " ...";
    if message.len() <= NOTE {
        return message;
    }
    format!("{}{REST}", &message[..message.floor_char_boundary(NOTE - REST.len())])
}

/// The condition of a pod that got no node: it says of which generation of the pod that is true.
pub(crate) fn unscheduled(reason: &str, message: &str, generation: Option<i64>, now: Timestamp) -> Value {
    json!({
        "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
        "lastProbeTime": null, "lastTransitionTime": Time(now),
        "observedGeneration": generation,
    })
}

fn reference(key: &ObjectKey, pod: &PodInfo) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(key.namespace().into()),
        name: Some(key.name().into()),
        uid: Some(pod.uid.clone()),
        ..ObjectReference::default()
    }
}
