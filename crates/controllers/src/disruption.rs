//! Says of each PodDisruptionBudget how many of its pods may be disrupted, and takes back what was said of pods that stay.
//!
//! The server allows evictions by that number, and writes down the pods that it evicted; here they are counted until they are seen to go.
//!
//! Sources: the API reference of PodDisruptionBudget, Kubernetes' pages on disruptions and on disruption budgets.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::api::{Patch, PatchParams};
use kube::{Client, Resource};
use serde_json::json;
use skiff_informer::{Cache, Change, EventType, Next, ObjectKey, Queue, Recorder, is_conflict, is_not_found};

use crate::environment::{Controller, Environment};
use crate::informers::{Informers, api};
use crate::meta;
use crate::pods::KnownPod;
use crate::pods::members::Selecting;
use crate::scales::{KindName, ScaleError, Scales};
use crate::workload::{InFlight, Owner, STALE_CACHE_BOUND, Selector, status};

mod plan;

const NAME: &str = "disruption-controller";
/// How it calls itself in events.
const COMPONENT: &str = "controllermanager";
/// Budgets looked at at once.
const WORKERS: usize = 4;

/// A budget that could not be kept, or a pod that is wrongly called disrupted.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} of {object}")]
struct Error {
    action: &'static str,
    object: ObjectKey,
    source: kube::Error,
}

/// Why the number of pods that there should be is not known.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error("found no controllers for pod \"{0}\"")]
    NoController(String),
    #[error("{0} does not implement the scale subresource")]
    NoScale(String),
    #[error(transparent)]
    Scale(#[from] ScaleError),
}

struct Disruption {
    client: Client,
    informers: Informers,
    recorder: Recorder,
    scales: Scales,
    statuses: InFlight<PodDisruptionBudget>,
}

impl Owner for PodDisruptionBudget {
    /// It adopts nothing.
    fn selector(&self) -> Selector {
        Selector::default()
    }
}

/// Subscribes to budgets and pods and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = environment.informers.clone();
    let queue = environment.vitals.queue("disruption");
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), COMPONENT, "");
    subscribe(&informers, &queue, &recorder);
    let stale = stale_conditions(environment);
    let (scales, statuses) = (Scales::new(client.clone()), InFlight::new(&informers.budgets));
    let disruption = Disruption { client, informers, recorder, scales, statuses };
    let informers = &environment.informers;
    let budgets = environment.reconciler(
        queue,
        &[
            &informers.pods,
            &informers.budgets,
            &informers.replication_controllers,
            &informers.replica_sets,
            &informers.deployments,
            &informers.stateful_sets,
        ],
        WORKERS,
        disruption,
        |disruption, key| disruption.reconcile(key).boxed(),
    );
    Box::pin(async move {
        futures::join!(budgets, stale);
    })
}

fn subscribe(informers: &Informers, queue: &Queue<ObjectKey>, recorder: &Recorder) {
    let wake = queue.clone();
    informers.budgets.subscribe(move |change| wake.add(change.key.clone()));
    let (wake, selectors, tell) = (queue.clone(), informers.budget_selectors.clone(), recorder.clone());
    informers.pods.subscribe(move |change| {
        let mut concerned = HashSet::new();
        for pod in change.both() {
            let selecting = selectors.selecting(change.key.namespace(), pod.labels());
            if let (Some(first), true, true) = (selecting.first(), selecting.len() > 1, appears(change)) {
                tell_of_several(&tell, pod, first);
            }
            concerned.extend(selecting.iter().map(|budget| ObjectKey::of(&budget.metadata)));
        }
        concerned.into_iter().for_each(|key| wake.add(key));
    });
    // What a controller asks for counts as well.
    follow_scales(informers, queue, &informers.replication_controllers, |one| one.spec.as_ref()?.replicas);
    follow_scales(informers, queue, &informers.replica_sets, |one| one.spec.as_ref()?.replicas);
    follow_scales(informers, queue, &informers.deployments, |one| one.spec.as_ref()?.replicas);
    follow_scales(informers, queue, &informers.stateful_sets, |one| one.spec.as_ref()?.replicas);
}

fn follow_scales<T: Send + Sync + 'static>(
    informers: &Informers,
    queue: &Queue<ObjectKey>,
    cache: &Cache<T>,
    replicas: fn(&T) -> Option<i32>,
) {
    let (wake, all) = (queue.clone(), informers.clone());
    cache.subscribe(move |change| {
        if change.old.map(|old| replicas(old)) != change.new.map(|new| replicas(new)) {
            wake_all(&all, change.key.namespace(), &wake);
        }
    });
}

