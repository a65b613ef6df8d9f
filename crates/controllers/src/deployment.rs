//! Rolls the pods of a Deployment out, one ReplicaSet for each template.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::api::{DeleteParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use skiff_informer::{
    EventType, Next, ObjectKey, Queue, Recorder, describe, is_already_exists, is_namespace_terminating,
    is_not_found,
};

use crate::environment::{Controller, Environment};
use crate::informers::{Informers, api};
use crate::meta;
use crate::pods::KnownPod;
use crate::workload::{
    ClaimError, InFlight, Owner, STALE_CACHE_BOUND, Selector, claim, follow, status, template,
};

mod model;
mod plan;
mod progress;
mod revisions;
mod scale;
#[cfg(test)]
mod tests;

use model::{Plan, Write, reported};
use progress::Progress;

const NAME: &str = "deployment-controller";
/// Deployments worked on at once.
const WORKERS: usize = 8;

/// A pass that failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("deployment {deployment}: {source}")]
    Claim { deployment: ObjectKey, source: ClaimError },
    #[error("cannot {action} replica set {set} of deployment {deployment}: {}", describe(source))]
    Set { action: &'static str, set: String, deployment: ObjectKey, source: kube::Error },
    #[error("cannot update the status of deployment {deployment}: {}", describe(source))]
    Status { deployment: ObjectKey, source: kube::Error },
    #[error("another template has the hash of that of deployment {deployment}")]
    Collision { deployment: ObjectKey },
}

struct Deployments {
    client: Client,
    informers: Informers,
    recorder: Recorder,
    sets: InFlight<ReplicaSet>,
    deployments: InFlight<Deployment>,
}

impl Owner for Deployment {
    fn selector(&self) -> Selector {
        self.spec.as_ref().map(|spec| Selector::of(&spec.selector)).unwrap_or_default()
    }
}

/// Subscribes to Deployments, their ReplicaSets and pods, and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("deployment");
    follow(&informers.deployments, &informers.replica_sets, &queue);
    wake_when_pods_end(informers, &queue);
    let client = environment.client(NAME);
    let deployments = Deployments {
        recorder: Recorder::start(client.clone(), NAME, ""),
        client,
        sets: InFlight::new(&informers.replica_sets),
        deployments: InFlight::new(&informers.deployments),
        informers: informers.clone(),
    };
    environment.reconciler(
        queue,
        &[&informers.deployments, &informers.replica_sets, &informers.pods],
        WORKERS,
        deployments,
        |deployments, key| deployments.reconcile(key).boxed(),
    )
}

/// A Deployment that recreates waits for its old pods, of which ReplicaSets do not tell when they are gone.
fn wake_when_pods_end(informers: &Informers, queue: &Queue<ObjectKey>) {
    let (wake, sets) = (queue.clone(), informers.replica_sets.clone());
    informers.pods.subscribe(move |change| {
        let lives = |pod: Option<&Arc<KnownPod>>| pod.is_some_and(|pod| !pod.is_terminal());
        if !lives(change.old) || lives(change.new) {
            return;
        }
        let Some(owner) = change.latest().controller().filter(|owner| owner.kind == "ReplicaSet") else {
            return;
        };
        let set = sets.get(&ObjectKey::new(change.key.namespace(), &owner.name));
        let deployment = set.as_deref().and_then(|set| meta::controller_of(&set.metadata));
        if let Some(deployment) = deployment.filter(|owner| owner.kind == "Deployment") {
            wake.add(ObjectKey::new(change.key.namespace(), &deployment.name));
        }
    });
}

