//! Keeps the EndpointSlices of each Service with a selector in step with its pods, without delay: a pod that becomes
//! ready is in a slice one write later.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use skiff_informer::{EventType, Next, ObjectKey, Recorder, describe, is_conflict};

use crate::environment::{Controller, Environment};
use crate::informers::{Informers, SERVICE_NAME_LABEL};
use crate::meta::{self, Strings};
use crate::pods::KnownPod;
use crate::services::{self, HEADLESS_LABEL, TRIGGER_TIME};
use crate::trigger_time::TriggerTimes;

mod desired;
mod pack;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use desired::{Group, PortSet};
pub(crate) use pack::{Frame, Placeholder, Plan, pack};
pub(crate) use writer::{SliceWriter, WriteError};

const NAME: &str = "endpointslice-controller";
/// Says which controller keeps a slice.
pub(crate) const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Most endpoints in one slice.
pub(crate) const CAPACITY: usize = 100;
/// Services worked on at once.
const WORKERS: usize = 16;
/// Looks again after this long if the watch has not shown our own writes (see the replication controller).
pub(crate) const STALE_CACHE_BOUND: Duration = Duration::from_secs(30);

struct Slices {
    writer: SliceWriter,
    informers: Informers,
    recorder: Recorder,
    trigger_times: TriggerTimes,
}

/// Subscribes to Services, pods, nodes and slices and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("endpointslice");
    services::subscribe(informers, &queue, true);
    SliceWriter::subscribe(informers, MANAGER, &queue);
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), NAME, "");
    let writer = SliceWriter::new(client, informers.clone(), MANAGER);
    let slices =
        Slices { writer, informers: informers.clone(), recorder, trigger_times: TriggerTimes::default() };
    environment.reconciler(
        queue,
        &[&informers.services, &informers.pods, &informers.nodes, &informers.slices],
        WORKERS,
        slices,
        |slices, key| slices.reconcile(key).boxed(),
    )
}

/// The writes that bring the slices of `service` up to date with its pods, all families together.
fn plan(
    service: &Service,
    members: &[Arc<KnownPod>],
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
        let placeholder = Placeholder::Keep;
        let frame = Frame { meta: &meta, address_type: family.as_str(), capacity: CAPACITY, placeholder };
        let part = pack(&frame, &of_family, desired::desired(service, members, *family, node));
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
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let Some(service) = self.informers.services.get(&key) else {
            // The slices go with their owner.
            self.trigger_times.forget(&key);
            self.writer.forget(&key);
            return Ok(Next::Done);
        };
        let Some(selector) = services::pod_selector(&service) else { return Ok(Next::Done) };
        if service.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Done);
        }
        let Some(existing) = self.writer.existing(&key) else { return Ok(Next::After(STALE_CACHE_BOUND)) };
        let members = self.informers.members.of(&key, selector);
        let trigger_time = self.trigger_times.advance(&key, &service, &members);
        let node = |name: &str| self.informers.nodes.get(&ObjectKey::cluster(name));
        let plan = plan(&service, &members, &existing, &node, trigger_time);
        let result = self.writer.execute(&key, plan).await;
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
}
