//! Keeps as many pods of a ReplicationController running as it asks for.
//!
//! A pass for one controller never acts on a pod cache older than its own last creates (a [`Barrier`] remembers them),
//! and pods it has deleted do not count even while the cache still shows them alive: so it never creates too many.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde_json::json;
use skiff_informer::{
    Barrier, EventType, Next, ObjectKey, Queue, Recorder, Revision, describe, is_conflict,
    is_namespace_terminating, is_not_found,
};
use tracing::debug;

use crate::environment::{Controller, Environment};
use crate::informers::{Informers, api};
use crate::meta;
use crate::pods::KnownPod;
use crate::pods::pace::{Pace, in_batches};

mod plan;
#[cfg(test)]
mod tests;

use plan::{Failure, Scale};

const NAME: &str = "replication-controller";
/// Controllers worked on at once.
const WORKERS: usize = 8;
/// Looks again after this long if the watch has still not shown our own creates: a bound, not a poll, for a pod that
/// was created and deleted while the watch was interrupted leaves no trace to wait for.
const STALE_CACHE_BOUND: Duration = Duration::from_secs(30);

/// A pass that failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot {action} of replication controller {key}")]
    Api { action: &'static str, key: ObjectKey, source: kube::Error },
    #[error("replication controller {key}: {}: {}", failure.reason, failure.message)]
    Scale { key: ObjectKey, failure: Failure },
}

/// What was written for one controller and may not show in the cache yet.
#[derive(Default)]
struct InFlight {
    created: Option<Barrier>,
    deleted: HashSet<String>,
}

struct Replication {
    client: Client,
    informers: Informers,
    recorder: Recorder,
    in_flight: Mutex<HashMap<ObjectKey, InFlight>>,
}

/// Subscribes to pods and controllers and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("replicationcontroller");
    subscribe(informers, &queue);
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), NAME, "");
    let replication =
        Replication { client, informers: informers.clone(), recorder, in_flight: Mutex::default() };
    environment.reconciler(
        queue,
        &[&informers.pods, &informers.replication_controllers],
        WORKERS,
        replication,
        |replication, key| replication.reconcile(key).boxed(),
    )
}

fn subscribe(informers: &Informers, queue: &Queue<ObjectKey>) {
    let wake = queue.clone();
    informers.replication_controllers.subscribe(move |change| wake.add(change.key.clone()));
    let (wake, controllers) = (queue.clone(), informers.replication_controllers.clone());
    informers.pods.subscribe(move |change| {
        let namespace = change.key.namespace();
        for pod in change.both() {
            if let Some(owner) = pod.controller() {
                if owner.kind == "ReplicationController" {
                    wake.add(ObjectKey::new(namespace, &owner.name));
                }
            } else if change.new.is_some() {
                let selecting = controllers.in_namespace(namespace).into_iter();
                selecting
                    .filter(|rc| meta::selects(&plan::selector(rc), pod.labels()))
                    .for_each(|rc| wake.add(ObjectKey::of(&rc.metadata)));
            }
        }
    });
}

