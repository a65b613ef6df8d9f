//! Removes the finalizers of pods that no Job counts any more: its Job is gone, or has ended, or it has none.

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use skiff_informer::{Next, ObjectKey, is_conflict, is_not_found};

use super::{NAME, WORKERS, conditions, wish};
use crate::environment::{Controller, Environment};
use crate::informers::{Informers, api};
use crate::meta;
use crate::pods::KnownPod;
use crate::pods::work::TRACKING_FINALIZER;

/// A pod that keeps its finalizer.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove the finalizer of pod {pod}")]
struct Error {
    pod: ObjectKey,
    source: kube::Error,
}

pub(super) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("job_orphan_pod");
    let (wake, caches) = (queue.clone(), informers.clone());
    informers.pods.subscribe(move |change| {
        if change.new.is_some_and(|pod| is_orphan(&caches, pod)) {
            wake.add(change.key.clone());
        }
    });
    let (wake, pods) = (queue.clone(), informers.pods_by_owner.clone());
    informers.jobs.subscribe(move |change| {
        if change.new.is_none_or(|job| conditions::finished(job).is_some()) {
            let pods = pods.of(meta::uid(&change.latest().metadata)).into_iter();
            pods.filter(|pod| is_tracked(pod)).for_each(|pod| wake.add(pod.key().clone()));
        }
    });
    let state = (environment.client(NAME), informers.clone());
    environment.reconciler(
        queue,
        &[&informers.pods, &informers.jobs],
        WORKERS,
        state,
        |(client, informers), key| release(client, informers, key).boxed(),
    )
}

async fn release(client: &Client, informers: &Informers, key: ObjectKey) -> Result<Next, Error> {
    let Some(pod) = informers.pods.get(&key).filter(|pod| is_orphan(informers, pod)) else {
        return Ok(Next::Done);
    };
    let patch = json!({"metadata": {
        "uid": pod.uid(), "$deleteFromPrimitiveList/finalizers": [TRACKING_FINALIZER],
    }});
    let api = api::<Pod>(client, &key);
    match api.patch(key.name(), &PatchParams::default(), &Patch::Strategic(patch)).await {
        Err(error) if !is_not_found(&error) && !is_conflict(&error) => Err(Error { pod: key, source: error }),
        _ => Ok(Next::Done),
    }
}

fn is_tracked(pod: &KnownPod) -> bool {
    pod.work().is_some_and(|work| work.tracked)
}

/// Whether nobody will count the pod that waits for it. Whoever else controls it may have a use for the finalizer.
fn is_orphan(informers: &Informers, pod: &KnownPod) -> bool {
    if !is_tracked(pod) {
        return false;
    }
    let Some(owner) = pod.controller() else { return true };
    if owner.kind != "Job" || meta::group_of(&owner.api_version) != "batch" {
        return false;
    }
    let job = informers.jobs.get(&ObjectKey::new(pod.key().namespace(), &owner.name));
    let job = job.filter(|job| meta::uid(&job.metadata) == owner.uid);
    job.is_none_or(|job| !wish::is_foreign(&job) && conditions::finished(&job).is_some())
}
