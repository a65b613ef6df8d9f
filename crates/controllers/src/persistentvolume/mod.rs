//! Binds claims to volumes, asks for volumes to be made, and says what becomes of volumes that their claims have left.
//!
//! What both sides shall be is decided by plain functions, of claims in `claims.rs` and of volumes in `volumes.rs`; both end
//! in `binding.rs`. One pass at a time, so that no volume is given away twice; a pass whose objects have changed meanwhile
//! fails at its first write, and is made anew. Whoever waits for a volume, a class or a pod is found by an index when that
//! comes: nothing is looked at again by a clock.

mod binding;
mod claims;
mod provisioners;
#[cfg(test)]
mod tests;
mod volumes;

use std::fmt::Debug;
use std::sync::Arc;

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::PostParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use skiff_informer::{Change, Next, ObjectKey, Queue, Recorder};
use skiff_volumes::{Claim, Search, Volume, class_of, class_of_volume, default_class, waits_for_consumer};

use crate::environment::{Controller, Environment};
use crate::informers::{Informers, api};
use crate::pods::KnownPod;
use binding::{Halves, Plan, is_completed, named_volume};

const NAME: &str = "persistent-volume-binder";
const COMPONENT: &str = "persistentvolume-controller";

/// What a claim has, or waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sought {
    /// The volume of that name.
    Volume(String),
    /// Any that suits, of that class.
    Class(String),
}

/// For whom a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Offer {
    /// For that claim.
    To(ObjectKey),
    /// For any that it suits, of that class.
    Class(String),
}

/// What the claim has or waits for.
pub(crate) fn sought(claim: &PersistentVolumeClaim) -> Option<Sought> {
    Some(match named_volume(claim) {
        "" => Sought::Class(class_of(claim).to_owned()),
        name => Sought::Volume(name.to_owned()),
    })
}

/// For whom the volume is.
pub(crate) fn offer(volume: &PersistentVolume) -> Option<Offer> {
    Some(match claimant(volume) {
        Some(claim) => Offer::To(claim),
        None => Offer::Class(class_of_volume(volume).to_owned()),
    })
}

/// The claim that the volume is for, whichever has its name.
fn claimant(volume: &PersistentVolume) -> Option<ObjectKey> {
    let claim = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some(ObjectKey::new(claim.namespace.as_deref().unwrap_or(""), claim.name.as_deref().unwrap_or("")))
}

/// A binding that could not be looked up or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {key}")]
struct Error {
    action: &'static str,
    key: ObjectKey,
    source: kube::Error,
}

struct Binder {
    client: Client,
    informers: Informers,
    recorder: Recorder,
    queue: Queue<ObjectKey>,
}

/// Subscribes to claims, volumes, classes and pods and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("persistentvolumes");
    subscribe(informers, &queue);
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), COMPONENT, "");
    let binder = Binder { client, informers: informers.clone(), recorder, queue: queue.clone() };
    environment.reconciler(
        queue,
        &[&informers.claims, &informers.volumes, &informers.storage_classes, &informers.pods],
        1,
        binder,
        |binder, key| binder.reconcile(key).boxed(),
    )
}

/// Lets `queue` hear of claims, whose keys have a namespace, and volumes, whose keys have none, that there is something to do for.
fn subscribe(informers: &Informers, queue: &Queue<ObjectKey>) {
    let (wake, caches) = (queue.clone(), informers.clone());
    informers.claims.subscribe(move |change| {
        wake.add(change.key.clone());
        let named = change.both().map(|claim| named_volume(claim)).filter(|name| !name.is_empty());
        named.for_each(|name| wake.add(ObjectKey::cluster(name)));
        let promised = caches.volumes_by_offer.get(&Offer::To(change.key.clone()));
        promised.iter().for_each(|volume| wake.add(ObjectKey::of(&volume.metadata)));
    });
    let (wake, caches) = (queue.clone(), informers.clone());
    informers.volumes.subscribe(move |change| {
        wake.add(change.key.clone());
        concerned(&caches, change).into_iter().for_each(|claim| wake.add(claim));
    });
    let (wake, caches) = (queue.clone(), informers.clone());
    informers.storage_classes.subscribe(move |change| {
        // What names no class may be given this one.
        for class in [change.key.name(), ""] {
            let waiting = caches.claims_by_sought.get(&Sought::Class(class.to_owned()));
            waiting.iter().for_each(|claim| wake.add(ObjectKey::of(&claim.metadata)));
        }
    });
    let (wake, caches) = (queue.clone(), informers.clone());
    informers.pods.subscribe(move |change| {
        let is_waiting = |pod: &Arc<KnownPod>| pod.node().is_none() && !pod.is_terminal();
        if change.old.is_some_and(is_waiting) == change.new.is_some_and(is_waiting) {
            return;
        }
        let unbound = change.latest().claimed().filter(|claim| {
            let known = caches.claims.get(claim);
            known.is_some_and(|claim| named_volume(&claim).is_empty())
        });
        unbound.for_each(|claim| wake.add(claim));
    });
}

