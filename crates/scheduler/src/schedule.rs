//! The decision: on which node a pod goes, or why on none, and whose place it could take.

use std::collections::{BTreeMap, BTreeSet};

use skiff_informer::ObjectKey;
use skiff_ordered::Ordered as _;

use crate::cluster::Picture;
use crate::configuration::Plugin;
use crate::counts::Counts;
use crate::model::{Pending, PodInfo};
use crate::nodes::NodeState;
use crate::preempt::{self, NoRoom, Preemption};
use crate::rules::volumes::{self, Hopeless};
use crate::rules::{Cycle, Refusal, Rule};
use crate::scores::scores;

/// Where a pod goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// To the node of this name.
    Bind(String),
    /// Nowhere.
    Unschedulable(Unschedulable),
}

/// Why a pod goes nowhere, and what may change that.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Unschedulable {
    /// Kubernetes' words.
    pub message: String,
    /// The rules that refused it somewhere.
    pub rules: BTreeSet<Rule>,
    /// What becomes of the promise of room on a node.
    pub room: Room,
}

/// Where a pod that fits nowhere may hope for room.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Room {
    /// Nowhere; what it was promised is taken back.
    #[default]
    None,
    /// Where it was promised, if anywhere.
    AsBefore,
    /// Where these pods go.
    Made(Preemption),
}

/// The nodes that a pod does not fit on.
pub(crate) struct Refused<'a> {
    /// How many nodes there are.
    pub all: usize,
    /// Those that were looked at, with the reasons.
    pub nodes: Vec<(&'a NodeState, Vec<Refusal>)>,
}

/// Chooses the best node for `pod`, and says up to which node all were looked at: of the nodes that fit, one with the highest score,
/// fewest pods, first name. Of many nodes only so many that fit are compared, beginning behind `last`.
pub(crate) fn schedule(
    key: &ObjectKey,
    pod: &PodInfo,
    pending: &Pending,
    picture: &Picture,
    last: &str,
) -> (Decision, Option<String>) {
    let all = picture.nodes.len();
    if all == 0 {
        let message = "no nodes available to schedule pods".into();
        let why = Unschedulable { message, rules: [Rule::Node].into(), room: Room::None };
        return (Decision::Unschedulable(why), None);
    }
    let counts = Counts::of(pod, pending, picture);
    let names = pending.affinity.names().filter(|_| pending.profile.narrows());
    let (volumes, hopeless) = match volumes::Facts::gather(pod, &pending.profile, &picture.storage) {
        Ok(volumes) => (volumes, None),
        Err(hopeless) => (volumes::Facts::default(), Some(hopeless)),
    };
    let cycle = Cycle::new(pod, pending, &counts, volumes, picture);
    let mut refused = Refused { all, nodes: Vec::new() };
    if let Some(hopeless) = conflict(names.as_ref()).or(hopeless) {
        let why = nowhere(&cycle, key, &refused, Some(&Absent::All(hopeless)));
        return (Decision::Unschedulable(why), None);
    }
    let nominated = pending.nominated.as_deref().and_then(|name| picture.nodes.get(name));
    if let Some(node) = nominated.filter(|node| refusals(&cycle, key, node, picture).is_empty()) {
        return (Decision::Bind(node.info.name.clone()), None);
    }
    let wanted = enough(all, pending);
    let mut fitting = Vec::new();
    let candidates: &mut dyn Iterator<Item = &NodeState> = match &names {
        Some(names) => &mut names.iter().filter_map(|name| picture.nodes.get(name)),
        None => &mut picture.nodes.behind(last),
    };
    let mut examined = None;
    for node in candidates {
        examined = Some(node);
        match refusals(&cycle, key, node, picture) {
            reasons if reasons.is_empty() => fitting.push(node),
            reasons => refused.nodes.push((node, reasons)),
        }
        if fitting.len() >= wanted {
            break;
        }
    }
    let examined = examined.filter(|_| names.is_none()).map(|node| node.info.name.clone());
    match best(&cycle, &fitting) {
        Some(node) => (Decision::Bind(node.info.name.clone()), examined),
        None => {
            let why = nowhere(&cycle, key, &refused, names.map(|_| Absent::NotNamed).as_ref());
            (Decision::Unschedulable(why), examined)
        }
    }
}

/// Why nodes were not looked at.
enum Absent {
    /// The pod's affinity names others.
    NotNamed,
    /// No node will do.
    All(Hopeless),
}

impl Absent {
    /// What may change that.
    fn rule(&self) -> Rule {
        match self {
            Self::NotNamed | Self::All(Hopeless { by: Plugin::NodeAffinity, .. }) => Rule::Node,
            Self::All(_) => Rule::Volumes,
        }
    }

    /// Whether it was found before the plugin was asked.
    fn precedes(&self, plugin: Plugin, cycle: &Cycle<'_>) -> bool {
        match self {
            Self::NotNamed => false,
            Self::All(hopeless) => !cycle.pending.profile.asks_before(plugin, hopeless.by),
        }
    }
}

