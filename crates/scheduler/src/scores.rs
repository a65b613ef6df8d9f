//! Which of the nodes that fit is best: the scores of Kubernetes' default plugins, each 0 to 100, with their weights.

use std::collections::HashMap;

use crate::model::{Spread, WhenUnsatisfiable};
use crate::nodes::{NodeState, Nodes, Shares};
use crate::rules::{Cycle, nearness, spread};
use crate::{affinity, taints};

const MOST: i64 = 100;
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_AFFINITY: i64 = 2;
const WEIGHT_SPREAD: i64 = 2;
const WEIGHT_NEARNESS: i64 = 2;

/// A label that tells every node from every other: its domains need not be counted over all nodes.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// The score of each of `fitting`, in their order.
pub(crate) fn scores(cycle: &Cycle<'_>, nodes: &Nodes, fitting: &[&NodeState]) -> Vec<i64> {
    let pending = cycle.pending;
    let mut scores: Vec<i64> =
        fitting.iter().map(|node| room(cycle, node) + images(cycle, nodes, node)).collect();
    let mut add = |weight: i64, parts: Vec<i64>| {
        scores.iter_mut().zip(parts).for_each(|(score, part)| *score += weight * part);
    };
    add(
        WEIGHT_TAINTS,
        less_is_more(fitting.iter().map(|node| taints::disliked(&pending.tolerations, &node.info.taints))),
    );
    add(WEIGHT_AFFINITY, of_the_most(fitting.iter().map(|node| affinity::preferred(pending, &node.info))));
    add(WEIGHT_SPREAD, spreading(cycle, nodes, fitting));
    add(WEIGHT_NEARNESS, near(cycle, nodes, fitting));
    scores
}

/// `part` of `whole` in percent; `None` of nothing.
fn share(part: i64, whole: i64) -> Option<i64> {
    (whole > 0).then(|| part.saturating_mul(MOST) / whole)
}

/// Each value in percent of the greatest.
fn of_the_most(values: impl Iterator<Item = i64> + Clone) -> Vec<i64> {
    let most = values.clone().max().unwrap_or(0);
    values.map(|value| share(value, most).unwrap_or(0)).collect()
}

/// As [`of_the_most`], the other way round: nothing is best.
fn less_is_more(values: impl Iterator<Item = i64> + Clone) -> Vec<i64> {
    let most = values.clone().max().unwrap_or(0);
    values.map(|value| share(most - value, most).unwrap_or(MOST)).collect()
}

/// Prefers nodes with much left (LeastAllocated), and with CPU and memory used alike (BalancedAllocation): 0 to 200.
fn room(cycle: &Cycle<'_>, node: &NodeState) -> i64 {
    let total = node.weighed.plus(Shares::of(cycle.pod));
    let used = [("cpu", total.cpu), ("memory", total.memory)].map(|(name, wanted)| {
        let allocatable = node.info.allocatable.get(name);
        share(wanted.min(allocatable), allocatable)
    });
    let known: Vec<i64> = used.into_iter().flatten().collect();
    let Some(sum) = known.iter().copied().reduce(|a, b| a + b) else { return 0 };
    let mean = sum / i64::try_from(known.len()).unwrap_or(1);
    let spread = known.iter().max().zip(known.iter().min()).map_or(0, |(most, least)| (most - least) / 2);
    (MOST - mean) + (MOST - spread)
}

