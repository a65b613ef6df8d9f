//! Keeps the EndpointSlices of each Service with a selector in step with its pods, without delay: a pod that becomes
//! ready is in a slice one write later.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use parking_lot::Mutex;
use skiff_informer::{
    Barrier, EventType, Next, ObjectKey, Queue, Recorder, Revision, describe, is_conflict,
    is_namespace_terminating, is_not_found,
};

use crate::environment::{Controller, Environment};
use crate::informers::{Informers, SERVICE_NAME_LABEL, api, service_of};
use crate::meta::{self, Strings};
use crate::services::{self, HEADLESS_LABEL, TRIGGER_TIME};
use crate::trigger_time::TriggerTimes;

mod desired;
mod pack;
#[cfg(test)]
mod tests;

use pack::{Frame, Plan};

const NAME: &str = "endpointslice-controller";
/// Says which controller keeps a slice.
pub(crate) const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Most endpoints in one slice.
const CAPACITY: usize = 100;
/// Services worked on at once.
const WORKERS: usize = 16;
/// Looks again after this long if the watch has not shown our own writes (see the replication controller).
const STALE_CACHE_BOUND: Duration = Duration::from_secs(30);

/// A pass that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} an EndpointSlice of Service {service}")]
struct Error {
    action: &'static str,
    service: ObjectKey,
    source: kube::Error,
}

/// What was written for one Service and may not show in the cache yet.
#[derive(Default)]
struct InFlight {
    written: Option<Barrier>,
    deleted: HashSet<String>,
}

struct Slices {
    client: Client,
    informers: Informers,
    recorder: Recorder,
    trigger_times: TriggerTimes,
    in_flight: Mutex<HashMap<ObjectKey, InFlight>>,
}

/// Subscribes to Services, pods, nodes and slices and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let (informers, shutdown) = (environment.informers.clone(), environment.shutdown.clone());
    let queue = Queue::new();
    services::subscribe(&informers, &queue, true);
    let wake = queue.clone();
    informers.slices.subscribe(move |change| {
        let managed = change
            .both()
            .filter(|slice| slice.labels().get(MANAGED_BY_LABEL).is_some_and(|by| by == MANAGER));
        managed.filter_map(|slice| service_of(slice)).for_each(|service| wake.add(service));
    });
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), NAME, "");
    let slices = Slices {
        client,
        informers,
        recorder,
        trigger_times: TriggerTimes::default(),
        in_flight: Mutex::default(),
    };
    Box::pin(async move {
        let caches = &slices.informers;
        tokio::join!(
            caches.services.synced(),
            caches.pods.synced(),
            caches.nodes.synced(),
            caches.slices.synced()
        );
        queue.run(WORKERS, &shutdown, |key| slices.reconcile(key)).await;
    })
}

/// The writes that bring the slices of `service` up to date with its pods, all families together.
fn plan(
    service: &Service,
    members: &[Arc<Pod>],
    existing: &[Arc<EndpointSlice>],
    node: &dyn Fn(&str) -> Option<Arc<Node>>,
    trigger_time: Option<String>,
) -> Plan {
    let meta = frame_meta(service, trigger_time);
    let families = services::families(service);
    let mut plan = Plan::default();
    let supported =
        |slice: &&Arc<EndpointSlice>| families.iter().any(|family| family.as_str() == slice.address_type);
    plan.delete.extend(existing.iter().filter(|slice| !supported(slice)).cloned());
    for family in &families {
        let of_family: Vec<_> =
            existing.iter().filter(|slice| slice.address_type == family.as_str()).cloned().collect();
        let frame = Frame { meta: &meta, address_type: family.as_str(), capacity: CAPACITY };
        let part = pack::pack(&frame, &of_family, desired::desired(service, members, *family, node));
        plan.create.extend(part.create);
        plan.update.extend(part.update);
        plan.delete.extend(part.delete);
    }
    plan
}

