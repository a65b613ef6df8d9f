//! Which nodes are in domains with few pods (PodTopologySpread), by the constraints that need not be kept.

use std::collections::HashMap;

use crate::counts::Spreading;
use crate::model::{Spread, WhenUnsatisfiable};
use crate::nodes::NodeState;
use crate::rules::{Cycle, spread};
use crate::tallies::Tally;

use super::MOST;

/// A label that tells every node from every other: its domains need not be counted over all nodes.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// The score of each of `fitting`; none if nothing is to be spread. A node without the labels is worth nothing, but by the
/// system's constraints, of which only those count whose label it has.
pub(super) fn spreading(cycle: &Cycle<'_>, fitting: &[&NodeState]) -> Vec<i64> {
    let rules = cycle.counts.spread.iter().filter(|one| one.rule.when == WhenUnsatisfiable::ScheduleAnyway);
    let rules: Vec<&Spreading> = rules.collect();
    if rules.is_empty() {
        return Vec::new();
    }
    let all_labels = !cycle.pending.spread.is_empty() || !cycle.arguments().spread.system;
    let counts = |node: &NodeState| {
        !all_labels || rules.iter().all(|one| node.label(&one.rule.topology_key).is_some())
    };
    let candidates: Vec<&NodeState> = fitting.iter().copied().filter(|node| counts(node)).collect();
    let keys = || rules.iter().map(|one| &one.rule.topology_key);
    let plain = !all_labels || rules.len() == 1 || keys().all(|key| cycle.picture.nodes.all_have(key));
    let domains: Vec<Domains<'_>> =
        rules.iter().map(|one| Domains::gather(one, cycle, &candidates, &counts, plain)).collect();
    #[expect(clippy::cast_possible_truncation, reason = "some times a number of pods")]
    let crowded =
        |node: &NodeState| domains.iter().filter_map(|domain| domain.crowd(node)).sum::<f64>().round() as i64;
    let raw: Vec<Option<i64>> = fitting.iter().map(|node| counts(node).then(|| crowded(node))).collect();
    let known = || raw.iter().flatten().copied();
    let (least, most) = (known().min().unwrap_or(0), known().max().unwrap_or(0));
    let scored = |value: i64| if most > 0 { MOST * (most + least - value) / most } else { MOST };
    raw.into_iter().map(|value| value.map_or(0, scored)).collect()
}

/// How many pods one constraint counts in each domain of the nodes that fit.
struct Domains<'a> {
    rule: &'a Spread,
    pods: HashMap<&'a str, i64>,
    /// What a pod in one of these domains weighs: more, the more domains there are.
    weight: f64,
    tally: &'a Tally,
}

impl<'a> Domains<'a> {
    fn gather(
        Spreading { rule, pods: tally }: &'a Spreading,
        cycle: &Cycle<'a>,
        candidates: &[&'a NodeState],
        counts: &dyn Fn(&NodeState) -> bool,
        plain: bool,
    ) -> Self {
        let by_node = rule.topology_key == HOSTNAME;
        let mut pods: HashMap<&str, i64> = HashMap::new();
        if !by_node {
            // Nodes without the label are a domain by themselves.
            pods.extend(candidates.iter().map(|node| (node.label(&rule.topology_key).unwrap_or(""), 0)));
        }
        let size = if by_node { candidates.len() } else { pods.len() };
        // Every node that has the label counts, unless the pod or another constraint says otherwise.
        let all = plain && spread::counts_all(rule, cycle.pending);
        if let Some(known) = tally.by(&rule.topology_key).filter(|_| all) {
            pods.iter_mut().for_each(|(value, sum)| *sum = known.get(*value).copied().unwrap_or(0));
        } else if pods.keys().any(|value| !value.is_empty()) {
            for node in cycle.picture.nodes.all().filter(|node| counts(node)) {
                if let Some(sum) = node.label(&rule.topology_key).and_then(|value| pods.get_mut(value))
                    && spread::counted_in(rule, cycle.pending, node)
                {
                    *sum += tally.on(node);
                }
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a number of domains")]
        let weight = (size as f64 + 2.0).ln();
        Self { rule, pods, weight, tally }
    }

    /// How crowded the node's domain is; `None` if it is in none.
    #[expect(clippy::cast_precision_loss, reason = "numbers of pods")]
    fn crowd(&self, node: &NodeState) -> Option<f64> {
        let value = node.label(&self.rule.topology_key)?;
        let pods = if self.rule.topology_key == HOSTNAME {
            self.tally.on(node)
        } else {
            self.pods.get(value).copied().unwrap_or(0)
        };
        Some(pods as f64 * self.weight + (self.rule.max_skew - 1) as f64)
    }
}