impl Deployments {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        // Before anything is read: what is written meanwhile may be missing in what was read.
        let settled = self.sets.is_settled(&key) && self.deployments.is_settled(&key);
        let Some(deployment) = self.informers.deployments.get(&key) else {
            self.sets.forget(&key);
            self.deployments.forget(&key);
            return Ok(Next::Done);
        };
        if !settled {
            return Ok(Next::After(STALE_CACHE_BOUND));
        }
        let candidates = self.informers.replica_sets_by_owner.of_or_orphaned(&*deployment);
        let claims = claim(&*deployment, candidates, |selector, set| selector.selects(set));
        let claimed = claims.settle(&self.client, &*deployment, &[]).await;
        let sets = claimed.map_err(|source| Error::Claim { deployment: key.clone(), source })?;
        let has_old_pods = |new: Option<&str>| self.has_old_pods(&sets, new);
        let Some(plan) = plan::plan(&deployment, &sets, has_old_pods, Timestamp::now()) else {
            return Ok(Next::Done);
        };
        for write in &plan.writes {
            match self.write(&key, &deployment, write).await {
                Err(Error::Set { source, .. }) if is_namespace_terminating(&source) => return Ok(Next::Done),
                result => result?,
            }
        }
        self.report(&key, &deployment, &plan).await?;
        let look_in = plan.look_in.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(look_in.map_or(Next::Done, |seconds| Next::After(Duration::from_secs(seconds))))
    }

    /// Whether a ReplicaSet other than the new one has pods that have not ended.
    fn has_old_pods(&self, sets: &[Arc<ReplicaSet>], new: Option<&str>) -> bool {
        let old = sets.iter().filter(|set| Some(set.name_any().as_str()) != new);
        let mut pods = old.flat_map(|set| self.informers.pods_by_owner.of(meta::uid(&set.metadata)));
        pods.any(|pod| !pod.is_terminal())
    }

    async fn write(&self, key: &ObjectKey, deployment: &Deployment, write: &Write) -> Result<(), Error> {
        let api = api::<ReplicaSet>(&self.client, key);
        let failed = |action, set: &str| {
            let (set, deployment) = (set.to_owned(), key.clone());
            move |source| Error::Set { action, set, deployment, source }
        };
        match write {
            Write::Create(set) => self.create(key, deployment, set).await,
            Write::Update { set, from, to } => {
                let name = set.name_any();
                let written = api.replace(&name, &PostParams::default(), set).await;
                self.sets.wrote(key, &written.map_err(failed("update", &name))?.metadata);
                self.tell_scaled(deployment, &name, *from, *to);
                Ok(())
            }
            Write::Delete(name) => match api.delete(name, &DeleteParams::default()).await {
                Err(source) if !is_not_found(&source) => Err(failed("delete", name)(source)),
                _ => Ok(()),
            },
        }
    }

    fn tell_scaled(&self, deployment: &Deployment, set: &str, from: i32, to: i32) {
        if from != to {
            let way = if from < to { "up" } else { "down" };
            let message = format!("Scaled {way} replica set {set} from {from} to {to}");
            self.recorder.event(deployment.object_ref(&()), EventType::Normal, "ScalingReplicaSet", message);
        }
    }

    async fn create(&self, key: &ObjectKey, deployment: &Deployment, set: &ReplicaSet) -> Result<(), Error> {
        let (api, name) = (api::<ReplicaSet>(&self.client, key), set.name_any());
        let source = match api.create(&PostParams::default(), set).await {
            Ok(created) => {
                self.sets.wrote(key, &created.metadata);
                let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
                self.tell_scaled(deployment, &name, 0, replicas);
                return Ok(());
            }
            Err(source) => source,
        };
        if is_already_exists(&source) {
            return self.meet(key, deployment, set).await;
        }
        if !is_namespace_terminating(&source) {
            self.tell_refused(deployment, &name, &source).await;
        }
        Err(Error::Set { action: "create", set: name, deployment: key.clone(), source })
    }

    /// There is a ReplicaSet of that name: ours, which the cache does not show yet, or of another template with the same hash. Then
    /// the Deployment counts one collision more, so that its hash is another one.
    async fn meet(&self, key: &ObjectKey, deployment: &Deployment, set: &ReplicaSet) -> Result<(), Error> {
        let name = set.name_any();
        let found = api::<ReplicaSet>(&self.client, key).get(&name).await;
        let found = found.map_err(|source| Error::Set {
            action: "read",
            set: name,
            deployment: key.clone(),
            source,
        })?;
        let template =
            |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
        let is_ours = meta::controller_of(&found.metadata).is_some_and(|owner| deployment.is(owner));
        if is_ours && template::is_same(&template(&found), &template(set)) {
            self.sets.wrote(key, &found.metadata);
            return Ok(());
        }
        let mut counted = deployment.clone();
        *counted.status.get_or_insert_default().collision_count.get_or_insert(0) += 1;
        self.write_status(key, &counted).await?;
        Err(Error::Collision { deployment: key.clone() })
    }

    async fn tell_refused(&self, deployment: &Deployment, name: &str, source: &kube::Error) {
        let message = format!("Failed to create new replica set {name:?}: {}", describe(source));
        let has_deadline =
            deployment.spec.as_ref().is_some_and(|spec| model::Wants::of(spec).deadline().is_some());
        if has_deadline {
            let mut failed = deployment.clone();
            let status = failed.status.get_or_insert_default();
            progress::say(status, Progress::ReplicaSetCreateError, &message, Timestamp::now());
            let key = deployment.key();
            if !status::says_the_same(deployment.status.as_ref(), status)
                && let Err(error) = self.write_status(&key, &failed).await
            {
                tracing::debug!(%key, %error, "the refusal is not told of in the status");
            }
        }
        let kind = EventType::Warning;
        self.recorder.event(deployment.object_ref(&()), kind, "ReplicaSetCreateError", message);
    }

    /// Writes the status if it changed.
    async fn report(&self, key: &ObjectKey, deployment: &Deployment, plan: &Plan) -> Result<(), Error> {
        let same = status::says_the_same(deployment.status.as_ref(), &plan.status);
        if same && plan.revision.is_none() {
            return Ok(());
        }
        self.write_status(key, &reported(deployment, plan)).await
    }

    async fn write_status(&self, key: &ObjectKey, deployment: &Deployment) -> Result<(), Error> {
        let written = status::write(&self.client, deployment).await;
        let written = written.map_err(|source| Error::Status { deployment: key.clone(), source })?;
        if let Some(written) = written {
            self.deployments.wrote(key, &written.metadata);
        }
        Ok(())
    }
}
