//! What to do for the pods of a StatefulSet.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use skiff_ordered::Ordered as _;

use super::identity::{self, Ordinal};
use super::retention::{self, Holder, Owners, Policy};
use crate::pods::{KnownPod, Phase};
use crate::workload::amount::{self, Round};
use crate::workload::status;

/// What is known of a set.
#[derive(Clone, Copy)]
pub(super) struct Observed<'a> {
    pub(super) set: &'a StatefulSet,
    pub(super) spec: &'a StatefulSetSpec,
    /// The pods that it owns, whatever their names.
    pub(super) pods: &'a [Arc<KnownPod>],
    /// UIDs of pods whose deletion was asked for, and may not show yet.
    pub(super) deleted: &'a HashSet<String>,
    /// The claim of that name.
    pub(super) claim: &'a dyn Fn(&str) -> Option<Arc<PersistentVolumeClaim>>,
    /// The names of the revision that pods come from, and of that to which they are updated.
    pub(super) current: &'a str,
    pub(super) update: &'a str,
    pub(super) now: Timestamp,
}

/// From which revision a pod is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Current,
    Update,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Make the pod, and its claims before.
    Create(Ordinal, Which),
    /// Make those claims that are missing.
    MakeClaims(Ordinal, Arc<KnownPod>),
    /// Let the claims belong to whom the policy says.
    KeepClaims(Ordinal, Arc<KnownPod>),
    /// Make the pod what its ordinal says, and its claims before.
    Amend(Ordinal, Arc<KnownPod>),
    Delete(Arc<KnownPod>),
}

/// What to do for a set.
#[derive(Debug)]
pub(super) struct Plan {
    /// One after the other; the steps of one round at once.
    pub(super) rounds: Vec<Vec<Step>>,
    pub(super) status: StatefulSetStatus,
    /// After how long another pod turns available.
    pub(super) look_in: Option<Duration>,
}

/// Decides.
pub(super) fn plan(observed: &Observed<'_>) -> Plan {
    let min_ready = status::min_ready(observed.spec.min_ready_seconds);
    let mut pass = Pass::new(observed, min_ready);
    let mut counts = observed.counts(&pass);
    if observed.set.metadata.deletion_timestamp.is_none() {
        pass.decide(&mut counts);
    }
    let look_in = status::next_available(observed.pods, min_ready, observed.now);
    Plan { rounds: pass.rounds, status: observed.status(&counts), look_in }
}

/// Pods as a status counts them.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    replicas: usize,
    ready: usize,
    available: usize,
    current: usize,
    updated: usize,
}

impl Observed<'_> {
    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn start(&self) -> Ordinal {
        self.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0)
    }

    fn is_going(&self, pod: &KnownPod) -> bool {
        pod.is_deleting() || self.deleted.contains(pod.uid())
    }

    fn is_parallel(&self) -> bool {
        self.spec.pod_management_policy.as_deref() == Some("Parallel")
    }

    fn is_rolling(&self) -> bool {
        let strategy = self.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
        strategy != Some("OnDelete")
    }

    /// Replicas below it, counted from the first, are not updated.
    fn partition(&self) -> i32 {
        let rolling = self.spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
        rolling.and_then(|rolling| rolling.partition).unwrap_or(0)
    }

    /// How many replicas may be missing at one time in an update, if the set says so.
    fn unavailable(&self) -> Option<i32> {
        let rolling = self.spec.update_strategy.as_ref()?.rolling_update.as_ref()?;
        let value: &IntOrString = rolling.max_unavailable.as_ref()?;
        Some(amount::of(value, self.replicas(), Round::Down).max(1))
    }

    fn counts(&self, pass: &Pass<'_>) -> Counts {
        let mut counts = Counts::default();
        for pod in pass.replicas.values().flatten().chain(pass.condemned.iter().map(|(_, pod)| pod)) {
            counts.replicas += 1;
            if pod.phase() == Phase::Running && pod.is_ready() {
                counts.ready += 1;
                counts.available += usize::from(status::is_available(pod, pass.min_ready, self.now));
            }
            if !self.is_going(pod) {
                counts.current += usize::from(identity::revision(pod) == self.current);
                counts.updated += usize::from(identity::revision(pod) == self.update);
            }
        }
        counts
    }

    fn status(&self, counts: &Counts) -> StatefulSetStatus {
        let old = self.set.status.as_ref();
        let wanted = usize::try_from(self.replicas()).unwrap_or(0);
        let done = [counts.updated, counts.ready, counts.replicas].iter().all(|number| *number == wanted);
        let done = done && self.is_rolling();
        let (current, revision) =
            if done { (counts.updated, self.update) } else { (counts.current, self.current) };
        StatefulSetStatus {
            observed_generation: self.set.metadata.generation,
            replicas: status::count(counts.replicas),
            ready_replicas: Some(status::count(counts.ready)),
            available_replicas: Some(status::count(counts.available)),
            current_replicas: Some(status::count(current)),
            updated_replicas: Some(status::count(counts.updated)),
            current_revision: Some(revision.to_owned()),
            update_revision: Some(self.update.to_owned()),
            collision_count: old.and_then(|status| status.collision_count),
            conditions: old.and_then(|status| status.conditions.clone()),
        }
    }
}

