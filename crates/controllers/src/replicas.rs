//! Keeps as many pods of a ReplicationController or ReplicaSet running as it asks for.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::{Client, Resource};
use serde::Serialize;
use skiff_informer::{Cache, EventType, Next, ObjectKey, Recorder};

use crate::environment::{Controller, Environment};
use crate::informers::Informers;
use crate::meta;
use crate::pods::KnownPod;
use crate::pods::pace::Pace;
use crate::workload::{
    ClaimError, Owner, PodControl, PodFailure, STALE_CACHE_BOUND, claim, follow, pod_of, status,
};

mod kinds;
mod plan;
#[cfg(test)]
mod tests;

use plan::{Counts, Scale};

/// Controllers worked on at once.
const WORKERS: usize = 8;

/// A kind whose objects ask for a number of alike pods.
pub(crate) trait Replicated: Owner {
    /// Whom the controller acts as, and how it calls itself in events.
    const NAME: &'static str;
    /// What its queue is called.
    const QUEUE: &'static str;
    /// Its status.
    type Status: Serialize;

    /// Where its objects are.
    fn cache(informers: &Informers) -> &Cache<Self>;
    /// What the object asks for.
    fn wants(&self) -> Wants<'_>;
    /// What it says of itself.
    fn status(&self) -> Option<&Self::Status>;
    /// The object with what is to be said of it.
    fn reported(&self, counts: Counts, failure: Option<&PodFailure>, now: Timestamp) -> Self;
    /// The pods besides which those of the object are spread.
    fn relatives(&self, informers: &Informers) -> Vec<Arc<KnownPod>>;
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants<'a> {
    replicas: usize,
    min_ready: Duration,
    template: Option<&'a PodTemplateSpec>,
}

/// A pass that failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{owner}: {source}")]
    Claim { owner: ObjectKey, source: ClaimError },
    #[error("cannot update the status of {owner}")]
    Status { owner: ObjectKey, source: kube::Error },
    #[error("{owner}: {failure}")]
    Scale { owner: ObjectKey, failure: PodFailure },
}

struct Replicas {
    client: Client,
    informers: Informers,
    pods: PodControl,
}

/// Subscribes to pods and the owners of kind `K`, and returns the running controller.
pub(crate) fn controller<K: Replicated>(environment: &Environment<'_>) -> Controller {
    let informers = environment.informers.clone();
    let queue = environment.vitals.queue(K::QUEUE);
    follow(K::cache(&informers), &informers.pods, &queue);
    let client = environment.client(K::NAME);
    let recorder = Recorder::start(client.clone(), K::NAME, "");
    let pods = PodControl::new(client.clone(), recorder, &informers.pods);
    let replicas = Replicas { client, informers, pods };
    let informers = &environment.informers;
    environment.reconciler(
        queue,
        &[&informers.pods, K::cache(informers)],
        WORKERS,
        replicas,
        |replicas, key| replicas.reconcile::<K>(key).boxed(),
    )
}

impl Replicas {
    async fn reconcile<K: Replicated>(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(owner) = K::cache(&self.informers).get(&key) else {
            self.pods.in_flight().forget(&key);
            return Ok(Next::Done);
        };
        // Before the pods are read: what is written meanwhile may be missing in what was read.
        let settled = self.pods.in_flight().is_settled(&key);
        let related = self.informers.pods_by_owner.of_or_orphaned(&*owner);
        let (active, others): (Vec<_>, Vec<_>) = related.into_iter().partition(|pod| pod.is_active());
        let claims = claim(&*owner, active, |selector, pod| selector.selects(pod));
        let claimed = claims.settle(&self.client, &*owner, &[]).await;
        let owned = claimed.map_err(|source| Error::Claim { owner: key.clone(), source })?;
        let scaled = match settled {
            true => self.scale(&*owner, &owned, &others).await,
            false => Ok(Some(STALE_CACHE_BOUND)),
        };
        let available_in = self.report(&*owner, &owned, &others, scaled.as_ref().err()).await?;
        match scaled {
            Err(failure) => Err(Error::Scale { owner: key, failure }),
            Ok(more_in) => {
                let look_in = [more_in, available_in].into_iter().flatten().min();
                Ok(look_in.map_or(Next::Done, Next::After))
            }
        }
    }

    /// Creates or deletes pods. Returns after how long more may be created, if that is what keeps some from it now.
    async fn scale<K: Replicated>(
        &self,
        owner: &K,
        owned: &[Arc<KnownPod>],
        others: &[Arc<KnownPod>],
    ) -> Result<Option<Duration>, PodFailure> {
        if owner.is_going() {
            return Ok(None);
        }
        let now = Timestamp::now();
        let deleted = self.pods.in_flight().deleted(&owner.key(), owned);
        let relatives = || owner.relatives(&self.informers);
        let number = match plan::scale(owner.wants().replicas, owned, &deleted, relatives, now) {
            Scale::Nothing => return Ok(None),
            Scale::Delete(pods) => return self.pods.delete(owner, &pods).await.map(|()| None),
            Scale::Create(number) => number,
        };
        let ended = others.iter().filter(|pod| pod.is_terminal() && is_of(owner, pod));
        let all: Vec<_> = ended.chain(owned).cloned().collect();
        match Pace::of(&all, now) {
            Pace::Free => self.create(owner, number).await.map(|()| None),
            // Each pod that comes to run, or ends, brings the controller up again.
            Pace::AtMost(most) => self.create(owner, number.min(most)).await.map(|()| None),
            Pace::NotBefore(pause) => {
                let message = "Back-off creating pods: they end soon after they are created";
                self.pods.event(owner, EventType::Warning, "BackOff", message.into());
                Ok(Some(pause))
            }
        }
    }

    async fn create<K: Replicated>(&self, owner: &K, number: usize) -> Result<(), PodFailure> {
        let Some(template) = owner.wants().template else { return Ok(()) };
        let pod = pod_of(owner, template);
        self.pods.create(owner, number, |_| pod.clone()).await
    }

    /// Writes the status if it changed. Returns after how long another replica turns available.
    async fn report<K: Replicated>(
        &self,
        owner: &K,
        owned: &[Arc<KnownPod>],
        others: &[Arc<KnownPod>],
        failure: Option<&PodFailure>,
    ) -> Result<Option<Duration>, Error> {
        let now = Timestamp::now();
        let terminating = others.iter().filter(|pod| {
            !pod.is_terminal() && pod.is_deleting() && is_of(owner, pod) && owner.selector().selects(&***pod)
        });
        let counts = plan::count(owner.wants(), owned, terminating.count(), now);
        let available_in = status::next_available(owned, owner.wants().min_ready, now);
        let updated = owner.reported(counts, failure, now);
        if updated.status().is_some_and(|new| status::says_the_same(owner.status(), new)) {
            return Ok(available_in);
        }
        let written = status::write(&self.client, &updated).await;
        let written = written.map_err(|source| Error::Status { owner: owner.key(), source })?;
        Ok(written.and(available_in))
    }
}

fn is_of<K: Resource<DynamicType = ()>>(owner: &K, pod: &KnownPod) -> bool {
    pod.controller().is_some_and(|controller| controller.uid == meta::uid(owner.meta()))
}
