//! What to do for a Deployment, given its ReplicaSets.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::ResourceExt;

use super::model::{Member, Plan, Strategy, Wants, Write, sum};
use super::progress::{self, Progress};
use super::{revisions, scale};
use crate::meta;
use crate::workload::template::{self, POD_TEMPLATE_HASH};

/// Longest name of an object.
const LONGEST_NAME: usize = 253;

/// Decides. `sets` are the ReplicaSets of the Deployment; `has_old_pods` tells, given the name of the one with the present
/// template, whether pods of the others are left. A Deployment without a spec is nothing to do.
pub(super) fn plan(
    deployment: &Deployment,
    sets: &[Arc<ReplicaSet>],
    has_old_pods: impl FnOnce(Option<&str>) -> bool,
    now: Timestamp,
) -> Option<Plan> {
    let wants = Wants::of(deployment.spec.as_ref()?);
    let mut rollout = Rollout::of(deployment, wants, sets, now);
    if deployment.metadata.deletion_timestamp.is_some() {
        rollout.sync_revision();
        return Some(rollout.counted());
    }
    progress::say_paused(&mut rollout.before, &wants, now);
    let paused = wants.spec.paused.unwrap_or(false);
    rollout.sync_revision();
    if paused || scale::is_due(&wants, rollout.new.as_ref(), &rollout.old) {
        let replicas = rollout.before.replicas.unwrap_or(0);
        scale::scale(&wants, rollout.new.as_mut(), &mut rollout.old, replicas);
        if paused {
            rollout.clean_up();
        }
        return Some(rollout.counted());
    }
    match wants.strategy {
        Strategy::Rolling => rollout.roll(),
        Strategy::Recreate => rollout.recreate(has_old_pods),
    }
    Some(rollout.judged())
}

/// A pass in the making.
struct Rollout<'a> {
    deployment: &'a Deployment,
    wants: Wants<'a>,
    /// The one with the present template.
    new: Option<Member>,
    /// The others.
    old: Vec<Member>,
    /// As the Deployment says, and what this pass has found out besides its counts.
    before: DeploymentStatus,
    revision: Option<String>,
    deletions: Vec<String>,
    now: Timestamp,
}

impl<'a> Rollout<'a> {
    fn of(deployment: &'a Deployment, wants: Wants<'a>, sets: &[Arc<ReplicaSet>], now: Timestamp) -> Self {
        let mut old: Vec<Member> = sets.iter().map(Member::stored).collect();
        skiff_ordered::sort_by_key(&mut old, Member::age);
        // Of several with the present template the oldest is it.
        let is_new = |member: &Member| {
            let template = member.set.spec.as_ref().and_then(|spec| spec.template.as_ref());
            template.is_some_and(|template| template::is_same(template, &wants.spec.template))
        };
        let new = old.iter().position(is_new).map(|place| old.remove(place));
        let before = deployment.status.clone().unwrap_or_default();
        Self { deployment, wants, new, old, before, revision: None, deletions: Vec::new(), now }
    }

    /// Lets the ReplicaSet of the present template be the latest revision, and the Deployment say so.
    fn sync_revision(&mut self) {
        let next = revisions::next(&self.old);
        let Some(new) = &mut self.new else { return };
        revisions::annotate(&mut new.set, self.deployment, next);
        new.set.spec.get_or_insert_default().min_ready_seconds = self.wants.spec.min_ready_seconds;
        self.revision = new.set.annotations().get(revisions::REVISION).cloned();
        if self.wants.deadline().is_some() && progress::progressing(&self.before).is_none() {
            let message = format!("Found new replica set {:?}", new.name());
            progress::say(&mut self.before, Progress::FoundNewReplicaSet, &message, self.now);
        }
    }

    /// Makes the ReplicaSet of the present template, if there is none.
    fn make_new(&mut self) {
        if self.new.is_some() {
            return;
        }
        let revision = revisions::next(&self.old);
        let mut set = new_set(self.deployment, &self.wants);
        revisions::annotate(&mut set, self.deployment, revision);
        revisions::note_size(&mut set, &self.wants);
        let mut new = Member::to_create(set);
        let room = self.room_for(&new);
        new.set.spec.get_or_insert_default().replicas = Some(room);
        self.revision = Some(revision.to_string());
        if self.wants.deadline().is_some() {
            let message = format!("Created new replica set {:?}", new.name());
            progress::say(&mut self.before, Progress::NewReplicaSetCreated, &message, self.now);
        }
        self.new = Some(new);
    }

    /// How many replicas the new ReplicaSet may have now.
    fn room_for(&self, new: &Member) -> i32 {
        if self.wants.strategy == Strategy::Recreate {
            return self.wants.replicas;
        }
        let room = self.wants.most() - sum(&self.old, Member::replicas) - new.replicas();
        new.replicas() + room.min(self.wants.replicas - new.replicas()).max(0)
    }

    fn roll(&mut self) {
        let created = self.new.is_none();
        self.make_new();
        if (!created && self.scale_new()) || self.scale_old_down() {
            return;
        }
        if progress::is_complete(self.deployment, &self.wants, &self.before) {
            self.clean_up();
        }
    }

    /// Brings the new ReplicaSet as far as there is room. Returns whether that changes it.
    fn scale_new(&mut self) -> bool {
        let Some(mut new) = self.new.take() else { return false };
        let size =
            if new.replicas() >= self.wants.replicas { self.wants.replicas } else { self.room_for(&new) };
        let scaled = new.scale(size, &self.wants, false);
        self.new = Some(new);
        scaled
    }

