//! What to do for the pods of a DaemonSet.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use skiff_ordered::Ordered as _;

use super::placing::{self, Fit, Placing};
use crate::pods::{KnownPod, Phase};
use crate::workload::amount::{self, Round};
use crate::workload::status;

/// What is known of a set.
pub(super) struct Observed<'a> {
    pub(super) set: &'a DaemonSet,
    pub(super) spec: &'a DaemonSetSpec,
    /// The hash of the present template.
    pub(super) hash: &'a str,
    pub(super) nodes: &'a [Arc<Node>],
    pub(super) pods: &'a [Arc<KnownPod>],
    /// UIDs of pods whose deletion was asked for, and may not show yet.
    pub(super) deleted: &'a HashSet<String>,
    pub(super) now: Timestamp,
}

/// A pod that ended, and is to be replaced.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) pod: Arc<KnownPod>,
    pub(super) node: String,
    pub(super) failed: bool,
}

/// What to do for a set.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Nodes that get a pod.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Arc<KnownPod>>,
    /// Deleted too, after a pause where they end again and again.
    pub(super) ended: Vec<Ended>,
}

impl Plan {
    fn is_empty(&self) -> bool {
        self.create.is_empty() && self.delete.is_empty() && self.ended.is_empty()
    }
}

/// One node and the pods that are on it or meant for it.
struct Place<'a> {
    fit: Fit,
    pods: Vec<&'a Arc<KnownPod>>,
}

/// A pod, if there is one.
type Found<'a> = Option<&'a Arc<KnownPod>>;

/// A set's pods by nodes, with what is wanted there.
pub(super) struct Layout<'a> {
    observed: &'a Observed<'a>,
    min_ready: Duration,
    places: BTreeMap<String, Place<'a>>,
    /// Those that wait for nodes that are not there.
    lost: Vec<&'a Arc<KnownPod>>,
    generation: Option<i64>,
}

impl<'a> Layout<'a> {
    pub(super) fn of(observed: &'a Observed<'a>) -> Self {
        let spec = observed.spec.template.spec.clone().unwrap_or_default();
        let placing = Placing::of(&spec);
        let place = |node: &Arc<Node>| (node.name_any(), Place { fit: placing.fit(node), pods: Vec::new() });
        let mut places: BTreeMap<String, Place<'_>> = observed.nodes.iter().map(place).to_map();
        let mut lost = Vec::new();
        for pod in observed.pods.iter().filter(|pod| !(pod.is_terminal() && pod.is_deleting())) {
            match pod.target_node().and_then(|node| places.get_mut(node)) {
                Some(place) => place.pods.push(pod),
                None if pod.node().is_none() && pod.target_node().is_some() => lost.push(pod),
                None => {}
            }
        }
        for place in places.values_mut() {
            skiff_ordered::sort_by_key(&mut place.pods, |pod| {
                (pod.node().is_none(), pod.created(), pod.name().to_owned())
            });
        }
        let min_ready = status::min_ready(observed.spec.min_ready_seconds);
        Self { observed, min_ready, places, lost, generation: placing::generation(observed.set) }
    }

    /// Decides. What is missing or too much comes before an update.
    pub(super) fn plan(&self) -> Plan {
        let plan = self.manage();
        let strategy =
            self.observed.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
        if plan.is_empty() && strategy != Some("OnDelete") { self.update() } else { plan }
    }

    fn is_going(&self, pod: &KnownPod) -> bool {
        pod.is_deleting() || self.observed.deleted.contains(pod.uid())
    }

    fn is_new(&self, pod: &KnownPod) -> bool {
        placing::is_updated(pod.labels(), self.observed.hash, self.generation)
    }

    fn is_available(&self, pod: &KnownPod) -> bool {
        status::is_available(pod, self.min_ready, self.observed.now)
    }

    fn desired(&self) -> i32 {
        status::count(self.places.values().filter(|place| place.fit == Fit::Runs).count())
    }

