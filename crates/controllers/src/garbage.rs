//! Deletes objects whose owners are gone, deletes or detaches the dependents of objects that are being deleted.
//!
//! The graph of owners comes from metadata-only watches of every kind. It decides what to look at; nothing is deleted
//! without a fresh read of the object and of the owners that the graph does not show alive.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::DynamicObject;
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;
use skiff_informer::{EventType, Next, ObjectKey, Queue, Recorder, is_not_found};
use tracing::{debug, warn};

use crate::discovery::ResourceKind;
use crate::environment::{Controller, Environment};

mod decide;
mod graph;
mod linked;
mod monitor;
#[cfg(test)]
mod tests;

use decide::{OwnerState, Verdict, verdict};
use graph::{FOREGROUND, GroupKind, Node, ORPHAN, Target, Uid, Work};
use monitor::Monitors;

const NAME: &str = "generic-garbage-collector";
const COMPONENT: &str = "garbage-collector-controller";
/// How long the first lists of all kinds are waited for, as Kubernetes does. Whether an owner lives is asked anyway.
const FIRST_LISTS: Duration = Duration::from_secs(60);
/// Objects looked at at once.
const WORKERS: usize = 20;
/// UIDs of owners remembered to be absent, so that many dependents cost one read.
const ABSENT: usize = 512;

/// A piece of work that failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot {action} {kind} {key}")]
    Api { action: &'static str, kind: GroupKind, key: ObjectKey, source: kube::Error },
    #[error("{0} is no kind that the server has")]
    UnknownKind(GroupKind),
}

struct Collector {
    client: Client,
    monitors: Monitors,
    queue: Queue<Work>,
    recorder: Recorder,
    absent: Mutex<Absent>,
}

/// Returns the running controller. It has watches of its own: metadata of every kind.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let (client, shutdown) = (environment.client(NAME), environment.shutdown.clone());
    let queue = environment.vitals.queue("garbage");
    let monitors = Monitors::new(client.clone(), queue.clone(), environment.removals.clone());
    let recorder = Recorder::start(client.clone(), COMPONENT, "");
    let collector = Collector { client, monitors, queue: queue.clone(), recorder, absent: Mutex::default() };
    Box::pin(async move {
        let start = Queue::<&'static str>::new();
        start.add("discovery");
        // The queue's back-off covers a server that is not ready; the first success ends it.
        let done = shutdown.child_token();
        start
            .run(1, &done, |_| async {
                collector.monitors.discover(&shutdown).await?;
                done.cancel();
                Ok::<_, kube::Error>(Next::Done)
            })
            .await;
        // Another server's kind that cannot be listed does not hold up all others.
        let synced = tokio::time::timeout(FIRST_LISTS, collector.monitors.synced());
        if shutdown.run_until_cancelled(synced).await.is_some_and(|synced| synced.is_err()) {
            warn!("not every kind could be listed; going on without");
        }
        tokio::join!(
            collector.monitors.follow_kinds(&shutdown),
            queue.run(WORKERS, &shutdown, |work| collector.process(work)),
        );
    })
}

impl Collector {
    async fn process(&self, work: Work) -> Result<Next, Error> {
        match work {
            Work::Collect(uid) => self.collect(&uid).await,
            Work::Orphan(uid) => self.orphan(&uid).await,
        }
        .map(|()| Next::Done)
    }

    fn node(&self, uid: &Uid) -> Option<Node> {
        self.monitors.graph.lock().get(uid).cloned()
    }

    async fn collect(&self, uid: &Uid) -> Result<(), Error> {
        let Some(node) = self.node(uid) else { return Ok(()) };
        if node.deleting && !node.foreground {
            return Ok(());
        }
        let Some(live) = self.read(&node.target, uid).await? else {
            self.absent.lock().insert(place(uid, &node.target));
            let work = self.monitors.graph.lock().remove(uid);
            work.into_iter().for_each(|work| self.queue.add(work));
            return Ok(());
        };
        if node.foreground {
            return self.continue_foreground(uid, &node, &live).await;
        }
        if live.deletion_timestamp.is_some() {
            return Ok(());
        }
        let mut owners = Vec::new();
        for reference in live.owner_references.iter().flatten() {
            owners.push((Uid::new(&reference.uid), self.owner_state(uid, &node.target, reference).await?));
        }
        let waits_in_turn = {
            let graph = self.monitors.graph.lock();
            node.dependents.iter().any(|dependent| graph.get(dependent).is_some_and(|node| node.foreground))
        };
        let finalizers = live.finalizers.as_deref().unwrap_or(&[]);
        match verdict(&owners, finalizers, !node.dependents.is_empty(), waits_in_turn) {
            Verdict::Keep => Ok(()),
            Verdict::Disown(gone) => self.disown(&node.target, &live, &gone).await,
            Verdict::Delete { policy, unblock_owners } => {
                if unblock_owners {
                    self.unblock_owners(&node.target, &live).await?;
                }
                // After our own patch the version has moved on; the UID is protection enough.
                let resource_version = live.resource_version.clone().filter(|_| !unblock_owners);
                let exactly_this = Preconditions { uid: live.uid.clone(), resource_version };
                let params = DeleteParams {
                    propagation_policy: Some(policy),
                    preconditions: Some(exactly_this),
                    ..DeleteParams::default()
                };
                debug!(kind = %node.target.kind, key = %node.target.key, "deleting: its owners are gone");
                self.finish(
                    &node.target,
                    "delete",
                    self.api(&node.target)?.delete(node.target.key.name(), &params).await.map(drop),
                )
            }
        }
    }

