//! Keeps the pods of StatefulSets: each with a name, a place in the order, and claims of its own.

use std::sync::Arc;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PodTemplateSpec};
use kube::{Client, ResourceExt};
use skiff_informer::{EventType, Next, ObjectKey, Recorder, describe, is_namespace_terminating};

use crate::environment::{Controller, Environment};
use crate::informers::Informers;
use crate::pods::KnownPod;
use crate::pods::pace::in_batches;
use crate::workload::history::{self, History};
use crate::workload::{
    InFlight, Named, Owner, PassError, PodControl, STALE_CACHE_BOUND, Selector, claim, follow, status,
};

mod claims;
mod identity;
mod plan;
mod retention;
mod steps;
#[cfg(test)]
mod tests;

use plan::{Observed, Plan};

const NAME: &str = "statefulset-controller";
/// Sets worked on at once.
const WORKERS: usize = 8;
/// The label that holds the hash of a revision.
const HASH: &str = "controller.kubernetes.io/hash";

fn named(key: &ObjectKey) -> Named {
    Named { noun: "stateful set", key: key.clone() }
}

struct StatefulSets {
    client: Client,
    informers: Informers,
    pods: PodControl,
    claims: InFlight<PersistentVolumeClaim>,
    sets: InFlight<StatefulSet>,
    history: History,
}

impl Owner for StatefulSet {
    fn selector(&self) -> Selector {
        self.spec.as_ref().map(|spec| Selector::of(&spec.selector)).unwrap_or_default()
    }
}

/// A set and the revisions that its pods are of.
struct Revised<'a> {
    set: &'a StatefulSet,
    spec: &'a StatefulSetSpec,
    current: (String, PodTemplateSpec),
    update: (String, PodTemplateSpec),
}

/// Subscribes to StatefulSets and their pods, and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("statefulset");
    follow(&informers.stateful_sets, &informers.pods, &queue);
    let client = environment.client(NAME);
    let recorder = Recorder::start(client.clone(), NAME, "");
    let revisions = (&informers.controller_revisions, informers.controller_revisions_by_owner.clone());
    let sets = StatefulSets {
        pods: PodControl::new(client.clone(), recorder, &informers.pods),
        claims: InFlight::waking(&informers.claims, &queue),
        sets: InFlight::new(&informers.stateful_sets),
        history: History::new(client.clone(), revisions.0, revisions.1, &queue),
        client,
        informers: informers.clone(),
    };
    environment.reconciler(
        queue,
        &[&informers.stateful_sets, &informers.pods, &informers.controller_revisions, &informers.claims],
        WORKERS,
        sets,
        |sets, key| sets.reconcile(key).boxed(),
    )
}

impl StatefulSets {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, PassError> {
        let settled = self.is_settled(&key);
        let Some(set) = self.informers.stateful_sets.get(&key) else {
            self.forget(&key);
            return Ok(Next::Done);
        };
        let Some(spec) = &set.spec else { return Ok(Next::Done) };
        if !settled {
            return Ok(Next::After(STALE_CACHE_BOUND));
        }
        let failed = |source| PassError::Claim { owner: named(&key), source };
        let revisions = self.history.of(&*set).await.map_err(failed)?;
        let candidates = self.informers.pods_by_owner.of_or_orphaned(&*set);
        let name = set.name_any();
        let is_member = |selector: &Selector, pod: &KnownPod| {
            selector.selects(pod) && identity::ordinal_of(&name, pod.name()).is_some()
        };
        let claims = claim(&*set, candidates, is_member);
        let pods = claims.settle(&self.client, &*set, &[]).await.map_err(failed)?;
        let (revised, collisions) = match self.revise(&key, &set, spec, &revisions).await {
            Err(PassError::Api { source, .. }) if is_namespace_terminating(&source) => return Ok(Next::Done),
            revised => revised?,
        };
        let mut plan = self.plan(&key, &revised, &pods);
        plan.status.collision_count = Some(collisions);
        let done = self.execute(&key, &revised, &plan).await;
        self.report(&key, &set, &plan).await?;
        done?;
        self.forget_history(&key, &revised, &revisions, &pods).await?;
        Ok(plan.look_in.map_or(Next::Done, Next::After))
    }

