//! Keeps the Endpoints object of each Service with a selector in step with its pods.

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Endpoints;
use kube::api::{DeleteParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use skiff_informer::{
    EventType, Next, ObjectKey, Recorder, describe, is_already_exists, is_conflict, is_namespace_terminating,
    is_not_found,
};

use crate::environment::{Controller, Environment};
use crate::informers::{Informers, api};
use crate::services;
use crate::trigger_time::TriggerTimes;

mod plan;

const NAME: &str = "endpoint-controller";
/// Services worked on at once.
const WORKERS: usize = 16;

/// A pass that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} Endpoints {key}")]
struct Error {
    action: &'static str,
    key: ObjectKey,
    source: kube::Error,
}

struct EndpointsController {
    client: Client,
    informers: Informers,
    recorder: Recorder,
    trigger_times: TriggerTimes,
}

/// Subscribes to Services, pods and Endpoints and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("endpoints");
    services::subscribe(informers, &queue, false);
    let wake = queue.clone();
    // Objects of ours whose Service went while nobody watched are found here as well.
    informers.endpoints.subscribe(move |change| {
        if change.both().any(|endpoints| endpoints.labels().contains_key(plan::MANAGED_BY_LABEL)) {
            wake.add(change.key.clone());
        }
    });
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), NAME, "");
    let controller = EndpointsController {
        client,
        informers: informers.clone(),
        recorder,
        trigger_times: TriggerTimes::default(),
    };
    environment.reconciler(
        queue,
        &[&informers.services, &informers.pods, &informers.endpoints],
        WORKERS,
        controller,
        |controller, key| controller.reconcile(key).boxed(),
    )
}

impl EndpointsController {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(service) = self.informers.services.get(&key) else {
            self.trigger_times.forget(&key);
            return self.remove(key).await;
        };
        let Some(selector) = services::pod_selector(&service) else { return Ok(Next::Done) };
        if service.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Done);
        }
        let members = self.informers.members.of(&key, selector);
        let current = self.informers.endpoints.get(&key);
        let trigger_time = self.trigger_times.advance(&key, &service, &members);
        let Some(endpoints) = plan::plan(&service, &members, current.as_deref(), trigger_time) else {
            return Ok(Next::Done);
        };
        let api = api::<Endpoints>(&self.client, &key);
        let (action, reason, result) = if current.is_none() {
            ("create", "FailedToCreateEndpoint", api.create(&PostParams::default(), &endpoints).await)
        } else {
            (
                "update",
                "FailedToUpdateEndpoint",
                api.replace(key.name(), &PostParams::default(), &endpoints).await,
            )
        };
        match result {
            Ok(_) => Ok(Next::Done),
            Err(error) if is_namespace_terminating(&error) => Ok(Next::Done),
            // The cache was behind. Its next change brings the key up again; the back-off covers the rest.
            Err(source) if is_conflict(&source) || is_already_exists(&source) => {
                Err(Error { action, key, source })
            }
            Err(source) => {
                let message = format!("Failed to {action} endpoint {key}: {}", describe(&source));
                self.recorder.event(service.object_ref(&()), EventType::Warning, reason, message);
                Err(Error { action, key, source })
            }
        }
    }

    /// Removes what a Service left behind.
    async fn remove(&self, key: ObjectKey) -> Result<Next, Error> {
        if self.informers.endpoints.get(&key).is_none() {
            return Ok(Next::Done);
        }
        match api::<Endpoints>(&self.client, &key).delete(key.name(), &DeleteParams::default()).await {
            Err(source) if !is_not_found(&source) => Err(Error { action: "delete", key, source }),
            _ => Ok(Next::Done),
        }
    }
}
