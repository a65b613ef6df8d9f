//! A Deployment and its ReplicaSets, as the plan sees and changes them.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::revisions;
use crate::workload::amount::{self, Round};

/// How a Deployment replaces its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    Rolling,
    Recreate,
}

/// What a Deployment asks for, in numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants<'a> {
    pub(super) spec: &'a DeploymentSpec,
    pub(super) replicas: i32,
    pub(super) strategy: Strategy,
    /// Pods that there may be beyond the replicas.
    pub(super) surge: i32,
    /// Replicas that may be missing.
    pub(super) unavailable: i32,
}

impl<'a> Wants<'a> {
    pub(super) fn of(spec: &'a DeploymentSpec) -> Self {
        let replicas = spec.replicas.unwrap_or(1);
        let strategy = spec.strategy.as_ref();
        let recreate = strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate");
        if recreate {
            return Self { spec, replicas, strategy: Strategy::Recreate, surge: 0, unavailable: 0 };
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let part = |value: Option<_>, round| value.map_or(0, |value| amount::of(value, replicas, round));
        let surge = part(rolling.and_then(|rolling| rolling.max_surge.as_ref()), Round::Up);
        let unavailable = part(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), Round::Down);
        // Shares may round to nothing at all, with which nothing would ever move.
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Self { spec, replicas, strategy: Strategy::Rolling, surge, unavailable: unavailable.min(replicas) }
    }

    /// Replicas that must stay available.
    pub(super) fn least(&self) -> i32 {
        self.replicas - self.unavailable
    }

    /// Pods that there may be at one time.
    pub(super) fn most(&self) -> i32 {
        self.replicas + self.surge
    }

    /// After how many seconds without progress a rollout counts as stuck.
    pub(super) fn deadline(&self) -> Option<i32> {
        self.spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)
    }

    /// How many old ReplicaSets are kept.
    pub(super) fn history(&self) -> Option<usize> {
        let limit = self.spec.revision_history_limit.filter(|limit| *limit != i32::MAX)?;
        usize::try_from(limit).ok()
    }
}

/// One ReplicaSet of the Deployment, as it shall be.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) set: ReplicaSet,
    /// As it is; none if it is to be created.
    stored: Option<Arc<ReplicaSet>>,
}

impl Member {
    pub(super) fn stored(set: &Arc<ReplicaSet>) -> Self {
        Self { set: (**set).clone(), stored: Some(set.clone()) }
    }

    pub(super) fn to_create(set: ReplicaSet) -> Self {
        Self { set, stored: None }
    }

    pub(super) fn name(&self) -> String {
        self.set.name_any()
    }

    /// The pods that it shall have.
    pub(super) fn replicas(&self) -> i32 {
        self.set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    /// Whether it shall have pods.
    pub(super) fn is_active(&self) -> bool {
        self.replicas() > 0
    }

    /// The pods that it has.
    pub(super) fn actual(&self) -> i32 {
        self.set.status.as_ref().map_or(0, |status| status.replicas)
    }

    pub(super) fn available(&self) -> i32 {
        self.set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
    }

    /// Orders the older before the younger; one that is to be created is the youngest.
    pub(super) fn age(&self) -> (bool, Option<Time>, String) {
        (self.stored.is_none(), self.set.metadata.creation_timestamp.clone(), self.name())
    }

    /// Lets it have `replicas`, and note how large the Deployment is. Unless `always`, only if their number changes.
    /// Returns whether it does.
    pub(super) fn scale(&mut self, replicas: i32, wants: &Wants<'_>, always: bool) -> bool {
        let changes = self.replicas() != replicas;
        if changes || always {
            self.set.spec.get_or_insert_default().replicas = Some(replicas);
            revisions::note_size(&mut self.set, wants);
        }
        changes
    }

    /// What is to be written, if anything.
    pub(super) fn write(self) -> Option<Write> {
        let Some(stored) = self.stored else { return Some(Write::Create(Box::new(self.set))) };
        if *stored == self.set {
            return None;
        }
        let replicas = |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let from = replicas(&stored);
        Some(Write::Update { from, to: replicas(&self.set), set: Box::new(self.set) })
    }
}

/// What is to be done to one ReplicaSet.
#[derive(Debug)]
pub(super) enum Write {
    Create(Box<ReplicaSet>),
    /// `from` and `to` are the numbers of its replicas.
    Update {
        set: Box<ReplicaSet>,
        from: i32,
        to: i32,
    },
    Delete(String),
}

/// What is to be done for a Deployment.
#[derive(Debug)]
pub(super) struct Plan {
    /// In this order.
    pub(super) writes: Vec<Write>,
    /// To be reported when all is written.
    pub(super) status: DeploymentStatus,
    /// The revision that the Deployment is at, if it does not say so.
    pub(super) revision: Option<String>,
    /// When a rollout that does not get on is to be looked at again, in seconds.
    pub(super) look_in: Option<i64>,
}

/// The Deployment with what is to be said of it.
pub(super) fn reported(deployment: &Deployment, plan: &Plan) -> Deployment {
    let mut reported = deployment.clone();
    reported.status = Some(plan.status.clone());
    if let Some(revision) = &plan.revision {
        reported.annotations_mut().insert(revisions::REVISION.into(), revision.clone());
    }
    reported
}

/// The sum of a number of all members.
pub(super) fn sum<'a>(members: impl IntoIterator<Item = &'a Member>, number: impl Fn(&Member) -> i32) -> i32 {
    members.into_iter().map(number).sum()
}
