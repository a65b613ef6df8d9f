//! Preemption: which less important pods make room for one that fits nowhere, as Kubernetes' DefaultPreemption chooses them.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::Timestamp;
use skiff_informer::ObjectKey;

use crate::cluster::Picture;
use crate::model::{Budget, PodInfo};
use crate::nodes::NodeState;
use crate::rules::{Cycle, Refusal};
use crate::schedule::{Refused, counted};

/// Pods that make room on a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Preemption {
    /// The node.
    pub node: String,
    /// Who goes, the most important first.
    pub victims: Vec<(ObjectKey, Arc<PodInfo>)>,
    /// How many of them a disruption budget would have kept.
    violations: usize,
}

const UNHELPFUL: &str = "Preemption is not helpful for scheduling";
const NOBODY: &str = "No preemption victims found for incoming pod";

/// Why no room is made, in Kubernetes' words.
#[derive(Debug)]
pub(crate) enum NoRoom {
    /// The pod takes nobody's place, or not now: what it was promised stays.
    NotEligible(&'static str),
    /// Nowhere would it help.
    NoCandidate(String),
}

/// Chooses the node on which it costs least to make room for the pod of `key`; on those that were not looked at (`some_absent`) it
/// would not help. Of many nodes only as many are tried as the profile says.
pub(crate) fn preempt(
    cycle: &Cycle<'_>,
    key: &ObjectKey,
    refused: &Refused<'_>,
    some_absent: bool,
) -> Result<Preemption, NoRoom> {
    if !cycle.pending.preempts {
        return Err(NoRoom::NotEligible("not eligible due to preemptionPolicy=Never."));
    }
    if room_is_being_made(cycle, refused, some_absent) {
        return Err(NoRoom::NotEligible("not eligible due to a terminating pod on the nominated node."));
    }
    let resolvable = |refusals: &[Refusal]| refusals.iter().all(|refusal| refusal.resolvable);
    let promising: Vec<&NodeState> =
        refused.nodes.iter().filter(|(_, refusals)| resolvable(refusals)).map(|(node, _)| *node).collect();
    let enough = candidates(cycle, promising.len());
    let unhelpful = refused.all.saturating_sub(promising.len());
    let mut reasons: Vec<String> = std::iter::repeat_n(UNHELPFUL.to_owned(), unhelpful).collect();
    let (mut best, mut found, mut harmless): (Option<(Cost, Preemption)>, _, _) = (None, 0, false);
    for node in promising {
        match on_node(cycle, key, node, cycle.picture) {
            Err(why) => reasons.extend(why),
            Ok(preemption) => {
                found += 1;
                harmless |= preemption.violations == 0;
                let cost = Cost::of(&preemption);
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, preemption));
                }
                if harmless && found >= enough {
                    break;
                }
            }
        }
    }
    best.map(|(_, preemption)| preemption).ok_or_else(|| {
        let counted = counted(reasons.iter().map(String::as_str));
        NoRoom::NoCandidate(format!("0/{} nodes are available: {counted}.", refused.all))
    })
}

/// On how many of `nodes` it is found out at least who would have to go.
fn candidates(cycle: &Cycle<'_>, nodes: usize) -> usize {
    let (percent, absolute) = cycle.arguments().candidates;
    (nodes * percent / 100).max(absolute).min(nodes)
}

/// Whether less important pods are ending, for this one's sake, on the node on which it was promised room; a node on which it can
/// never be promises nothing.
fn room_is_being_made(cycle: &Cycle<'_>, refused: &Refused<'_>, some_absent: bool) -> bool {
    let Some(name) = cycle.pending.nominated.as_deref() else { return false };
    let looked_at = refused.nodes.iter().find(|(node, _)| node.info.name == name);
    let hopeless = match looked_at {
        Some((_, refusals)) => refusals.iter().any(|refusal| !refusal.resolvable),
        None => some_absent,
    };
    let ending = |pod: &Arc<PodInfo>| pod.preempted && pod.priority < cycle.pod.priority;
    !hopeless && cycle.picture.nodes.get(name).is_some_and(|node| node.pods.values().any(ending))
}

/// What a preemption costs, in the order in which Kubernetes compares.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    violations: usize,
    highest_priority: i32,
    sum_of_priorities: i64,
    victims: usize,
    /// Of two that are equal else the one is taken whose most important victims started later.
    started: Reverse<Timestamp>,
}