/// The metadata that the controller gives each slice of `service`.
fn frame_meta(service: &Service, trigger_time: Option<String>) -> ObjectMeta {
    let mut labels = service.labels().clone();
    labels.remove(HEADLESS_LABEL);
    labels.insert(SERVICE_NAME_LABEL.into(), service.name_any());
    labels.insert(MANAGED_BY_LABEL.into(), MANAGER.into());
    if services::is_headless(service) {
        labels.insert(HEADLESS_LABEL.into(), String::new());
    }
    ObjectMeta {
        generate_name: Some(format!("{}-", service.name_any())),
        namespace: service.namespace(),
        labels: Some(labels),
        annotations: trigger_time.map(|time| Strings::from([(TRIGGER_TIME.into(), time)])),
        owner_references: Some(vec![meta::controller_reference(service)]),
        ..ObjectMeta::default()
    }
}

impl Slices {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(service) = self.informers.services.get(&key) else {
            // The slices go with their owner.
            self.trigger_times.forget(&key);
            self.in_flight.lock().remove(&key);
            return Ok(Next::Done);
        };
        let Some(selector) = services::pod_selector(&service) else { return Ok(Next::Done) };
        if service.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Done);
        }
        let Some(existing) = self.settled(&key) else { return Ok(Next::After(STALE_CACHE_BOUND)) };
        let mut members = self.informers.pods.in_namespace(key.namespace());
        members.retain(|pod| meta::selects(selector, pod.labels()));
        let trigger_time = self.trigger_times.advance(&key, &service, &members);
        let node = |name: &str| self.informers.nodes.get(&ObjectKey::cluster(name));
        let plan = plan(&service, &members, &existing, &node, trigger_time);
        let result = self.execute(&key, plan).await;
        if let Err(error) = &result
            && !is_conflict(&error.source)
        {
            let message =
                format!("Error updating Endpoint Slices for Service {key}: {}", describe(&error.source));
            let object = service.object_ref(&());
            self.recorder.event(object, EventType::Warning, "FailedToUpdateEndpointSlices", message);
        }
        result.map(|()| Next::Done)
    }

    /// The slices of a Service as the cache shows them; `None` while it does not show our own writes yet.
    fn settled(&self, key: &ObjectKey) -> Option<Vec<Arc<EndpointSlice>>> {
        let mut slices = self.informers.slices_by_service.get(key);
        slices.retain(|slice| slice.labels().get(MANAGED_BY_LABEL).is_some_and(|by| by == MANAGER));
        let mut in_flight = self.in_flight.lock();
        if let Some(entry) = in_flight.get_mut(key) {
            if entry.written.as_ref().is_some_and(|barrier| !self.informers.slices.reached(barrier)) {
                return None;
            }
            entry.written = None;
            entry.deleted.retain(|uid| slices.iter().any(|slice| meta::uid(&slice.metadata) == uid));
            slices.retain(|slice| !entry.deleted.contains(meta::uid(&slice.metadata)));
        }
        slices.retain(|slice| slice.metadata.deletion_timestamp.is_none());
        Some(slices)
    }

    async fn execute(&self, key: &ObjectKey, plan: Plan) -> Result<(), Error> {
        let slices = api::<EndpointSlice>(&self.client, key);
        let failed = |action| move |source| Error { action, service: key.clone(), source };
        for slice in &plan.create {
            match slices.create(&PostParams::default(), slice).await {
                Ok(created) => self.wrote(key, &created.metadata),
                Err(error) if is_namespace_terminating(&error) => return Ok(()),
                Err(error) => return Err(failed("create")(error)),
            }
        }
        for slice in &plan.update {
            let updated = slices.replace(&slice.name_any(), &PostParams::default(), slice).await;
            self.wrote(key, &updated.map_err(failed("update"))?.metadata);
        }
        for slice in &plan.delete {
            match slices.delete(&slice.name_any(), &DeleteParams::default()).await {
                Err(error) if !is_not_found(&error) => return Err(failed("delete")(error)),
                _ => {
                    let uid = slice.uid().unwrap_or_default();
                    self.in_flight.lock().entry(key.clone()).or_default().deleted.insert(uid);
                }
            }
        }
        Ok(())
    }

    fn wrote(&self, key: &ObjectKey, written: &ObjectMeta) {
        let barrier = self.informers.slices.barrier(Revision::of(written));
        let mut in_flight = self.in_flight.lock();
        let entry = in_flight.entry(key.clone()).or_default();
        entry.written = Some(entry.written.map_or(barrier, |earlier| earlier.max(barrier)));
    }
}