/// Those whose expectation is made of what controllers ask for.
fn wake_all(informers: &Informers, namespace: &str, queue: &Queue<ObjectKey>) {
    for budget in informers.budgets.in_namespace(namespace) {
        if budget.spec.as_ref().is_some_and(plan::asks_controllers) {
            queue.add(ObjectKey::of(&budget.metadata));
        }
    }
}

fn appears(change: &Change<'_, KnownPod>) -> bool {
    change.old.is_none() && change.new.is_some()
}

fn tell_of_several(recorder: &Recorder, pod: &KnownPod, first: &PodDisruptionBudget) {
    let (namespace, name) = (pod.key().namespace(), pod.name());
    let chosen = first.metadata.name.as_deref().unwrap_or("");
    let message = format!(
        "Pod \"{namespace}\"/\"{name}\" matches multiple PodDisruptionBudgets.  Chose \"{chosen}\" arbitrarily."
    );
    recorder.event(pod.reference(), EventType::Warning, "MultiplePodDisruptionBudgets", message);
}

impl Disruption {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(budget) = self.informers.budgets.get(&key) else {
            self.statuses.forget(&key);
            return Ok(Next::Done);
        };
        if !self.statuses.is_settled(&key) {
            return Ok(Next::After(STALE_CACHE_BOUND));
        }
        let now = Timestamp::now();
        let selector = Selecting::selector(&*budget);
        let pods =
            selector.map(|selector| self.informers.budget_members.of(&key, &selector)).unwrap_or_default();
        if pods.is_empty() {
            self.tell(&budget, EventType::Normal, "NoPods", "No matching pods found".into());
        }
        let (status, next) = match self.expectation(&budget, &pods).await {
            Ok(expectation) => {
                let disrupted = plan::disrupted(&budget, &pods, now);
                self.tell_of_those_that_stayed(&budget, &pods, &disrupted.stayed);
                let next = disrupted.recheck_in.map_or(Next::Done, Next::After);
                let healthy = plan::healthy(&pods, &disrupted);
                (plan::status(&budget, expectation, healthy, disrupted, now), next)
            }
            Err(why) => {
                let message = format!("Failed to calculate the number of expected pods: {why}");
                self.tell(&budget, EventType::Warning, "CalculateExpectedPodCountFailed", message);
                (plan::failed(&budget, &why.to_string(), now), Next::Done)
            }
        };
        self.write(&budget, status).await?;
        Ok(next)
    }

    async fn expectation(
        &self,
        budget: &PodDisruptionBudget,
        pods: &[Arc<KnownPod>],
    ) -> Result<plan::Expectation, Unknown> {
        let spec = budget.spec.clone().unwrap_or_default();
        if !plan::asks_controllers(&spec) {
            return Ok(plan::expect(&spec, i32::try_from(pods.len()).unwrap_or(i32::MAX)));
        }
        let mut scales = BTreeMap::<String, i32>::new();
        let (mut known, mut unmanaged) = (HashSet::new(), false);
        for pod in pods {
            let Some(owner) = pod.controller() else {
                unmanaged = true;
                continue;
            };
            if known.insert(owner.uid.clone()) {
                let (uid, scale) = self.scale_of(pod, owner).await?;
                scales.insert(uid, scale);
            }
        }
        if unmanaged {
            let selector = meta::shown_selector(spec.selector.as_ref());
            let message = format!(
                "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the \
                 status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these \
                 pods please set \".spec.minAvailable\" field of the PDB to an integer value."
            );
            self.tell(budget, EventType::Warning, "UnmanagedPods", message);
        }
        Ok(plan::expect(&spec, scales.values().fold(0, |sum, scale| sum.saturating_add(*scale))))
    }

    /// The UID of what asks for the pod in the end, and how many it asks for.
    async fn scale_of(&self, pod: &KnownPod, owner: &OwnerReference) -> Result<(String, i32), Unknown> {
        let namespace = pod.key().namespace();
        if let Some(found) = self.cached_scale(namespace, owner) {
            return Ok(found);
        }
        let kind = KindName::of(&owner.api_version, &owner.kind);
        let resource = self.scales.resource(kind).await?;
        let no_controller = || Unknown::NoController(pod.name().to_owned());
        match self.scales.get(namespace, &owner.name, &resource).await {
            Ok(scale) if scale.metadata.uid.as_deref() == Some(&owner.uid) => {
                Ok((owner.uid.clone(), scale.spec.and_then(|spec| spec.replicas).unwrap_or(0)))
            }
            Ok(_) => Err(no_controller()),
            Err(error) if is_not_found(&error) && !resource.has("scale") => {
                Err(Unknown::NoScale(resource.name()))
            }
            Err(error) if is_not_found(&error) => Err(no_controller()),
            Err(error) => Err(ScaleError::Api(error).into()),
        }
    }

    /// As [`Self::scale_of`], for the kinds whose objects are here anyway.
    fn cached_scale(&self, namespace: &str, owner: &OwnerReference) -> Option<(String, i32)> {
        let informers = &self.informers;
        let key = ObjectKey::new(namespace, &owner.name);
        let is = |uid: Option<&String>| uid == Some(&owner.uid);
        let replicas = |replicas: Option<i32>| (owner.uid.clone(), replicas.unwrap_or(1));
        match (meta::group_of(&owner.api_version), owner.kind.as_str()) {
            ("", "ReplicationController") => {
                let found = informers.replication_controllers.get(&key)?;
                is(found.metadata.uid.as_ref())
                    .then(|| replicas(found.spec.as_ref().and_then(|spec| spec.replicas)))
            }
            ("apps", "StatefulSet") => {
                let found = informers.stateful_sets.get(&key)?;
                is(found.metadata.uid.as_ref())
                    .then(|| replicas(found.spec.as_ref().and_then(|spec| spec.replicas)))
            }
            ("apps" | "extensions", "ReplicaSet") => {
                let found = informers.replica_sets.get(&key)?;
                if !is(found.metadata.uid.as_ref()) {
                    return None;
                }
                match meta::controller_of(&found.metadata).filter(|above| above.kind == "Deployment") {
                    None => Some(replicas(found.spec.as_ref().and_then(|spec| spec.replicas))),
                    Some(above) => {
                        let deployment =
                            informers.deployments.get(&ObjectKey::new(namespace, &above.name))?;
                        let asked = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
                        (deployment.metadata.uid.as_ref() == Some(&above.uid))
                            .then(|| (above.uid.clone(), asked))
                    }
                }
            }
            _ => None,
        }
    }

    fn tell_of_those_that_stayed(
        &self,
        budget: &PodDisruptionBudget,
        pods: &[Arc<KnownPod>],
        stayed: &[String],
    ) {
        let namespace = budget.metadata.namespace.as_deref().unwrap_or("");
        for pod in pods.iter().filter(|pod| stayed.iter().any(|name| name == pod.name())) {
            let message =
                format!("Pod was expected by PDB {namespace}/{namespace} to be deleted but it wasn't");
            self.recorder.event(pod.reference(), EventType::Warning, "NotDeleted", message);
        }
    }

    async fn write(&self, budget: &PodDisruptionBudget, new: PodDisruptionBudgetStatus) -> Result<(), Error> {
        if status::says_the_same(budget.status.as_ref(), &new) {
            return Ok(());
        }
        let budget = PodDisruptionBudget { status: Some(new), ..budget.clone() };
        let failed = |source| Error { action: "write the status", object: budget.key(), source };
        if let Some(written) = status::write(&self.client, &budget).await.map_err(failed)? {
            self.statuses.wrote(&written.key(), &written.metadata);
        }
        Ok(())
    }

    fn tell(&self, budget: &PodDisruptionBudget, kind: EventType, reason: &'static str, message: String) {
        self.recorder.event(budget.object_ref(&()), kind, reason, message);
    }
}