/// The claims to which a changed volume may matter: that it is for, that name it, and that it would suit.
fn concerned(informers: &Informers, change: &Change<'_, PersistentVolume>) -> Vec<ObjectKey> {
    let mut keys: Vec<_> = change.both().filter_map(|volume| claimant(volume)).collect();
    let named = informers.claims_by_sought.get(&Sought::Volume(change.key.name().to_owned()));
    keys.extend(named.iter().map(|claim| ObjectKey::of(&claim.metadata)));
    let Some(volume) = change.new.filter(|volume| claimant(volume).is_none()) else { return keys };
    let class = class_of_volume(volume);
    let known = informers.storage_classes.get(&ObjectKey::cluster(class));
    if known.is_some_and(|class| waits_for_consumer(&class)) {
        return keys;
    }
    let offered = [Arc::new(Volume::of(volume))];
    let waiting = informers.claims_by_sought.get(&Sought::Class(class.to_owned()));
    let suited = waiting
        .iter()
        .filter(|claim| skiff_volumes::find(&Claim::of(claim), &offered, Search::Anywhere).is_some());
    keys.extend(suited.map(|claim| ObjectKey::of(&claim.metadata)));
    keys
}

impl Binder {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let plan = match key.namespace() {
            "" => self.plan_volume(&key).await?,
            _ => self.plan_claim(&key).await?,
        };
        self.carry_out(plan, &key).await?;
        Ok(Next::Done)
    }

    async fn plan_claim(&self, key: &ObjectKey) -> Result<Plan, Error> {
        let Some(claim) = self.informers.claims.get(key) else { return Ok(Plan::default()) };
        let caches = &self.informers;
        let named = match named_volume(&claim) {
            "" => None,
            name => match caches.volumes.get(&ObjectKey::cluster(name)) {
                // That data is lost is only said of a volume that is really not there.
                None if is_completed(&claim) => self.live(&Api::all(self.client.clone()), name).await?,
                known => known,
            },
        };
        let class = caches.storage_classes.get(&ObjectKey::cluster(class_of(&claim)));
        let mut offered = caches.volumes_by_offer.get(&Offer::To(key.clone()));
        offered.extend(caches.volumes_by_offer.get(&Offer::Class(class_of(&claim).to_owned())));
        let waiting = caches.pods_by_claim.get(key);
        let waiting = waiting.iter().filter(|pod| pod.node().is_none() && !pod.is_terminal());
        let facts = claims::Facts {
            named,
            offered,
            class,
            default: default_class(caches.storage_classes.all()),
            waiting: waiting.map(|pod| pod.name().to_owned()).collect(),
        };
        Ok(claims::plan(&claim, &facts))
    }

    async fn plan_volume(&self, key: &ObjectKey) -> Result<Plan, Error> {
        let Some(volume) = self.informers.volumes.get(key) else { return Ok(Plan::default()) };
        let wanted = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        let Some(uid) = wanted.and_then(|claim| claim.uid.as_deref()).filter(|uid| !uid.is_empty()) else {
            return Ok(volumes::plan(&volume, None));
        };
        let Some(claim) = claimant(&volume) else { return Ok(Plan::default()) };
        let is_it = |found: &Arc<PersistentVolumeClaim>| found.metadata.uid.as_deref() == Some(uid);
        let found = match self.informers.claims.get(&claim) {
            Some(found) if is_it(&found) => Some(found),
            None if volumes::is_left(&volume) => None,
            // What is kept may be older than the volume.
            _ => self.live(&api(&self.client, &claim), claim.name()).await?.filter(is_it),
        };
        Ok(volumes::plan(&volume, found.as_ref()))
    }

    async fn live<K>(&self, api: &Api<K>, name: &str) -> Result<Option<Arc<K>>, Error>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        let found = api.get_opt(name).await;
        found.map(|found| found.map(Arc::new)).map_err(|source| Error {
            action: "look up",
            key: ObjectKey::cluster(name),
            source,
        })
    }

    /// Writes the volume, then the claim; then tells of it.
    async fn carry_out(&self, plan: Plan, key: &ObjectKey) -> Result<(), Error> {
        let Plan { volume, claim, notes, wakes } = plan;
        if let Some((old, new)) = volume {
            write(&Api::all(self.client.clone()), &*old, new).await?;
        }
        if let Some((old, new)) = claim {
            write(&api(&self.client, &ObjectKey::of(&old.metadata)), &*old, new).await?;
        }
        notes.into_iter().for_each(|(object, note)| note.tell(&self.recorder, object));
        wakes.into_iter().filter(|other| other != key).for_each(|other| self.queue.add(other));
        Ok(())
    }
}

/// Lets the object become `new`: what it is, then its status, whichever differs.
async fn write<K>(api: &Api<K>, old: &K, new: K) -> Result<(), Error>
where
    K: Halves + Resource<DynamicType = ()> + Clone + PartialEq + Debug + Serialize + DeserializeOwned,
{
    let (name, parameters) = (old.name_any(), PostParams::default());
    let failed = |source| Error { action: "write", key: ObjectKey::of(old.meta()), source };
    let mut written = old.clone();
    let wanted = new.clone().with_status_of(old);
    if wanted != *old {
        written = api.replace(&name, &parameters, &wanted).await.map_err(failed)?;
    }
    let wanted = written.clone().with_status_of(&new);
    if wanted != written {
        api.replace_status(&name, &parameters, &wanted).await.map_err(failed)?;
    }
    Ok(())
}

/// The class, if it is known.
type Class = Option<Arc<StorageClass>>;