/// Prefers nodes that have the pod's images (ImageLocality). An image that only few nodes have counts for less, else they
/// would get all its pods.
fn images(cycle: &Cycle<'_>, nodes: &Nodes, node: &NodeState) -> i64 {
    const LEAST_BYTES: i64 = 23 << 20;
    const MOST_BYTES: i64 = 1000 << 20;
    if nodes.len() < 2 || node.info.images.is_empty() {
        return 0;
    }
    let (all, containers) = (count(nodes.len()), count(cycle.pending.images.len()));
    let there = cycle.pending.images.iter().filter_map(|image| Some((image, *node.info.images.get(image)?)));
    let bytes: i64 = there.map(|(image, size)| size.saturating_mul(count(nodes.holding(image))) / all).sum();
    let most = MOST_BYTES * containers;
    share(bytes.clamp(LEAST_BYTES, most.max(LEAST_BYTES)) - LEAST_BYTES, most - LEAST_BYTES).unwrap_or(0)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Prefers nodes near the pods that the pod, and they, would like to be near (InterPodAffinity).
fn near(cycle: &Cycle<'_>, nodes: &Nodes, fitting: &[&NodeState]) -> Vec<i64> {
    let wishes = nearness::wishes(cycle.pod, nodes, cycle.namespaces());
    if wishes.is_empty() {
        return vec![0; fitting.len()];
    }
    let of = |node: &&NodeState| -> i64 {
        wishes
            .iter()
            .filter(|((key, value), _)| node.label(key) == Some(value.as_str()))
            .map(|(_, n)| n)
            .sum()
    };
    let raw: Vec<i64> = fitting.iter().map(of).collect();
    let (least, most) = (raw.iter().min().copied().unwrap_or(0), raw.iter().max().copied().unwrap_or(0));
    raw.iter().map(|value| share(value - least, most - least).unwrap_or(0)).collect()
}

/// Prefers domains with few pods (PodTopologySpread), by the constraints that need not be kept. A node without the labels is
/// worth nothing.
fn spreading(cycle: &Cycle<'_>, nodes: &Nodes, fitting: &[&NodeState]) -> Vec<i64> {
    let rules = cycle.pending.spread.iter().filter(|rule| rule.when == WhenUnsatisfiable::ScheduleAnyway);
    let rules: Vec<&Spread> = rules.collect();
    if rules.is_empty() {
        return vec![0; fitting.len()];
    }
    let labelled = |node: &NodeState| rules.iter().all(|rule| node.label(&rule.topology_key).is_some());
    let candidates: Vec<&NodeState> = fitting.iter().copied().filter(|node| labelled(node)).collect();
    let domains: Vec<Domains<'_>> =
        rules.iter().map(|rule| Domains::gather(rule, cycle, nodes, &candidates, &labelled)).collect();
    let crowded =
        |node: &NodeState| domains.iter().map(|domain| domain.crowd(cycle, node)).sum::<f64>().round();
    let raw: Vec<Option<f64>> = fitting.iter().map(|node| labelled(node).then(|| crowded(node))).collect();
    let known = || raw.iter().flatten().copied();
    let (least, most) = (known().fold(f64::MAX, f64::min), known().fold(0.0, f64::max));
    let scored = |value: f64| if most > 0.0 { 100.0 * (most + least - value) / most } else { 100.0 };
    #[expect(clippy::cast_possible_truncation, reason = "between 0 and 100")]
    raw.into_iter().map(|value| value.map_or(0, |value| scored(value) as i64)).collect()
}

/// How many pods one constraint counts in each domain of the nodes that fit.
struct Domains<'a> {
    rule: &'a Spread,
    pods: HashMap<&'a str, i64>,
    /// What a pod in one of these domains weighs: more, the more domains there are.
    weight: f64,
}

impl<'a> Domains<'a> {
    fn gather(
        rule: &'a Spread,
        cycle: &Cycle<'_>,
        nodes: &'a Nodes,
        candidates: &[&'a NodeState],
        labelled: &dyn Fn(&NodeState) -> bool,
    ) -> Self {
        let of_candidates = candidates.iter().filter_map(|node| node.label(&rule.topology_key));
        let mut pods: HashMap<&str, i64> = HashMap::new();
        if rule.topology_key != HOSTNAME {
            pods.extend(of_candidates.map(|value| (value, 0)));
            for node in nodes.all().filter(|node| labelled(node)) {
                if let Some(sum) = node.label(&rule.topology_key).and_then(|value| pods.get_mut(value))
                    && spread::counted_in(rule, cycle.pending, node)
                {
                    *sum += spread::matching_on(rule, cycle.pod, node);
                }
            }
        }
        let size = if rule.topology_key == HOSTNAME { candidates.len() } else { pods.len() };
        #[expect(clippy::cast_precision_loss, reason = "a number of domains")]
        let weight = (size as f64 + 2.0).ln();
        Self { rule, pods, weight }
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers of pods")]
    fn crowd(&self, cycle: &Cycle<'_>, node: &NodeState) -> f64 {
        let pods = if self.rule.topology_key == HOSTNAME {
            spread::matching_on(self.rule, cycle.pod, node)
        } else {
            node.label(&self.rule.topology_key).and_then(|value| self.pods.get(value)).copied().unwrap_or(0)
        };
        pods as f64 * self.weight + (self.rule.max_skew - 1) as f64
    }
}