impl Cost {
    fn of(preemption: &Preemption) -> Self {
        let pods = || preemption.victims.iter().map(|(_, pod)| pod);
        let highest_priority = pods().map(|pod| pod.priority).max().unwrap_or(i32::MIN);
        let important = pods().filter(|pod| pod.priority == highest_priority);
        Self {
            violations: preemption.violations,
            highest_priority,
            // Each is raised, so that fewer pods are better however low their priorities.
            sum_of_priorities: pods().map(|pod| i64::from(pod.priority) + i64::from(i32::MAX) + 1).sum(),
            victims: preemption.victims.len(),
            started: Reverse(important.map(|pod| start_of(pod)).min().unwrap_or(Timestamp::MAX)),
        }
    }
}

/// When a pod started; one that has not starts now.
fn start_of(pod: &PodInfo) -> Timestamp {
    pod.started.unwrap_or(Timestamp::MAX)
}

/// Who must go on one node: all who are less important are taken out, and as many put back as can stay, those first whom a
/// disruption budget keeps, the more important ones before others.
fn on_node(
    cycle: &Cycle<'_>,
    key: &ObjectKey,
    node: &NodeState,
    picture: &Picture,
) -> Result<Preemption, Vec<String>> {
    let priority = cycle.pod.priority;
    let lesser = node.pods.iter().filter(|(_, pod)| pod.priority < priority);
    let mut lesser: Vec<(ObjectKey, Arc<PodInfo>)> =
        lesser.map(|(key, pod)| (key.clone(), pod.clone())).collect();
    if lesser.is_empty() {
        return Err(vec![NOBODY.into()]);
    }
    let mut trial = Trial { cycle: cycle.clone(), node: node.clone() };
    for (coming, pod) in picture.nominated_on(&node.info.name, key, priority) {
        trial.put(coming, pod);
    }
    lesser.iter().for_each(|(key, pod)| trial.take(key, pod));
    let left = trial.refusals();
    if !left.is_empty() {
        return Err(left.into_iter().map(|refusal| refusal.reason.into_owned()).collect());
    }
    skiff_ordered::sort_by_key(&mut lesser, |(key, pod)| (Reverse(pod.priority), start_of(pod), key.clone()));
    let (kept, free) = by_budget(lesser, &picture.budgets);
    let (mut victims, mut violations) = (Vec::new(), 0);
    for (violating, (key, pod)) in
        kept.into_iter().map(|pod| (true, pod)).chain(free.into_iter().map(|pod| (false, pod)))
    {
        trial.put(&key, &pod);
        if !trial.refusals().is_empty() {
            trial.take(&key, &pod);
            violations += usize::from(violating);
            victims.push((key, pod));
        }
    }
    skiff_ordered::sort_by_key(&mut victims, |(key, pod)| {
        (Reverse(pod.priority), start_of(pod), key.clone())
    });
    Ok(Preemption { node: node.info.name.clone(), victims, violations })
}

/// A node as it would be.
struct Trial<'a> {
    cycle: Cycle<'a>,
    node: NodeState,
}

impl Trial<'_> {
    fn take(&mut self, key: &ObjectKey, pod: &PodInfo) {
        self.node.remove(key);
        self.cycle.count(pod, &self.node, -1);
    }

    fn put(&mut self, key: &ObjectKey, pod: &Arc<PodInfo>) {
        self.node.add(key.clone(), pod.clone());
        self.cycle.count(pod, &self.node, 1);
    }

    fn refusals(&self) -> Vec<Refusal> {
        self.cycle.refusals(&self.node)
    }
}

type Pods = Vec<(ObjectKey, Arc<PodInfo>)>;

/// Those whose removal would break a disruption budget, and the others; both in their order.
fn by_budget(pods: Pods, budgets: &[Arc<Budget>]) -> (Pods, Pods) {
    let mut allowed: Vec<i64> = budgets.iter().map(|budget| budget.allowed).collect();
    pods.into_iter().partition(|(key, pod)| {
        let mut breaks = false;
        for (budget, allowed) in budgets.iter().zip(&mut allowed) {
            if budget.covers(key.name(), pod) {
                *allowed -= 1;
                breaks |= *allowed < 0;
            }
        }
        breaks
    })
}
