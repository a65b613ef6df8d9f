//! Reads the slices that one controller keeps for a Service, and carries out plans for them, never on a cache that is
//! older than its own writes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Client, ResourceExt};
use parking_lot::Mutex;
use skiff_informer::{Barrier, ObjectKey, Queue, Revision, is_namespace_terminating, is_not_found};

use super::MANAGED_BY_LABEL;
use super::pack::Plan;
use crate::informers::{Informers, api, service_of};
use crate::meta;

/// A write that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} an EndpointSlice of Service {service}")]
pub(crate) struct WriteError {
    action: &'static str,
    service: ObjectKey,
    pub(crate) source: kube::Error,
}

/// What was written for one Service and may not show in the cache yet.
#[derive(Default)]
struct InFlight {
    written: Option<Barrier>,
    deleted: HashSet<String>,
}

/// The slices of one manager.
pub(crate) struct SliceWriter {
    client: Client,
    informers: Informers,
    /// The value of the managed-by label.
    manager: &'static str,
    in_flight: Mutex<HashMap<ObjectKey, InFlight>>,
}

impl SliceWriter {
    pub(crate) fn new(client: Client, informers: Informers, manager: &'static str) -> Self {
        Self { client, informers, manager, in_flight: Mutex::default() }
    }

    /// Wakes `queue` with the Service of every slice of `manager` that changes.
    pub(crate) fn subscribe(informers: &Informers, manager: &'static str, queue: &Queue<ObjectKey>) {
        let wake = queue.clone();
        informers.slices.subscribe(move |change| {
            let managed = change.both().filter(|slice| is_managed_by(slice, manager));
            managed.filter_map(|slice| service_of(slice)).for_each(|service| wake.add(service));
        });
    }

    /// The slices of a Service; `None` while the cache does not show our own writes yet. Their arrival wakes the queue.
    pub(crate) fn existing(&self, service: &ObjectKey) -> Option<Vec<Arc<EndpointSlice>>> {
        let mut slices = self.informers.slices_by_service.get(service);
        slices.retain(|slice| is_managed_by(slice, self.manager));
        let mut in_flight = self.in_flight.lock();
        if let Some(entry) = in_flight.get_mut(service) {
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

    /// Forgets a Service that is gone.
    pub(crate) fn forget(&self, service: &ObjectKey) {
        self.in_flight.lock().remove(service);
    }

    /// Carries out `plan`: creates, then updates, then deletes, so that endpoints are never missing in between.
    pub(crate) async fn execute(&self, service: &ObjectKey, plan: Plan) -> Result<(), WriteError> {
        let slices = api::<EndpointSlice>(&self.client, service);
        let failed = |action| move |source| WriteError { action, service: service.clone(), source };
        for slice in &plan.create {
            match slices.create(&PostParams::default(), slice).await {
                Ok(created) => self.wrote(service, &created.metadata),
                Err(error) if is_namespace_terminating(&error) => return Ok(()),
                Err(error) => return Err(failed("create")(error)),
            }
        }
        for slice in &plan.update {
            let updated = slices.replace(&slice.name_any(), &PostParams::default(), slice).await;
            self.wrote(service, &updated.map_err(failed("update"))?.metadata);
        }
        for slice in &plan.delete {
            match slices.delete(&slice.name_any(), &DeleteParams::default()).await {
                Err(error) if !is_not_found(&error) => return Err(failed("delete")(error)),
                _ => {
                    let uid = slice.uid().unwrap_or_default();
                    self.in_flight.lock().entry(service.clone()).or_default().deleted.insert(uid);
                }
            }
        }
        Ok(())
    }

    fn wrote(&self, service: &ObjectKey, written: &ObjectMeta) {
        let barrier = self.informers.slices.barrier(Revision::of(written));
        let mut in_flight = self.in_flight.lock();
        let entry = in_flight.entry(service.clone()).or_default();
        entry.written = Some(entry.written.map_or(barrier, |earlier| earlier.max(barrier)));
    }
}

fn is_managed_by(slice: &EndpointSlice, manager: &str) -> bool {
    slice.labels().get(MANAGED_BY_LABEL).is_some_and(|by| by == manager)
}
