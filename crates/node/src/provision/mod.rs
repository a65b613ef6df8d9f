//! The provisioner of local paths: makes a volume of this node for each claim of its class whose first pod is to run here, lets it
//! grow, and removes it with its claim.
//!
//! It is an external provisioner in the sense of Kubernetes, with an identity of its own, and lives beside the node agent, since
//! both work on the same mounts. What is to be done is decided by pure functions ([`decide`]); everything can be
//! repeated, so one that was killed goes on where it was.

mod class;
mod decide;
mod grow;
mod make;

use crate::node::view::NodeFacts;
use crate::pod::views::Views;
use crate::shared::Shared;
use crate::volumes::claims::NodeVolumes;
use crate::volumes::claims::resolve::PROVISIONER;
use decide::{ClaimPlan, Here, VolumePlan, class_of, of_claim, of_volume};
use k8s_openapi::api::core::v1::{Node, ObjectReference, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ListParams;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use skiff_informer::EventType::Warning;
use skiff_informer::{Cache, Next, ObjectKey, Queue, Recorder, describe, is_conflict};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Claims and volumes worked on at once.
const WORKERS: usize = 4;

/// Why something was not done; it is tried again.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{}", describe(.0))]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Volume(#[from] crate::volumes::VolumeError),
    #[error("volume is still in use by pods of this node: {0}")]
    InUse(String),
    /// A file system that cannot grow while pods have it.
    #[error(transparent)]
    Pending(crate::volumes::VolumeError),
    #[error("{path:?} is no path of this provisioner")]
    Foreign { path: String },
    #[error("the work on the volume was given up: {0}")]
    Lost(#[from] tokio::task::JoinError),
}

/// The provisioner of one node.
pub(crate) struct Provisioner {
    client: Client,
    events: Recorder,
    /// The node agent, whose mounts it shares.
    agent: Arc<Shared>,
    /// The agent's pods.
    pods: Arc<Views>,
    claims: Cache<PersistentVolumeClaim>,
    volumes: Cache<PersistentVolume>,
    classes: Cache<StorageClass>,
    due: Queue<ObjectKey>,
    due_volumes: Queue<ObjectKey>,
}

impl Provisioner {
    /// One that acts as `client`, tells its `agent` of claims that change, and works on what the queues hold: claims and volumes.
    pub(crate) fn new(
        client: Client,
        agent: Arc<Shared>,
        pods: Arc<Views>,
        (due, due_volumes): (Queue<ObjectKey>, Queue<ObjectKey>),
    ) -> Self {
        let this = Self {
            events: Recorder::start(client.clone(), PROVISIONER, &agent.config.node_name),
            client,
            agent,
            pods,
            claims: Cache::new(),
            volumes: Cache::new(),
            classes: Cache::new(),
            due,
            due_volumes,
        };
        let (due, news) = (this.due.clone(), this.agent.claims.clone());
        this.claims.subscribe(move |change| {
            let key = ObjectKey::of(&change.latest().metadata);
            news.changed(&key);
            due.add(key);
        });
        let due = this.due_volumes.clone();
        this.volumes.subscribe(move |change| due.add(ObjectKey::of(&change.latest().metadata)));
        let (due, claims) = (this.due.clone(), this.claims.clone());
        this.classes.subscribe(move |change| {
            let name = change.latest().name_any();
            let all = claims.all();
            let of_class = all.iter().filter(|claim| class_of(claim) == Some(name.as_str()));
            of_class.for_each(|claim| due.add(ObjectKey::of(&claim.metadata)));
        });
        this
    }

    /// Works until `shutdown`.
    pub(crate) async fn run(&self, shutdown: &CancellationToken) {
        let view = &self.agent.node;
        let client = || self.client.clone();
        let everything = watcher::Config::default;
        self.classes.watch(Api::all(client()), everything(), shutdown, Some);
        self.volumes.watch(Api::all(client()), everything(), shutdown, Some);
        self.claims.watch(Api::all(client()), everything(), shutdown, Some);
        let listed = async {
            tokio::join!(self.classes.synced(), self.volumes.synced(), self.claims.synced());
        };
        if shutdown.run_until_cancelled(listed).await.is_none() {
            return;
        }
        if let Err(error) = self.remove_unknown().await {
            tracing::warn!(%error, "looking for volumes whose claims are gone; the next agent will");
        }
        tokio::join!(
            self.due.run(WORKERS, shutdown, |key| self.claim(key, view.current())),
            self.due_volumes.run(WORKERS, shutdown, |key| self.volume(key, view.current())),
        );
    }

    fn node(&self) -> Arc<NodeVolumes> {
        self.agent.volumes.clone()
    }

    /// Does what a claim asks for.
    async fn claim(&self, key: ObjectKey, facts: Arc<NodeFacts>) -> Result<Next, Error> {
        let Some(claim) = self.claims.get(&key) else {
            self.remove_unknown().await?;
            return Ok(Next::Done);
        };
        let class = class_of(&claim).and_then(|name| self.classes.get(&ObjectKey::cluster(name)));
        let bound = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
        let volume = bound.and_then(|name| self.volumes.get(&ObjectKey::cluster(name)));
        let here = Here { name: &facts.name, labels: &facts.labels };
        let plan = of_claim(&claim, class.as_deref(), volume.as_deref(), &here);
        match (plan, &class, &volume) {
            (ClaimPlan::Refuse(reason), Some(class), _) => self.not_provisioned(&claim, class, &reason),
            (ClaimPlan::Provision(order), Some(class), _) => {
                self.provision(&claim, class, order, here.hostname()).await?;
            }
            (ClaimPlan::ProvisionIfFirst(order), Some(class), _) if self.is_first(&facts).await? => {
                self.provision(&claim, class, order, here.hostname()).await?;
            }
            (ClaimPlan::Grow(bytes), _, Some(volume)) => {
                self.grow(&claim, volume, bytes, &facts.name).await?
            }
            _ => {}
        }
        Ok(Next::Done)
    }

    /// Whether this node is the first of all by name: the one that provisions what nobody chose a node for. The others leave it
    /// to it without a word between them.
    async fn is_first(&self, facts: &NodeFacts) -> Result<bool, Error> {
        let nodes = Api::<Node>::all(self.client.clone()).list_metadata(&ListParams::default()).await?;
        let first = nodes.items.iter().map(ResourceExt::name_any).min();
        Ok(first.is_none_or(|first| first == facts.name))
    }

    /// Does what a volume asks for.
    async fn volume(&self, key: ObjectKey, facts: Arc<NodeFacts>) -> Result<Next, Error> {
        let Some(volume) = self.volumes.get(&key) else { return Ok(Next::Done) };
        match of_volume(&volume, &Here { name: &facts.name, labels: &facts.labels }) {
            // Its claim may have waited for it.
            VolumePlan::Nothing => {
                if let Some(claim) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) {
                    let (namespace, name) = (claim.namespace.as_deref(), claim.name.as_deref());
                    self.due.add(ObjectKey::new(namespace.unwrap_or_default(), name.unwrap_or_default()));
                }
            }
            VolumePlan::Finalizers(all) => self.set_finalizers(&volume, all).await?,
            VolumePlan::Delete => {
                let deleted = self.delete(&volume).await;
                // That others changed it meanwhile is no news for its owner.
                if matches!(&deleted, Err(Error::Api(error)) if is_conflict(error)) {
                    return deleted.map(|()| Next::Done);
                }
                if let Err(error) = deleted {
                    let reference = reference(volume.as_ref());
                    self.events.event(reference, Warning, "VolumeFailedDelete", error.to_string());
                    // It is looked at again when it is released.
                    return if matches!(error, Error::InUse(_)) { Ok(Next::Done) } else { Err(error) };
                }
            }
        }
        Ok(Next::Done)
    }

    /// Says why a claim gets no volume.
    fn not_provisioned(&self, claim: &PersistentVolumeClaim, class: &StorageClass, reason: &str) {
        let message =
            format!("failed to provision volume with StorageClass \"{}\": {reason}", class.name_any());
        self.events.event(reference(claim), Warning, "ProvisioningFailed", message);
    }
}

/// An object as events refer to it.
fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    object.object_ref(&())
}
