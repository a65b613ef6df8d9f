//! The kinds that ask for a number of alike pods.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{PodTemplateSpec, ReplicationController, ReplicationControllerStatus};
use skiff_informer::Cache;

use super::plan::Counts;
use super::{Replicated, Wants};
use crate::informers::Informers;
use crate::meta;
use crate::pods::KnownPod;
use crate::workload::conditions::{self, Condition};
use crate::workload::{Owner, PodFailure, Selector, status};

/// The condition of an owner whose pods cannot be brought to the number it asks for.
const FAILURE: &str = "ReplicaFailure";

/// What an owner asks for; a number that it does not say is one.
fn wants(replicas: Option<i32>, min_ready: Option<i32>, template: Option<&PodTemplateSpec>) -> Wants<'_> {
    Wants {
        replicas: usize::try_from(replicas.unwrap_or(1)).unwrap_or(0),
        min_ready: status::min_ready(min_ready),
        template,
    }
}

/// Sets or removes [`FAILURE`]; one that is there already stays.
fn with_failure<C: Condition + Clone>(
    old: Option<&Vec<C>>,
    failure: Option<&PodFailure>,
    now: Timestamp,
) -> Option<Vec<C>> {
    let mut all = old.cloned().unwrap_or_default();
    match failure {
        None => conditions::remove(&mut all, FAILURE),
        Some(_) if conditions::find(&all, FAILURE).is_some() => {}
        Some(failure) => all.push(C::holds(FAILURE, failure.reason, &failure.message, now)),
    }
    conditions::listed(all)
}

impl Owner for ReplicationController {
    /// By default the labels of the template.
    fn selector(&self) -> Selector {
        let given = self.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let template = self.wants().template.and_then(|template| template.metadata.as_ref());
        let labels = given.filter(|selector| !selector.is_empty());
        let labels = labels.or_else(|| template.and_then(|metadata| metadata.labels.as_ref()));
        labels.map(Selector::equal).unwrap_or_default()
    }
}

impl Replicated for ReplicationController {
    const NAME: &'static str = "replication-controller";
    const QUEUE: &'static str = "replicationcontroller";
    type Status = ReplicationControllerStatus;

    fn cache(informers: &Informers) -> &Cache<Self> {
        &informers.replication_controllers
    }

    fn wants(&self) -> Wants<'_> {
        let spec = self.spec.as_ref();
        wants(
            spec.and_then(|spec| spec.replicas),
            spec.and_then(|spec| spec.min_ready_seconds),
            spec.and_then(|spec| spec.template.as_ref()),
        )
    }

    fn status(&self) -> Option<&ReplicationControllerStatus> {
        self.status.as_ref()
    }

    fn reported(&self, counts: Counts, failure: Option<&PodFailure>, now: Timestamp) -> Self {
        let old = self.status.as_ref().and_then(|status| status.conditions.as_ref());
        let status = ReplicationControllerStatus {
            replicas: counts.replicas,
            fully_labeled_replicas: Some(counts.fully_labeled),
            ready_replicas: Some(counts.ready),
            available_replicas: Some(counts.available),
            observed_generation: self.metadata.generation,
            conditions: with_failure(old, failure, now),
        };
        Self { status: Some(status), ..self.clone() }
    }

    fn relatives(&self, informers: &Informers) -> Vec<Arc<KnownPod>> {
        informers.pods_by_owner.of(meta::uid(&self.metadata))
    }
}

impl Owner for ReplicaSet {
    fn selector(&self) -> Selector {
        self.spec.as_ref().map(|spec| Selector::of(&spec.selector)).unwrap_or_default()
    }
}

impl Replicated for ReplicaSet {
    const NAME: &'static str = "replicaset-controller";
    const QUEUE: &'static str = "replicaset";
    type Status = ReplicaSetStatus;

    fn cache(informers: &Informers) -> &Cache<Self> {
        &informers.replica_sets
    }

    fn wants(&self) -> Wants<'_> {
        let spec = self.spec.as_ref();
        wants(
            spec.and_then(|spec| spec.replicas),
            spec.and_then(|spec| spec.min_ready_seconds),
            spec.and_then(|spec| spec.template.as_ref()),
        )
    }

    fn status(&self) -> Option<&ReplicaSetStatus> {
        self.status.as_ref()
    }

    fn reported(&self, counts: Counts, failure: Option<&PodFailure>, now: Timestamp) -> Self {
        let old = self.status.as_ref().and_then(|status| status.conditions.as_ref());
        let status = ReplicaSetStatus {
            replicas: counts.replicas,
            fully_labeled_replicas: Some(counts.fully_labeled),
            ready_replicas: Some(counts.ready),
            available_replicas: Some(counts.available),
            terminating_replicas: Some(counts.terminating),
            observed_generation: self.metadata.generation,
            conditions: with_failure(old, failure, now),
        };
        Self { status: Some(status), ..self.clone() }
    }

    /// Those of all ReplicaSets of its Deployment.
    fn relatives(&self, informers: &Informers) -> Vec<Arc<KnownPod>> {
        let pods_of = |uid: &str| informers.pods_by_owner.of(uid);
        let Some(owner) = meta::controller_of(&self.metadata) else {
            return pods_of(meta::uid(&self.metadata));
        };
        let sets = informers.replica_sets_by_owner.of(&owner.uid);
        sets.iter().flat_map(|set| pods_of(meta::uid(&set.metadata))).collect()
    }
}
