//! The decision: on which node a pod goes, or why on none, and whose place it could take.

use std::collections::{BTreeMap, BTreeSet};

use skiff_informer::ObjectKey;

use crate::cluster::Picture;
use crate::model::{Pending, PodInfo};
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

/// Chooses the best node for `pod`: of the nodes that fit, one with the highest score, fewest pods, first name. Of many
/// nodes only so many that fit are compared, beginning behind `last`.
pub(crate) fn schedule(
    key: &ObjectKey,
    pod: &PodInfo,
    pending: &Pending,
    picture: &Picture,
    last: &str,
) -> Decision {
    let cycle = match Cycle::new(pod, pending, picture) {
        Ok(cycle) => cycle,
        Err(why) => return Decision::Unschedulable(nowhere_at_all(&why, picture.nodes.len())),
    };
    let wanted = enough(picture.nodes.len());
    let (mut fitting, mut refused) = (Vec::new(), Vec::new());
    for node in picture.nodes.behind(last) {
        match refusals(&cycle, key, node, picture) {
            reasons if reasons.is_empty() => fitting.push(node),
            reasons => refused.push((node, reasons)),
        }
        if fitting.len() >= wanted {
            break;
        }
    }
    let scores = scores(&cycle, &picture.nodes, &fitting);
    let best = fitting.iter().zip(scores).max_by_key(|(node, score)| {
        (*score, std::cmp::Reverse(node.pods.len()), std::cmp::Reverse(node.info.name.as_str()))
    });
    match best {
        Some((node, _)) => Decision::Bind(node.info.name.clone()),
        None => Decision::Unschedulable(nowhere(&cycle, key, &refused, picture)),
    }
}

/// How many nodes that fit are compared: all of a hundred, a tenth of five thousand (`percentageOfNodesToScore`).
fn enough(nodes: usize) -> usize {
    const COMPARED: usize = 100;
    let percent = 50_usize.saturating_sub(nodes / 125).max(5);
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

/// A pod that no node will do for, whatever is on them. No room is made for it.
fn nowhere_at_all(why: &str, nodes: usize) -> Unschedulable {
    let message = match nodes {
        0 => NO_NODES.to_owned(),
        // The end is what Kubernetes says of rules that come later, and have not been asked.
        _ => format!("0/{nodes} nodes are available: {why}. not found"),
    };
    Unschedulable { message, rules: [Rule::Node, Rule::Volumes].into(), room: Room::AsBefore }
}

const NO_NODES: &str = "no nodes available to schedule pods";

fn nowhere(
    cycle: &Cycle<'_>,
    key: &ObjectKey,
    refused: &[(&NodeState, Vec<Refusal>)],
    picture: &Picture,
) -> Unschedulable {
    if refused.is_empty() {
        return Unschedulable { message: NO_NODES.to_owned(), rules: [Rule::Node].into(), room: Room::None };
    }
    let reasons =
        counted(refused.iter().flat_map(|(_, reasons)| reasons).map(|refusal| refusal.reason.as_ref()));
    let message = format!("0/{} nodes are available: {reasons}.", refused.len());
    let rules = refused.iter().flat_map(|(_, reasons)| reasons.iter().map(|refusal| refusal.rule)).collect();
    let (room, why) = match preempt::preempt(cycle, key, refused, picture) {
        Ok(preemption) => return Unschedulable { message, rules, room: Room::Made(preemption) },
        Err(NoRoom::NotEligible(why)) => (Room::AsBefore, why.to_owned()),
        Err(NoRoom::NoCandidate(why)) => (Room::None, why),
    };
    Unschedulable {
        message: format!("{message} no new claims to deallocate, preemption: {why}"),
        rules,
        room,
    }
}

/// `2 reason, 1 other reason`, in the order of the texts.
pub(crate) fn counted<'a>(reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    reasons.for_each(|reason| *counts.entry(reason).or_default() += 1);
    let mut texts: Vec<_> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    texts.join(", ")
}