    /// Takes old replicas away: those that are not available anyway, then as many as may be missing. Those of the new ReplicaSet
    /// that are yet to become available count as missing, and so do those that were taken away but are still counted in a
    /// status: what is left of `spare` bounds both. Returns whether that changes anything.
    fn scale_old_down(&mut self) -> bool {
        let Some(new) = &self.new else { return false };
        let old = sum(&self.old, Member::replicas);
        let spare = old + new.replicas() - self.wants.least() - (new.replicas() - new.available());
        if old == 0 || spare <= 0 {
            return false;
        }
        let available =
            sum(self.old.iter().filter(|member| member.is_active()), Member::available) + new.available();
        skiff_ordered::sort_by_key(&mut self.old, Member::age);
        let mut spare = spare;
        for member in self.old.iter_mut().filter(|member| member.is_active()) {
            let missing = (member.replicas() - member.available()).clamp(0, spare);
            member.scale(member.replicas() - missing, &self.wants, false);
            spare -= missing;
        }
        let mut more = (available - self.wants.least()).clamp(0, spare);
        for member in self.old.iter_mut().filter(|member| member.is_active()) {
            let fewer = member.replicas().min(more);
            member.scale(member.replicas() - fewer, &self.wants, false);
            more -= fewer;
        }
        sum(&self.old, Member::replicas) < old
    }

    fn recreate(&mut self, has_old_pods: impl FnOnce(Option<&str>) -> bool) {
        let mut scaled = false;
        for old in self.old.iter_mut().filter(|member| member.is_active()) {
            scaled |= old.scale(0, &self.wants, false);
        }
        let new = self.new.as_ref().map(Member::name);
        if scaled || sum(&self.old, Member::actual) > 0 || has_old_pods(new.as_deref()) {
            return;
        }
        self.make_new();
        if let Some(new) = &mut self.new {
            new.scale(self.wants.replicas, &self.wants, false);
        }
        if progress::is_complete(self.deployment, &self.wants, &self.before) {
            self.clean_up();
        }
    }

    /// Deletes the oldest revisions beyond those that are to be kept, as far as they have no pods.
    fn clean_up(&mut self) {
        let Some(limit) = self.wants.history() else { return };
        let mut old: Vec<&Member> =
            self.old.iter().filter(|member| member.set.metadata.deletion_timestamp.is_none()).collect();
        let excess = old.len().saturating_sub(limit);
        skiff_ordered::sort_by_key(&mut old, |member| {
            (revisions::revision_of(&member.set).unwrap_or(0), member.age())
        });
        let is_empty = |member: &&&Member| {
            let seen = member.set.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
            member.actual() == 0
                && member.replicas() == 0
                && member.set.metadata.generation.unwrap_or(0) <= seen
        };
        self.deletions = old.iter().take(excess).filter(is_empty).map(|member| member.name()).collect();
    }

    fn status(&self) -> DeploymentStatus {
        let members: Vec<&Member> = self.old.iter().chain(&self.new).collect();
        progress::counted(self.deployment, &self.wants, &self.before, &members, self.new.as_ref(), self.now)
    }

    /// The plan, with counts alone.
    fn counted(self) -> Plan {
        let status = self.status();
        self.finish(status, None)
    }

    /// The plan, and how the rollout gets on.
    fn judged(self) -> Plan {
        let mut status = self.status();
        let members: Vec<&Member> = self.old.iter().chain(&self.new).collect();
        let members = (&members[..], self.new.as_ref());
        progress::judge(self.deployment, &self.wants, &self.before, &mut status, members, self.now);
        let look_in = progress::look_in(self.deployment, &self.wants, &status, self.now);
        self.finish(status, look_in)
    }

    fn finish(self, mut status: DeploymentStatus, look_in: Option<i64>) -> Plan {
        status.conditions = status.conditions.filter(|conditions| !conditions.is_empty());
        let said = self.deployment.annotations().get(revisions::REVISION).cloned();
        let revision = self.revision.filter(|revision| said.as_ref() != Some(revision));
        let members = self.new.into_iter().chain(self.old);
        let kept = members.filter(|member| !self.deletions.contains(&member.name()));
        let mut writes: Vec<Write> = kept.filter_map(Member::write).collect();
        writes.extend(self.deletions.into_iter().map(Write::Delete));
        Plan { writes, status, revision, look_in }
    }
}

/// A ReplicaSet of the Deployment's present template, without pods.
fn new_set(deployment: &Deployment, wants: &Wants<'_>) -> ReplicaSet {
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = template::hash(&wants.spec.template, collisions);
    let template = with_hash(&wants.spec.template, &hash);
    let mut selector: LabelSelector = wants.spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(POD_TEMPLATE_HASH.into(), hash.clone());
    let metadata = ObjectMeta {
        name: Some(set_name(&deployment.name_any(), &hash)),
        namespace: deployment.namespace(),
        labels: template.metadata.as_ref().and_then(|metadata| metadata.labels.clone()),
        owner_references: Some(vec![meta::controller_reference(deployment)]),
        ..ObjectMeta::default()
    };
    let spec = ReplicaSetSpec {
        replicas: Some(0),
        min_ready_seconds: wants.spec.min_ready_seconds,
        selector,
        template: Some(template),
    };
    ReplicaSet { metadata, spec: Some(spec), status: None }
}

fn with_hash(template: &PodTemplateSpec, hash: &str) -> PodTemplateSpec {
    let mut template = template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(POD_TEMPLATE_HASH.into(), hash.to_owned());
    template
}

/// The Deployment's name, cut if need be, and the hash.
fn set_name(deployment: &str, hash: &str) -> String {
    let most = LONGEST_NAME.saturating_sub(hash.len() + 1);
    let cut = deployment.get(..most).unwrap_or(deployment);
    format!("{cut}-{hash}")
}