impl Replication {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(rc) = self.informers.replication_controllers.get(&key) else {
            self.in_flight.lock().remove(&key);
            return Ok(Next::Done);
        };
        let claims = plan::claim(&rc, &self.informers.pods.in_namespace(key.namespace()));
        let mut owned = claims.owned;
        self.release(&key, &rc, &claims.release).await?;
        owned.extend(self.adopt(&key, &rc, claims.adopt).await?);
        let (fresh, deleted) = self.settle(&key, &owned);
        let scaled = match fresh {
            true => self.scale(&key, &rc, &owned, &deleted, claims.ended).await,
            false => Ok(Some(STALE_CACHE_BOUND)),
        };
        let available_in = self.report(&key, &rc, &owned, scaled.as_ref().err()).await?;
        match scaled {
            Err(failure) => Err(Error::Scale { key, failure }),
            Ok(more_in) => {
                let look_in = [more_in, available_in].into_iter().flatten().min();
                Ok(look_in.map_or(Next::Done, Next::After))
            }
        }
    }

    /// Forgets what the cache shows by now. Returns whether the cache shows all creates, and the deletes it does not.
    fn settle(&self, key: &ObjectKey, owned: &[Arc<KnownPod>]) -> (bool, HashSet<String>) {
        let mut in_flight = self.in_flight.lock();
        let Some(entry) = in_flight.get_mut(key) else { return (true, HashSet::new()) };
        let alive: HashSet<&str> = owned.iter().map(|pod| pod.uid()).collect();
        entry.deleted.retain(|uid| alive.contains(uid.as_str()));
        if entry.created.as_ref().is_some_and(|barrier| self.informers.pods.reached(barrier)) {
            entry.created = None;
        }
        (entry.created.is_none(), entry.deleted.clone())
    }

    /// Creates or deletes pods. Returns after how long more may be created, if that is what keeps some from it now.
    async fn scale(
        &self,
        key: &ObjectKey,
        rc: &ReplicationController,
        owned: &[Arc<KnownPod>],
        deleted: &HashSet<String>,
        mut ended: Vec<Arc<KnownPod>>,
    ) -> Result<Option<Duration>, Failure> {
        let number = match plan::scale(rc, owned, deleted) {
            Scale::Nothing => return Ok(None),
            Scale::Delete(pods) => return self.delete(key, rc, &pods).await.map(|()| None),
            Scale::Create(number) => number,
        };
        ended.extend_from_slice(owned);
        match Pace::of(&ended, Timestamp::now()) {
            Pace::Free => self.create(key, rc, number).await.map(|()| None),
            // Each pod that comes to run, or ends, brings the controller up again.
            Pace::AtMost(most) => self.create(key, rc, number.min(most)).await.map(|()| None),
            Pace::NotBefore(pause) => {
                let message = "Back-off creating pods: they end soon after they are created";
                self.event(rc, EventType::Warning, "BackOff", message.into());
                Ok(Some(pause))
            }
        }
    }

    async fn create(
        &self,
        key: &ObjectKey,
        rc: &ReplicationController,
        number: usize,
    ) -> Result<(), Failure> {
        let template = plan::pod_from_template(rc);
        match in_batches(number, || self.create_one(key, rc, &template)).await {
            Err(Some(failure)) => Err(failure),
            // The namespace is going away.
            Ok(()) | Err(None) => Ok(()),
        }
    }

    /// Creates one pod. `Err(None)` ends the batches silently: the namespace is going away.
    async fn create_one(
        &self,
        key: &ObjectKey,
        rc: &ReplicationController,
        template: &Pod,
    ) -> Result<(), Option<Failure>> {
        match api::<Pod>(&self.client, key).create(&PostParams::default(), template).await {
            Ok(pod) => {
                let barrier = self.informers.pods.barrier(Revision::of(&pod.metadata));
                self.in_flight.lock().entry(key.clone()).or_default().created_one(barrier);
                self.event(
                    rc,
                    EventType::Normal,
                    "SuccessfulCreate",
                    format!("Created pod: {}", pod.name_any()),
                );
                Ok(())
            }
            Err(error) if is_namespace_terminating(&error) => Err(None),
            Err(error) => {
                let message = describe(&error);
                self.event(rc, EventType::Warning, "FailedCreate", format!("Error creating: {message}"));
                Err(Some(Failure { reason: "FailedCreate", message }))
            }
        }
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        rc: &ReplicationController,
        pods: &[Arc<KnownPod>],
    ) -> Result<(), Failure> {
        join_all(pods.iter().map(|pod| self.delete_one(key, rc, pod))).await.into_iter().collect()
    }

    async fn delete_one(
        &self,
        key: &ObjectKey,
        rc: &ReplicationController,
        pod: &KnownPod,
    ) -> Result<(), Failure> {
        let uid = pod.uid().to_owned();
        self.in_flight.lock().entry(key.clone()).or_default().deleted.insert(uid.clone());
        let exactly_this = Preconditions { uid: Some(uid.clone()), resource_version: None };
        let params = DeleteParams { preconditions: Some(exactly_this), ..DeleteParams::default() };
        match api::<Pod>(&self.client, key).delete(pod.name(), &params).await {
            Ok(_) => {
                self.event(rc, EventType::Normal, "SuccessfulDelete", format!("Deleted pod: {}", pod.name()));
                Ok(())
            }
            // Gone already, or another pod of that name: this one needs no deleting.
            Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(()),
            Err(error) => {
                if let Some(entry) = self.in_flight.lock().get_mut(key) {
                    entry.deleted.remove(&uid);
                }
                let message = describe(&error);
                self.event(rc, EventType::Warning, "FailedDelete", format!("Error deleting: {message}"));
                Err(Failure { reason: "FailedDelete", message })
            }
        }
    }

    /// Takes orphans over, after a fresh read has shown that the controller still exists and is not being deleted.
    async fn adopt(
        &self,
        key: &ObjectKey,
        rc: &ReplicationController,
        orphans: Vec<Arc<KnownPod>>,
    ) -> Result<Vec<Arc<KnownPod>>, Error> {
        if orphans.is_empty() {
            return Ok(orphans);
        }
        let failed = |source| Error::Api { action: "check the existence", key: key.clone(), source };
        let live = api::<ReplicationController>(&self.client, key).get(key.name()).await.map_err(failed)?;
        if live.uid() != rc.uid() || live.metadata.deletion_timestamp.is_some() {
            debug!(%key, "not adopting: the controller was deleted");
            return Ok(Vec::new());
        }
        let mut adopted = Vec::new();
        for pod in orphans {
            let patch = json!({"metadata": {
                "uid": pod.uid(), "ownerReferences": [meta::controller_reference(rc)],
            }});
            if self.patch_pod(key, &pod, patch, "adopt a pod").await? {
                adopted.push(pod);
            }
        }
        Ok(adopted)
    }

    async fn release(
        &self,
        key: &ObjectKey,
        rc: &ReplicationController,
        strangers: &[Arc<KnownPod>],
    ) -> Result<(), Error> {
        for pod in strangers {
            let patch = json!({"metadata": {
                "uid": pod.uid(), "ownerReferences": [{"$patch": "delete", "uid": rc.uid()}],
            }});
            self.patch_pod(key, pod, patch, "release a pod").await?;
        }
        Ok(())
    }

    /// Patches a pod's owners; `false` when the pod is gone.
    async fn patch_pod(
        &self,
        key: &ObjectKey,
        pod: &KnownPod,
        patch: serde_json::Value,
        action: &'static str,
    ) -> Result<bool, Error> {
        let api = api::<Pod>(&self.client, key);
        match api.patch(pod.name(), &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => Ok(true),
            Err(error) if is_not_found(&error) => Ok(false),
            Err(source) => Err(Error::Api { action, key: key.clone(), source }),
        }
    }

    /// Writes the status if it changed. Returns after how long another replica turns available.
    async fn report(
        &self,
        key: &ObjectKey,
        rc: &ReplicationController,
        owned: &[Arc<KnownPod>],
        failure: Option<&Failure>,
    ) -> Result<Option<Duration>, Error> {
        let active: Vec<_> = owned.iter().filter(|pod| pod.is_active()).cloned().collect();
        let (status, available_in) = plan::status(rc, &active, failure, Timestamp::now());
        if plan::same_status(rc.status.as_ref(), &status) {
            return Ok(available_in);
        }
        let updated = ReplicationController { status: Some(status), ..rc.clone() };
        let api = api::<ReplicationController>(&self.client, key);
        match api.replace_status(key.name(), &PostParams::default(), &updated).await {
            Ok(_) => Ok(available_in),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(source) => Err(Error::Api { action: "update the status", key: key.clone(), source }),
        }
    }

    fn event(&self, rc: &ReplicationController, kind: EventType, reason: &'static str, message: String) {
        self.recorder.event(rc.object_ref(&()), kind, reason, message);
    }
}

impl InFlight {
    /// Remembers a create; the newest revision covers the older ones.
    fn created_one(&mut self, barrier: Barrier) {
        self.created = Some(match self.created {
            Some(earlier) => earlier.max(barrier),
            None => barrier,
        });
    }
}