const NOT_NAMED: &str = "node(s) didn't satisfy plugin(s) [NodeAffinity]";

/// Whether the node names that a pod's affinity asks for contradict each other.
fn conflict(names: Option<&BTreeSet<&str>>) -> Option<Hopeless> {
    let why = "pod affinity terms conflict".to_owned();
    names.filter(|names| names.is_empty()).map(|_| Hopeless { by: Plugin::NodeAffinity, why })
}

fn best<'a>(cycle: &Cycle<'_>, fitting: &[&'a NodeState]) -> Option<&'a NodeState> {
    if fitting.len() < 2 {
        return fitting.first().copied();
    }
    let scored = fitting.iter().zip(scores(cycle, fitting));
    let best = scored.max_by_key(|(node, score)| {
        (*score, std::cmp::Reverse(node.pods.len()), std::cmp::Reverse(node.info.name.as_str()))
    });
    best.map(|(node, _)| *node)
}

/// How many nodes that fit are compared: all of a hundred, a tenth of five thousand, or as the profile says
/// (`percentageOfNodesToScore`); one if there is nothing to compare by.
fn enough(nodes: usize, pending: &Pending) -> usize {
    const COMPARED: usize = 100;
    if pending.profile.scores.is_empty() {
        return 1;
    }
    let percent = pending.profile.percentage.unwrap_or_else(|| 50_usize.saturating_sub(nodes / 125).max(5));
    (nodes * percent / 100).max(COMPARED)
}

/// Why the pod cannot be on the node, also if the pods for which room was made there come, but for less important ones.
fn refusals(cycle: &Cycle<'_>, key: &ObjectKey, node: &NodeState, picture: &Picture) -> Vec<Refusal> {
    let coming = picture.nominated_on(&node.info.name, key, cycle.pod.priority);
    if !coming.is_empty() {
        let (mut cycle, mut node) = (cycle.clone(), node.clone());
        for (key, pod) in coming {
            node.add(key.clone(), pod.clone());
            cycle.count(pod, &node, 1);
        }
        let reasons = cycle.refusals(&node);
        if !reasons.is_empty() {
            return reasons;
        }
    }
    cycle.refusals(node)
}

/// `absent` is said of the nodes that were not looked at; if none was, it is all that is said.
fn nowhere(
    cycle: &Cycle<'_>,
    key: &ObjectKey,
    refused: &Refused<'_>,
    absent: Option<&Absent>,
) -> Unschedulable {
    let reasons = match absent {
        Some(Absent::All(hopeless)) => hopeless.why.clone(),
        _ => {
            let unnamed = absent.map_or(0, |_| refused.all.saturating_sub(refused.nodes.len()));
            let said = refused.nodes.iter().flat_map(|(_, reasons)| reasons);
            counted(
                said.map(|refusal| refusal.reason.as_ref()).chain(std::iter::repeat_n(NOT_NAMED, unnamed)),
            )
        }
    };
    let mut message = format!("0/{} nodes are available: {reasons}.", refused.all);
    let mut rules: BTreeSet<Rule> = absent.map(Absent::rule).into_iter().to_set();
    rules.extend(refused.nodes.iter().flat_map(|(_, reasons)| reasons.iter().map(|refusal| refusal.rule)));
    let (mut room, mut said) = (Room::AsBefore, Vec::new());
    for plugin in &cycle.pending.profile.post_filters {
        match plugin {
            Plugin::DynamicResources if absent.is_some_and(|absent| absent.precedes(*plugin, cycle)) => {
                // As Kubernetes says that a plugin misses what it would have noted of the pod, which ends all that is done.
                (room, said) = (Room::AsBefore, vec!["not found".to_owned()]);
                break;
            }
            Plugin::DynamicResources => said.push("no new claims to deallocate".to_owned()),
            Plugin::DefaultPreemption => {
                let why = match preempt::preempt(cycle, key, refused, absent.is_some()) {
                    Ok(preemption) => return Unschedulable { message, rules, room: Room::Made(preemption) },
                    Err(NoRoom::NotEligible(why)) => why.to_owned(),
                    Err(NoRoom::NoCandidate(why)) => {
                        room = Room::None;
                        why
                    }
                };
                said.push(format!("preemption: {why}"));
            }
            _ => {}
        }
    }
    if cycle.pending.profile.post_filters.is_empty() {
        room = Room::None;
    }
    if !said.is_empty() {
        message = format!("{message} {}", said.join(", "));
    }
    Unschedulable { message, rules, room }
}

/// `2 reason, 1 other reason`, in the order of the texts.
pub(crate) fn counted<'a>(reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    reasons.for_each(|reason| *counts.entry(reason).or_default() += 1);
    let mut texts: Vec<_> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    texts.join(", ")
}