/// Whether a pass goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    Wait,
}

struct Pass<'a> {
    observed: &'a Observed<'a>,
    min_ready: Duration,
    /// By ordinal; absent ones are to be made.
    replicas: BTreeMap<Ordinal, Option<Arc<KnownPod>>>,
    /// Those beyond, the highest first.
    condemned: Vec<(Ordinal, Arc<KnownPod>)>,
    rounds: Vec<Vec<Step>>,
}

impl<'a> Pass<'a> {
    fn new(observed: &'a Observed<'a>, min_ready: Duration) -> Self {
        let (start, name) = (observed.start(), observed.set.name_any());
        let mut replicas: BTreeMap<Ordinal, Option<Arc<KnownPod>>> =
            (start..start.saturating_add(observed.replicas())).map(|ordinal| (ordinal, None)).to_map();
        let mut condemned = Vec::new();
        for pod in observed.pods {
            let Some(ordinal) = identity::ordinal_of(&name, pod.name()) else { continue };
            match replicas.get_mut(&ordinal) {
                Some(place) => *place = Some(pod.clone()),
                None => condemned.push((ordinal, pod.clone())),
            }
        }
        skiff_ordered::sort_by_key(&mut condemned, |(ordinal, _)| Reverse(*ordinal));
        Self { observed, min_ready, replicas, condemned, rounds: Vec::new() }
    }

    fn decide(&mut self, counts: &mut Counts) {
        let parallel = self.observed.is_parallel();
        if self.keep_replicas() == Flow::Wait && !parallel {
            return;
        }
        let kept = self.condemned.iter().filter(|(ordinal, pod)| !self.claims_are_kept(*ordinal, pod));
        let keep: Vec<_> = kept.map(|(ordinal, pod)| Step::KeepClaims(*ordinal, pod.clone())).collect();
        self.rounds.extend(Some(keep).filter(|steps| !steps.is_empty()));
        if self.drop_condemned() == Flow::Wait && !parallel {
            return;
        }
        if self.observed.is_rolling() {
            self.update(counts);
        }
    }

    /// Makes and mends replicas: in order one after the other, each when those before are available; or all at once.
    fn keep_replicas(&mut self) -> Flow {
        let mut steps = Vec::new();
        let mut flow = Flow::On;
        for (ordinal, pod) in &self.replicas {
            let (step, next) = match pod {
                None => self.make(*ordinal),
                Some(pod) => self.keep(*ordinal, pod),
            };
            steps.extend(step);
            if next == Flow::Wait {
                flow = Flow::Wait;
                if !self.observed.is_parallel() {
                    break;
                }
            }
        }
        let rounds: Vec<Vec<Step>> = if self.observed.is_parallel() {
            Some(steps).filter(|steps| !steps.is_empty()).into_iter().collect()
        } else {
            steps.into_iter().map(|step| vec![step]).collect()
        };
        self.rounds.extend(rounds);
        flow
    }

    fn make(&self, ordinal: Ordinal) -> (Option<Step>, Flow) {
        let Observed { set, spec, .. } = *self.observed;
        let name = identity::pod_name(set, ordinal);
        let holder = Holder { name: &name, uid: "", condemned: false };
        let stale = Policy::of(spec).with_pod
            && self.claims_of(ordinal).iter().any(|claim| retention::is_stale(claim, &holder));
        // A claim that goes with the pod before: this one would lose it.
        if stale {
            return (None, Flow::Wait);
        }
        let rolling = spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let status = set.status.as_ref();
        let not_updated = match rolling {
            Some(_) => self.observed.partition(),
            None if self.observed.is_rolling() => {
                status.and_then(|status| status.current_replicas).unwrap_or(0)
            }
            None => 0,
        };
        let is_current = ordinal < self.observed.start().saturating_add(not_updated);
        let which = if is_current { Which::Current } else { Which::Update };
        (Some(Step::Create(ordinal, which)), Flow::Wait)
    }