    /// Lets an object go that waited for its dependents, or deletes those that keep it.
    async fn continue_foreground(&self, uid: &Uid, node: &Node, live: &ObjectMeta) -> Result<(), Error> {
        let blocking = self.monitors.graph.lock().blocking(uid);
        if blocking.is_empty() {
            return self.remove_finalizer(&node.target, live, FOREGROUND).await;
        }
        let untouched = blocking.into_iter().filter(|(_, foreground)| !foreground);
        untouched.for_each(|(dependent, _)| self.queue.add(Work::Collect(dependent)));
        Ok(())
    }

    /// Detaches all dependents, then lets the object go.
    async fn orphan(&self, uid: &Uid) -> Result<(), Error> {
        let Some(node) = self.node(uid) else { return Ok(()) };
        for dependent in &node.dependents {
            let Some(dependent_node) = self.node(dependent) else { continue };
            if let Some(live) = self.read(&dependent_node.target, dependent).await? {
                self.disown(&dependent_node.target, &live, std::slice::from_ref(uid)).await?;
            }
        }
        match self.read(&node.target, uid).await? {
            Some(live) => self.remove_finalizer(&node.target, &live, ORPHAN).await,
            None => Ok(()),
        }
    }

    /// The state of an owner: from the graph if it is alive there, else from a fresh read.
    async fn owner_state(
        &self,
        dependent: &Uid,
        target: &Target,
        reference: &OwnerReference,
    ) -> Result<OwnerState, Error> {
        let uid = Uid::new(&reference.uid);
        if let Some(owner) = self.node(&uid).filter(|owner| owner.observed) {
            if !owner.target.is_owner_in(target.key.namespace()) {
                self.tell_of_namespace(dependent, target, reference);
                return Ok(OwnerState::Absent);
            }
            if !owner.deleting && owner.target.key.name() == reference.name {
                return Ok(OwnerState::Solid);
            }
        }
        let name = GroupKind::of(reference);
        let kind = self.monitors.kind(&name).ok_or_else(|| Error::UnknownKind(name.clone()))?;
        if kind.namespaced && target.key.namespace().is_empty() {
            warn!(object = %target.key, owner = %reference.name, "a cluster-scoped object names a namespaced owner");
            return Ok(OwnerState::Solid);
        }
        let namespace = if kind.namespaced { target.key.namespace() } else { "" };
        let owner = Target { kind: name, key: ObjectKey::new(namespace, &reference.name) };
        let place = place(&uid, &owner);
        if self.absent.lock().contains(&place) {
            return Ok(OwnerState::Absent);
        }
        Ok(match self.read(&owner, &uid).await? {
            None => {
                self.absent.lock().insert(place);
                OwnerState::Absent
            }
            Some(live) if waits(&live) => OwnerState::Waiting,
            Some(_) => OwnerState::Solid,
        })
    }

    /// Says that an owner is in another namespace, where no owner can be.
    fn tell_of_namespace(&self, dependent: &Uid, target: &Target, reference: &OwnerReference) {
        let OwnerReference { api_version, kind, name, uid, .. } = reference;
        let namespace = target.key.namespace();
        let message = format!(
            "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}] does not exist in namespace \"{namespace}\""
        );
        let Some(resource) = self.monitors.kind(&target.kind) else { return };
        let object = ObjectReference {
            api_version: Some(resource.api.api_version),
            kind: Some(resource.api.kind),
            namespace: Some(namespace.to_owned()),
            name: Some(target.key.name().to_owned()),
            uid: Some(dependent.as_str().to_owned()),
            ..ObjectReference::default()
        };
        self.recorder.event(object, EventType::Warning, "OwnerRefInvalidNamespace", message);
    }

