//! Creates, deletes and patches pods for an owner, and tells of it in events, in Kubernetes' words.

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::Value;
use skiff_informer::{
    Cache, EventType, Recorder, describe, is_conflict, is_namespace_terminating, is_not_found,
};

use super::{InFlight, Owner};
use crate::informers::api;
use crate::meta;
use crate::pods::KnownPod;
use crate::pods::pace::in_batches;

/// Most pods that one pass creates or deletes for one owner.
pub(crate) const BURST: usize = 500;

/// Why pods could not be brought to the desired number.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}: {message}")]
pub(crate) struct PodFailure {
    /// `FailedCreate` or `FailedDelete`.
    pub(crate) reason: &'static str,
    /// In the words of the API server.
    pub(crate) message: String,
}

/// What one controller does to pods.
pub(crate) struct PodControl {
    client: Client,
    recorder: Recorder,
    in_flight: InFlight<KnownPod>,
}

impl PodControl {
    /// Acts through `client`, tells through `recorder`, and remembers what `pods` does not show yet.
    pub(crate) fn new(client: Client, recorder: Recorder, pods: &Cache<KnownPod>) -> Self {
        Self { client, recorder, in_flight: InFlight::new(pods) }
    }

    /// What was written and may not show yet.
    pub(crate) fn in_flight(&self) -> &InFlight<KnownPod> {
        &self.in_flight
    }

    /// Records an event about `owner`.
    pub(crate) fn event<O: Owner>(&self, owner: &O, kind: EventType, reason: &'static str, message: String) {
        self.recorder.event(owner.object_ref(&()), kind, reason, message);
    }

    /// Creates the pod that `pod(i)` gives for each `i` below `number`, in batches that double, and stops at the first that
    /// fails. In a namespace that is being deleted nothing is created, nor told.
    pub(crate) async fn create<O: Owner>(
        &self,
        owner: &O,
        number: usize,
        pod: impl Fn(usize) -> Pod,
    ) -> Result<(), PodFailure> {
        let create = |index| {
            let pod = pod(index);
            async move { self.create_one(owner, &pod).await }
        };
        match in_batches(number.min(BURST), create).await {
            Err(CreateError::Refused(failure)) => Err(failure),
            Ok(()) | Err(CreateError::NamespaceGoes) => Ok(()),
        }
    }

    async fn create_one<O: Owner>(&self, owner: &O, pod: &Pod) -> Result<(), CreateError> {
        match self.try_create(owner, pod).await {
            Ok(pod) => {
                let message = format!("Created pod: {}", pod.name_any());
                self.event(owner, EventType::Normal, "SuccessfulCreate", message);
                Ok(())
            }
            Err(error) if is_namespace_terminating(&error) => Err(CreateError::NamespaceGoes),
            Err(error) => {
                let message = describe(&error);
                self.event(owner, EventType::Warning, "FailedCreate", format!("Error creating: {message}"));
                Err(CreateError::Refused(PodFailure { reason: "FailedCreate", message }))
            }
        }
    }

    /// Creates one pod, and tells nobody.
    pub(crate) async fn try_create<O: Owner>(&self, owner: &O, pod: &Pod) -> kube::Result<Pod> {
        let key = owner.key();
        let created = api::<Pod>(&self.client, &key).create(&PostParams::default(), pod).await?;
        self.in_flight.wrote(&key, &created.metadata);
        Ok(created)
    }

    /// Deletes pods, all at once.
    pub(crate) async fn delete<O: Owner>(&self, owner: &O, pods: &[Arc<KnownPod>]) -> Result<(), PodFailure> {
        join_all(pods.iter().map(|pod| self.delete_one(owner, pod))).await.into_iter().collect()
    }

    async fn delete_one<O: Owner>(&self, owner: &O, pod: &KnownPod) -> Result<(), PodFailure> {
        match self.try_delete(owner, pod).await {
            Ok(true) => {
                let message = format!("Deleted pod: {}", pod.name());
                self.event(owner, EventType::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) => {
                let message = describe(&error);
                self.event(owner, EventType::Warning, "FailedDelete", format!("Error deleting: {message}"));
                let message = format!("unable to delete pods: {message}");
                Err(PodFailure { reason: "FailedDelete", message })
            }
        }
    }

    /// Deletes exactly this pod, and tells nobody; `false` if it is gone already, or another has its name.
    pub(crate) async fn try_delete<O: Owner>(&self, owner: &O, pod: &KnownPod) -> kube::Result<bool> {
        let key = owner.key();
        self.in_flight.deleting(&key, pod.uid());
        let exactly_this = Preconditions { uid: Some(pod.uid().to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(exactly_this), ..DeleteParams::default() };
        match api::<Pod>(&self.client, &key).delete(pod.name(), &params).await {
            Ok(_) => Ok(true),
            Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(false),
            Err(error) => {
                self.in_flight.not_deleted(&key, pod.uid());
                Err(error)
            }
        }
    }

    /// Patches a pod strategically; `false` if it is gone.
    pub(crate) async fn patch<O: Owner>(
        &self,
        owner: &O,
        pod: &KnownPod,
        patch: Value,
    ) -> kube::Result<bool> {
        let key = owner.key();
        let api = api::<Pod>(&self.client, &key);
        match api.patch(pod.name(), &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(patched) => {
                self.in_flight.wrote(&key, &patched.metadata);
                Ok(true)
            }
            Err(error) if is_not_found(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

enum CreateError {
    /// The namespace is being deleted.
    NamespaceGoes,
    Refused(PodFailure),
}

/// The pod that a template describes, controlled by `owner`; its name is generated by the server.
pub(crate) fn pod_of<O: Owner>(owner: &O, template: &PodTemplateSpec) -> Pod {
    let given = template.metadata.clone().unwrap_or_default();
    let metadata = ObjectMeta {
        generate_name: Some(format!("{}-", owner.name_any())),
        namespace: owner.namespace(),
        labels: given.labels,
        annotations: given.annotations,
        finalizers: given.finalizers,
        owner_references: Some(vec![meta::controller_reference(owner)]),
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: template.spec.clone(), status: None }
}