    fn is_settled(&self, key: &ObjectKey) -> bool {
        self.pods.in_flight().is_settled(key)
            && self.claims.is_settled(key)
            && self.sets.is_settled(key)
            && self.history.in_flight().is_settled(key)
    }

    fn forget(&self, key: &ObjectKey) {
        self.pods.in_flight().forget(key);
        self.claims.forget(key);
        self.sets.forget(key);
        self.history.in_flight().forget(key);
    }

    /// Lets the present template be the latest revision. Returns also how many hashes have met.
    async fn revise<'a>(
        &self,
        key: &ObjectKey,
        set: &'a StatefulSet,
        spec: &'a StatefulSetSpec,
        revisions: &[Arc<ControllerRevision>],
    ) -> Result<(Revised<'a>, i32), PassError> {
        let mut collisions = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
        let update = self.history.keep(set, revisions, (&spec.template, HASH), &mut collisions).await;
        let update = update.map_err(named(key).failed("keep the revisions"))?.name_any();
        let said = set.status.as_ref().and_then(|status| status.current_revision.as_deref());
        let current = revisions.iter().find(|revision| Some(revision.name_any().as_str()) == said);
        let current = current.and_then(|current| Some((current.name_any(), history::template_of(current)?)));
        let update = (update, spec.template.clone());
        let current = current.unwrap_or_else(|| update.clone());
        Ok((Revised { set, spec, current, update }, collisions))
    }

    fn plan(&self, key: &ObjectKey, revised: &Revised<'_>, pods: &[Arc<KnownPod>]) -> Plan {
        let deleted = self.pods.in_flight().deleted(key, pods);
        let claim = |name: &str| self.informers.claims.get(&ObjectKey::new(key.namespace(), name));
        plan::plan(&Observed {
            set: revised.set,
            spec: revised.spec,
            pods,
            deleted: &deleted,
            claim: &claim,
            current: &revised.current.0,
            update: &revised.update.0,
            now: Timestamp::now(),
        })
    }

    async fn execute(&self, key: &ObjectKey, revised: &Revised<'_>, plan: &Plan) -> Result<(), PassError> {
        for round in &plan.rounds {
            let done = in_batches(round.len(), |index| self.execute_one(revised, &round[index])).await;
            match done {
                Err(steps::Failure::NamespaceGoes) => return Ok(()),
                Err(steps::Failure::Told(why)) => return Err(PassError::Step { owner: named(key), why }),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Writes the status if it changed.
    async fn report(&self, key: &ObjectKey, set: &StatefulSet, plan: &Plan) -> Result<(), PassError> {
        let object = |status| StatefulSet { status: Some(status), ..set.clone() };
        let statuses = (set.status.as_ref(), plan.status.clone());
        let done = status::report(&self.client, &self.sets, statuses, object).await;
        done.map_err(named(key).failed("update the status"))
    }

    async fn forget_history(
        &self,
        key: &ObjectKey,
        revised: &Revised<'_>,
        revisions: &[Arc<ControllerRevision>],
        pods: &[Arc<KnownPod>],
    ) -> Result<(), PassError> {
        let live = |revision: &ControllerRevision| {
            let name = revision.name_any();
            name == revised.current.0
                || name == revised.update.0
                || pods.iter().any(|pod| identity::revision(pod) == name)
        };
        let expired = history::expired(revisions, live, revised.spec.revision_history_limit);
        let deleted = self.history.delete(revised.set, &expired).await;
        deleted.map_err(named(key).failed("delete old revisions"))
    }

    fn event(&self, set: &StatefulSet, kind: EventType, reason: &'static str, message: String) {
        self.pods.event(set, kind, reason, message);
    }
}

/// A failure as it is told.
fn told(error: kube::Error) -> steps::Failure {
    if is_namespace_terminating(&error) {
        return steps::Failure::NamespaceGoes;
    }
    steps::Failure::Told(describe(&error))
}