    /// The object's metadata as stored now; `None` if there is none of that UID.
    async fn read(&self, target: &Target, uid: &Uid) -> Result<Option<ObjectMeta>, Error> {
        let live = self.api(target)?.get_metadata_opt(target.key.name()).await;
        let live = live.map_err(|source| failed("read", target, source))?.map(|object| object.metadata);
        Ok(live.filter(|meta| meta.uid.as_deref() == Some(uid.as_str())))
    }

    /// Removes references to owners.
    async fn disown(&self, target: &Target, live: &ObjectMeta, gone: &[Uid]) -> Result<(), Error> {
        let references = live.owner_references.as_deref().unwrap_or(&[]);
        let is_gone = |reference: &&OwnerReference| gone.iter().any(|uid| uid.as_str() == reference.uid);
        if !references.iter().any(|reference| is_gone(&reference)) {
            return Ok(());
        }
        let kept: Vec<_> = references.iter().filter(|reference| !is_gone(reference)).collect();
        self.patch(target, live, "remove the owners of", json!({"ownerReferences": kept})).await
    }

    /// Lets no owner wait for this object: it will wait for dependents that wait for it in turn.
    async fn unblock_owners(&self, target: &Target, live: &ObjectMeta) -> Result<(), Error> {
        let mut references = live.owner_references.clone().unwrap_or_default();
        references.iter_mut().for_each(|reference| reference.block_owner_deletion = Some(false));
        self.patch(target, live, "unblock the owners of", json!({"ownerReferences": references})).await
    }

    async fn remove_finalizer(
        &self,
        target: &Target,
        live: &ObjectMeta,
        finalizer: &str,
    ) -> Result<(), Error> {
        let finalizers = live.finalizers.as_deref().unwrap_or(&[]);
        if !finalizers.iter().any(|name| name == finalizer) {
            return Ok(());
        }
        let kept: Vec<_> = finalizers.iter().filter(|name| *name != finalizer).collect();
        self.patch(target, live, "remove a finalizer of", json!({"finalizers": kept})).await
    }

    /// Merges `change` into the metadata, unless the object has changed since `live` was read.
    async fn patch(
        &self,
        target: &Target,
        live: &ObjectMeta,
        action: &'static str,
        mut change: serde_json::Value,
    ) -> Result<(), Error> {
        change["uid"] = json!(live.uid);
        change["resourceVersion"] = json!(live.resource_version);
        let patch = Patch::Merge(json!({"metadata": change}));
        let result =
            self.api(target)?.patch_metadata(target.key.name(), &PatchParams::default(), &patch).await;
        self.finish(target, action, result.map(drop))
    }

    /// A write to an object that is gone needs no repeating.
    fn finish(&self, target: &Target, action: &'static str, result: kube::Result<()>) -> Result<(), Error> {
        match result {
            Err(source) if !is_not_found(&source) => Err(failed(action, target, source)),
            _ => Ok(()),
        }
    }

    fn api(&self, target: &Target) -> Result<Api<DynamicObject>, Error> {
        let kind: ResourceKind =
            self.monitors.kind(&target.kind).ok_or_else(|| Error::UnknownKind(target.kind.clone()))?;
        let client = self.client.clone();
        Ok(match kind.namespaced {
            true => Api::namespaced_with(client, target.key.namespace(), &kind.api),
            false => Api::all_with(client, &kind.api),
        })
    }
}

fn failed(action: &'static str, target: &Target, source: kube::Error) -> Error {
    Error::Api { action, kind: target.kind.clone(), key: target.key.clone(), source }
}

fn waits(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().any(|name| name == FOREGROUND)
}

/// An object and the namespace in which it was looked for: a reference from another is no proof that it is not there.
type Looked = (Uid, String);

fn place(uid: &Uid, target: &Target) -> Looked {
    (uid.clone(), target.key.namespace().to_owned())
}

/// What no longer exists where it was looked for, and never will again; the oldest are forgotten.
#[derive(Default)]
struct Absent {
    known: HashSet<Looked>,
    order: VecDeque<Looked>,
}

impl Absent {
    fn contains(&self, looked: &Looked) -> bool {
        self.known.contains(looked)
    }

    fn insert(&mut self, looked: Looked) {
        if self.known.insert(looked.clone()) {
            self.order.push_back(looked);
        }
        if self.order.len() > ABSENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}