    /// Pods that may be there besides those that they replace, and nodes that may be without; of the latter one at least, if
    /// there is none of the former.
    fn surge_and_unavailable(&self) -> (usize, usize) {
        let rolling = self.observed.spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
        let amount = |value: Option<_>| value.map_or(0, |value| amount::of(value, self.desired(), Round::Up));
        let surge = amount(rolling.and_then(|rolling| rolling.max_surge.as_ref()));
        let unavailable = amount(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()));
        let number = |value: i32| usize::try_from(value).unwrap_or(0);
        (number(surge), number(if surge == 0 { unavailable.max(1) } else { unavailable }))
    }

    fn manage(&self) -> Plan {
        let mut plan = Plan::default();
        let surges = self.surge_and_unavailable().0 > 0;
        for (node, place) in &self.places {
            match place.fit {
                Fit::Runs if place.pods.is_empty() => plan.create.push(node.clone()),
                Fit::Runs | Fit::Stays => self.prune(node, place, surges, &mut plan),
                Fit::Never => plan.delete.extend(self.alive(place).cloned()),
            }
        }
        plan.delete.extend(self.lost.iter().filter(|pod| !self.is_going(pod)).map(|pod| (*pod).clone()));
        plan
    }

    fn alive(&self, place: &'a Place<'a>) -> impl Iterator<Item = &'a Arc<KnownPod>> {
        place.pods.iter().copied().filter(|pod| !self.is_going(pod))
    }

    /// Finds the pods of a node that ended, and those that are too many.
    fn prune(&self, node: &str, place: &Place<'a>, surges: bool, plan: &mut Plan) {
        let mut running: Vec<&Arc<KnownPod>> = Vec::new();
        for pod in place.pods.iter().copied().filter(|pod| !self.is_going(pod)) {
            if pod.is_terminal() {
                let failed = pod.phase() == Phase::Failed;
                plan.ended.push(Ended { pod: pod.clone(), node: node.to_owned(), failed });
            } else {
                running.push(pod);
            }
        }
        if !surges {
            plan.delete.extend(running.iter().skip(1).map(|pod| (*pod).clone()));
            return;
        }
        if running.len() <= 1 {
            // Where one is going, the next comes at once.
            let lacks = running.is_empty() && place.fit == Fit::Runs;
            plan.create.extend(lacks.then(|| node.to_owned()));
            return;
        }
        self.prune_surge(&running, plan);
    }

    /// Of several pods on a node the oldest of the present template stays, and the oldest of another until that one serves, or it
    /// does not itself.
    fn prune_surge(&self, running: &[&Arc<KnownPod>], plan: &mut Plan) {
        let is_new = |pod: &KnownPod| placing::is_updated(pod.labels(), self.observed.hash, None);
        let (new, old): (Vec<&Arc<KnownPod>>, Vec<_>) = running.iter().copied().partition(|pod| is_new(pod));
        plan.delete.extend(new.iter().skip(1).chain(old.iter().skip(1)).map(|pod| (*pod).clone()));
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (!old.is_ready() || self.is_available(new))
        {
            plan.delete.push((*old).clone());
        }
    }

    /// The pods of a node that are not going, of the present template and of another; `None` if there are several of one.
    fn new_and_old(&self, place: &Place<'a>) -> Option<(Found<'a>, Found<'a>)> {
        let (mut new, mut old) = (None, None);
        for pod in place.pods.iter().copied().filter(|pod| !self.is_going(pod)) {
            let slot = if self.is_new(pod) { &mut new } else { &mut old };
            if slot.replace(pod).is_some() {
                return None;
            }
        }
        Some((new, old))
    }

    /// The nodes that have pods, or should.
    fn concerned(&self) -> impl Iterator<Item = (&String, &Place<'a>)> {
        self.places.iter().filter(|(_, place)| place.fit == Fit::Runs || !place.pods.is_empty())
    }

    fn update(&self) -> Plan {
        match self.surge_and_unavailable() {
            (0, unavailable) => self.replace(unavailable),
            (surge, _) => self.surge(surge),
        }
    }

    /// Deletes old pods: those that are not available anyway, and as many others as may be missing.
    fn replace(&self, unavailable: usize) -> Plan {
        let (mut missing, mut anyway, mut candidates) = (0, Vec::new(), Vec::new());
        for (_, place) in self.concerned() {
            match self.new_and_old(place) {
                None | Some((None, None) | (Some(_), Some(_))) => missing += 1,
                Some((Some(new), None)) => missing += usize::from(!self.is_available(new)),
                Some((None, Some(old))) if !self.is_available(old) => {
                    anyway.push(old.clone());
                    missing += 1;
                }
                Some((None, Some(old))) => candidates.push(old.clone()),
            }
        }
        candidates.truncate(unavailable.saturating_sub(missing));
        anyway.extend(candidates);
        Plan { delete: anyway, ..Plan::default() }
    }

    /// Makes new pods beside old ones, and deletes these once the new ones serve.
    fn surge(&self, surge: usize) -> Plan {
        let (mut surging, mut available) = (0, 0);
        let (mut delete, mut misplaced) = (Vec::new(), Vec::new());
        let (mut create, mut candidates) = (Vec::new(), Vec::new());
        for (node, place) in self.concerned() {
            let Some((new, old)) = self.new_and_old(place) else {
                surging += 1;
                continue;
            };
            available += usize::from(old.or(new).is_some_and(|pod| self.is_available(pod)));
            match (new, old) {
                (_, None) => {}
                (Some(new), Some(_)) if !self.is_available(new) => surging += 1,
                (Some(_), Some(old)) => delete.push(old.clone()),
                (None, Some(old)) => match (self.is_available(old), place.fit == Fit::Runs) {
                    (false, false) => delete.push(old.clone()),
                    (true, false) => misplaced.push(old.clone()),
                    (false, true) => create.push(node.clone()),
                    (true, true) => candidates.push(node.clone()),
                },
            }
        }
        // Where a pod no longer belongs it stays until others serve in its place.
        let spare = available.saturating_sub(usize::try_from(self.desired()).unwrap_or(0));
        delete.extend(misplaced.into_iter().take(spare));
        create.extend(candidates.into_iter().take(surge.saturating_sub(surging)));
        Plan { create, delete, ..Plan::default() }
    }

    /// What is to be said of the set. Only a pass that has done its work has observed the generation.
    pub(super) fn status(&self, worked: bool) -> DaemonSetStatus {
        let old = self.observed.set.status.clone().unwrap_or_default();
        let observed = if worked { self.observed.set.metadata.generation } else { old.observed_generation };
        let running = || self.places.values().filter(|place| place.fit == Fit::Runs);
        let first = || running().filter_map(|place| place.pods.first());
        let that =
            |holds: &dyn Fn(&KnownPod) -> bool| status::count(first().filter(|pod| holds(pod)).count());
        let elsewhere = self.places.values().filter(|place| place.fit != Fit::Runs && !place.pods.is_empty());
        let available = that(&|pod| self.is_available(pod));
        DaemonSetStatus {
            desired_number_scheduled: self.desired(),
            current_number_scheduled: status::count(first().count()),
            number_misscheduled: status::count(elsewhere.count()),
            number_ready: that(&KnownPod::is_ready),
            updated_number_scheduled: Some(that(&|pod| self.is_new(pod))),
            number_available: Some(available),
            number_unavailable: Some(self.desired() - available),
            observed_generation: observed,
            ..old
        }
    }

    /// After how long another pod turns available.
    pub(super) fn next_available(&self) -> Option<Duration> {
        status::next_available(self.observed.pods, self.min_ready, self.observed.now)
    }
}
