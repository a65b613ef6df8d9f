//! Which of the nodes that fit is best: the scores of Kubernetes' plugins, each 0 to 100, with the weights of the pod's profile.

mod room;
mod spreading;

use crate::configuration::Plugin;
use crate::model::Pending;
use crate::nodes::{NodeState, Nodes};
use crate::rules::{Cycle, nearness};
use crate::taints;

const MOST: i64 = 100;

/// The score of each of `fitting`, in their order.
pub(crate) fn scores(cycle: &Cycle<'_>, fitting: &[&NodeState]) -> Vec<i64> {
    let mut scores = vec![0_i64; fitting.len()];
    for (plugin, weight) in &cycle.pending.profile.scores {
        let parts = of_plugin(*plugin, cycle, fitting);
        scores.iter_mut().zip(parts).for_each(|(score, part)| {
            *score = score.saturating_add(weight.saturating_mul(part));
        });
    }
    scores
}

/// The scores of one plugin; none where it makes no difference.
fn of_plugin(plugin: Plugin, cycle: &Cycle<'_>, fitting: &[&NodeState]) -> Vec<i64> {
    let pending = cycle.pending;
    match plugin {
        Plugin::NodeResourcesFit => {
            let room = room::Room::of(cycle);
            fitting.iter().map(|node| room.left(node)).collect()
        }
        Plugin::NodeResourcesBalancedAllocation => {
            let balance = room::Balance::of(cycle);
            fitting.iter().map(|node| balance.on(node)).collect()
        }
        Plugin::ImageLocality => {
            let nodes = &cycle.picture.nodes;
            fitting.iter().map(|node| images(pending, nodes, node)).collect()
        }
        Plugin::TaintToleration => {
            less_is_more(fitting.iter().map(|node| taints::disliked(&pending.tolerations, &node.info.taints)))
        }
        Plugin::NodeAffinity => {
            let added = &cycle.arguments().added_affinity;
            of_the_most(fitting.iter().map(|node| {
                let info = &node.info;
                added.liking(&info.name, &info.labels) + pending.affinity.liking(&info.name, &info.labels)
            }))
        }
        Plugin::PodTopologySpread => spreading::spreading(cycle, fitting),
        Plugin::InterPodAffinity => near(cycle, fitting),
        _ => Vec::new(),
    }
}

/// `part` of `whole` in percent; `None` of nothing.
fn share(part: i64, whole: i64) -> Option<i64> {
    (whole > 0).then(|| part.saturating_mul(MOST) / whole)
}

/// Each value in percent of the greatest.
fn of_the_most(values: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut values: Vec<i64> = values.collect();
    let most = values.iter().copied().max().unwrap_or(0);
    values.iter_mut().for_each(|value| *value = share(*value, most).unwrap_or(0));
    values
}

/// As [`of_the_most`], the other way round: nothing is best.
fn less_is_more(values: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut values: Vec<i64> = values.collect();
    let most = values.iter().copied().max().unwrap_or(0);
    values.iter_mut().for_each(|value| *value = share(most - *value, most).unwrap_or(MOST));
    values
}

/// Prefers nodes that have the pod's images (ImageLocality). An image that only few nodes have counts for less, else they
/// would get all its pods.
fn images(pending: &Pending, nodes: &Nodes, node: &NodeState) -> i64 {
    const LEAST_BYTES: i64 = 23 << 20;
    const MOST_BYTES: i64 = 1000 << 20;
    if nodes.len() < 2 || node.info.images.is_empty() {
        return 0;
    }
    let (all, containers) = (count(nodes.len()), count(pending.images.len()));
    let there = pending.images.iter().filter_map(|image| Some((image, *node.info.images.get(image)?)));
    let bytes: i64 = there.map(|(image, size)| size.saturating_mul(count(nodes.holding(image))) / all).sum();
    let most = MOST_BYTES * containers;
    share(bytes.clamp(LEAST_BYTES, most.max(LEAST_BYTES)) - LEAST_BYTES, most - LEAST_BYTES).unwrap_or(0)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Prefers nodes near the pods that the pod, and they, would like to be near (InterPodAffinity).
fn near(cycle: &Cycle<'_>, fitting: &[&NodeState]) -> Vec<i64> {
    let arguments = cycle.arguments();
    if arguments.ignores_wishes_of_others && cycle.pod.preferred().is_empty() {
        return Vec::new();
    }
    let weight = arguments.hard_affinity_weight;
    let wishes = nearness::wishes(cycle.pod, cycle.counts, &cycle.picture.nodes, cycle.namespaces(), weight);
    if wishes.is_empty() {
        return Vec::new();
    }
    let of = |node: &&NodeState| -> i64 {
        let near = |wish: &nearness::Wish<'_>| Some(wish.values.get(node.label(wish.key)?)? * wish.weight);
        wishes.iter().filter_map(near).sum()
    };
    let raw: Vec<i64> = fitting.iter().map(of).collect();
    let (least, most) = (raw.iter().min().copied().unwrap_or(0), raw.iter().max().copied().unwrap_or(0));
    raw.iter().map(|value| share(value - least, most - least).unwrap_or(0)).collect()
}