    fn keep(&self, ordinal: Ordinal, pod: &Arc<KnownPod>) -> (Option<Step>, Flow) {
        let (going, Observed { set, spec, now, .. }) = (self.observed.is_going(pod), *self.observed);
        if pod.is_terminal() {
            return ((!going).then(|| Step::Delete(pod.clone())), Flow::Wait);
        }
        let lacks_claims = self.claims_of(ordinal).len() < identity::claim_templates(spec).len();
        let claims =
            (pod.phase() == Phase::Pending && lacks_claims).then(|| Step::MakeClaims(ordinal, pod.clone()));
        let in_order = !self.observed.is_parallel();
        if in_order && (going || !self.is_up(pod) || !status::is_available(pod, self.min_ready, now)) {
            return (claims, Flow::Wait);
        }
        if claims.is_some() || going {
            return (claims, Flow::On);
        }
        if identity::amendment(set, spec, ordinal, pod).is_some() {
            return (Some(Step::Amend(ordinal, pod.clone())), Flow::On);
        }
        let keeps = !self.claims_are_kept(ordinal, pod);
        (keeps.then(|| Step::KeepClaims(ordinal, pod.clone())), Flow::On)
    }

    fn is_up(&self, pod: &KnownPod) -> bool {
        pod.phase() == Phase::Running && pod.is_ready()
    }

    fn is_unavailable(&self, pod: &KnownPod) -> bool {
        self.observed.is_going(pod) || !status::is_available(pod, self.min_ready, self.observed.now)
    }

    /// The claims that the pod of that ordinal has already.
    fn claims_of(&self, ordinal: Ordinal) -> Vec<Arc<PersistentVolumeClaim>> {
        let Observed { set, spec, claim, .. } = *self.observed;
        let names = identity::claim_templates(spec).iter().map(|t| identity::claim_name(set, t, ordinal));
        names.filter_map(|name| claim(&name)).collect()
    }

    fn claims_are_kept(&self, ordinal: Ordinal, pod: &KnownPod) -> bool {
        let condemned = !self.replicas.contains_key(&ordinal);
        let holder = Holder { name: pod.name(), uid: pod.uid(), condemned };
        let Observed { set, spec, .. } = *self.observed;
        let stays = |claim: &Arc<PersistentVolumeClaim>| {
            retention::owners(Policy::of(spec), claim, set, &holder) == Owners::Stay
        };
        self.claims_of(ordinal).iter().all(stays)
    }

    /// Takes condemned pods away: in order from the highest on, each when all before are available; or all at once.
    fn drop_condemned(&mut self) -> Flow {
        if self.observed.is_parallel() {
            let alive = self.condemned.iter().filter(|(_, pod)| !self.observed.is_going(pod));
            let steps: Vec<_> = alive.map(|(_, pod)| Step::Delete(pod.clone())).collect();
            self.rounds.extend(Some(steps).filter(|steps| !steps.is_empty()));
            return Flow::On;
        }
        let Some((_, pod)) = self.condemned.first() else { return Flow::On };
        let first_unavailable = self.first_unavailable();
        let blocked = !self.is_up(pod) || !status::is_available(pod, self.min_ready, self.observed.now);
        let blocked = blocked && first_unavailable.is_none_or(|first| first != pod.uid());
        if !self.observed.is_going(pod) && !blocked {
            self.rounds.push(vec![Step::Delete(pod.clone())]);
        }
        Flow::Wait
    }

    /// The UID of the first pod that is not available; those that are to go come last.
    fn first_unavailable(&self) -> Option<&str> {
        let condemned = self.condemned.iter().rev().map(|(_, pod)| pod);
        let mut pods = self.replicas.values().flatten().chain(condemned);
        pods.find(|pod| self.is_unavailable(pod)).map(|pod| pod.uid())
    }

    /// Takes pods of other revisions away, from the highest ordinal on: one at a time, and only while those above are
    /// available; or as many as the set lets be missing.
    fn update(&mut self, counts: &mut Counts) {
        let start = self.observed.start();
        let first = start.saturating_add(self.observed.partition());
        let outdated = |pod: &Arc<KnownPod>| {
            identity::revision(pod) != self.observed.update && !self.observed.is_going(pod)
        };
        let targets = self.replicas.range(first.max(start)..).rev().map(|(_, pod)| pod);
        let chosen: Vec<Arc<KnownPod>> = match self.observed.unavailable() {
            None => {
                let waits =
                    |pod: &Option<Arc<KnownPod>>| pod.as_ref().is_none_or(|pod| self.is_unavailable(pod));
                let next = targets.into_iter().find(|pod| pod.as_ref().is_some_and(outdated) || waits(pod));
                next.and_then(Option::clone).filter(outdated).into_iter().collect()
            }
            Some(most) => {
                let missing = self.replicas.values();
                let missing =
                    missing.filter(|pod| pod.as_ref().is_none_or(|pod| self.is_unavailable(pod))).count();
                let room = usize::try_from(most).unwrap_or(0).saturating_sub(missing);
                targets.flatten().filter(|pod| outdated(pod)).take(room).cloned().collect()
            }
        };
        let current = chosen.iter().filter(|pod| identity::revision(pod) == self.observed.current).count();
        counts.current -= current;
        self.rounds.extend(chosen.into_iter().map(|pod| vec![Step::Delete(pod)]));
    }
}