/// Pods that were to be disrupted and stay are no longer called so.
fn stale_conditions(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("stale_pod_disruption");
    let wake = queue.clone();
    informers.pods.subscribe(move |change| {
        if let Some(wait) = change.new.and_then(|pod| plan::stale_in(pod, Timestamp::now())) {
            wake.add_after(change.key.clone(), wait);
        }
    });
    let state = (environment.client(NAME), informers.clone());
    environment.reconciler(queue, &[&informers.pods], WORKERS, state, |(client, informers), key| {
        take_back(client, informers, key).boxed()
    })
}

async fn take_back(client: &Client, informers: &Informers, key: ObjectKey) -> Result<Next, Error> {
    let now = Timestamp::now();
    let Some(pod) = informers.pods.get(&key) else { return Ok(Next::Done) };
    match plan::stale_in(&pod, now) {
        None => return Ok(Next::Done),
        Some(wait) if !wait.is_zero() => return Ok(Next::After(wait)),
        Some(_) => {}
    }
    let condition = json!({
        "type": "DisruptionTarget", "status": "False", "lastTransitionTime": Time(now), "reason": null, "message": null,
    });
    let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
    let patched = api::<Pod>(client, &key)
        .patch_status(key.name(), &PatchParams::default(), &Patch::Strategic(patch))
        .await;
    match patched {
        Err(source) if !is_not_found(&source) && !is_conflict(&source) => {
            Err(Error { action: "take the condition DisruptionTarget back", object: key, source })
        }
        _ => Ok(Next::Done),
    }
}
