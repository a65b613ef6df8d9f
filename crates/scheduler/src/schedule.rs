//! The decision: on which node a pod goes, or why on none, and whose place it could take.

use std::collections::{BTreeMap, BTreeSet};

use skiff_informer::ObjectKey;

use crate::cluster::Picture;
use crate::configuration::Plugin;
use crate::model::{Pending, PodInfo, Spread};
use crate::nodes::NodeState;
use crate::preempt::{self, NoRoom, Preemption};
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
    if picture.nodes.len() == 0 {
        let message = "no nodes available to schedule pods".into();
        let why = Unschedulable { message, rules: [Rule::Node].into(), room: Room::None };
        return (Decision::Unschedulable(why), None);
    }
    let defaults = picture.default_spread(pod, pending);
    let spread = if pending.spread.is_empty() { &defaults } else { &pending.spread };
    let cycle = Cycle::new(pod, pending, spread, picture);
    let names = pending.affinity.names().filter(|_| pending.profile.narrows);
    let nominated = || picture.nodes.get(pending.nominated.as_deref()?);
    if !names.as_ref().is_some_and(BTreeSet::is_empty)
        && let Some(node) = nominated().filter(|node| refusals(&cycle, key, node, picture).is_empty())
    {
        return (Decision::Bind(node.info.name.clone()), None);
    }
    let wanted = enough(picture.nodes.len(), pending);
    let mut fitting = Vec::new();
    let mut refused = Refused { all: picture.nodes.len(), nodes: Vec::new() };
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
            let absent = names.map(|names| if names.is_empty() { CONFLICT } else { NOT_NAMED });
            (Decision::Unschedulable(nowhere(&cycle, key, &refused, absent)), examined)
        }
    }
}

/// The node names that a pod's affinity asks for contradict each other.
const CONFLICT: &str = "pod affinity terms conflict";
/// The pod's affinity names other nodes.
const NOT_NAMED: &str = "node(s) didn't satisfy plugin(s) [NodeAffinity]";

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
    absent: Option<&'static str>,
) -> Unschedulable {
    let reasons = match absent {
        Some(CONFLICT) => CONFLICT.to_owned(),
        _ => {
            let said = refused.nodes.iter().flat_map(|(_, reasons)| reasons);
            let absent = absent
                .into_iter()
                .flat_map(|why| std::iter::repeat_n(why, refused.all.saturating_sub(refused.nodes.len())));
            counted(said.map(|refusal| refusal.reason.as_ref()).chain(absent))
        }
    };
    let mut message = format!("0/{} nodes are available: {reasons}.", refused.all);
    let mut rules: BTreeSet<Rule> = absent.map(|_| Rule::Node).into_iter().collect();
    rules.extend(refused.nodes.iter().flat_map(|(_, reasons)| reasons.iter().map(|refusal| refusal.rule)));
    let (mut room, mut said) = (Room::AsBefore, Vec::new());
    for plugin in &cycle.pending.profile.post_filters {
        match plugin {
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

impl Picture {
    /// Counts once what is going to be counted for every pod of the same kind.
    pub(crate) fn prepare(&mut self, pod: &PodInfo, pending: &Pending) {
        let defaults = self.default_spread(pod, pending);
        for rule in if pending.spread.is_empty() { &defaults } else { &pending.spread } {
            if let Some(selector) = &rule.selector {
                self.nodes.tally(&pod.namespace, selector, &rule.topology_key);
            }
        }
    }

    /// How a pod is spread that says nothing of it: by its profile, among the pods that belong together with it. In no way if it is
    /// not known which those are.
    pub(crate) fn default_spread(&self, pod: &PodInfo, pending: &Pending) -> Vec<Spread> {
        if !pending.spread.is_empty() || !pending.profile.spreads() {
            return Vec::new();
        }
        let selector = self.selectors.of_pod(&pod.namespace, &pod.labels, pending.owner.as_ref());
        if selector.is_everything() {
            return Vec::new();
        }
        let constraints = pending.profile.arguments.spread.constraints.iter();
        constraints.map(|rule| Spread { selector: Some(selector.clone()), ..rule.clone() }).collect()
    }
}
