//! What is left of nodes with the pod on them (NodeResourcesFit), and whether it is used alike (NodeResourcesBalancedAllocation).

use crate::configuration::{Scoring, ScoringStrategy};
use crate::nodes::NodeState;
use crate::rules::Cycle;

use super::{MOST, share};

/// How NodeResourcesFit scores for one pod.
pub(super) struct Room<'a> {
    scoring: &'a Scoring,
    /// What the pod takes of each resource that is looked at.
    wanted: Vec<i64>,
}

/// What every node has; of all else only what the pod asks for is looked at.
fn on_every_node(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage")
}

impl<'a> Room<'a> {
    pub(super) fn of(cycle: &Cycle<'a>) -> Self {
        let scoring = &cycle.arguments().scoring;
        let wanted = scoring.resources.iter().map(|(name, _)| match name.as_str() {
            "cpu" => cycle.pod.weighed.cpu,
            "memory" => cycle.pod.weighed.memory,
            name => cycle.pod.requests.get(name),
        });
        Self { scoring, wanted: wanted.collect() }
    }

    /// The mean over the resources, by their weights.
    pub(super) fn left(&self, node: &NodeState) -> i64 {
        let (mut sum, mut weights) = (0_i64, 0_i64);
        for ((name, weight), wanted) in self.scoring.resources.iter().zip(&self.wanted) {
            let allocatable = node.info.allocatable.get(name);
            if allocatable == 0 || (*wanted == 0 && !on_every_node(name)) {
                continue;
            }
            let taken = match name.as_str() {
                "cpu" => node.weighed.cpu,
                "memory" => node.weighed.memory,
                name => node.requested.get(name),
            };
            let score = self.of_one(taken.saturating_add(*wanted), allocatable);
            // As in Kubernetes what is worth nothing by a shape does not lower the mean.
            if score > 0 || !matches!(self.scoring.strategy, ScoringStrategy::RequestedToCapacityRatio(_)) {
                sum = sum.saturating_add(score * weight);
                weights += weight;
            }
        }
        match &self.scoring.strategy {
            _ if weights == 0 => 0,
            ScoringStrategy::RequestedToCapacityRatio(_) => (sum + weights / 2) / weights,
            _ => sum / weights,
        }
    }

    fn of_one(&self, taken: i64, allocatable: i64) -> i64 {
        match &self.scoring.strategy {
            ScoringStrategy::LeastAllocated => {
                share(allocatable.saturating_sub(taken).max(0), allocatable).unwrap_or(0)
            }
            ScoringStrategy::MostAllocated => share(taken.min(allocatable), allocatable).unwrap_or(0),
            ScoringStrategy::RequestedToCapacityRatio(shape) => {
                let taken =
                    if taken > allocatable { MOST } else { share(taken, allocatable).unwrap_or(MOST) };
                along(shape, taken)
            }
        }
    }
}

/// The value of a line through these points.
fn along(shape: &[(i64, i64)], at: i64) -> i64 {
    let Some(next) = shape.iter().position(|(point, _)| at <= *point) else {
        return shape.last().map_or(0, |(_, value)| *value);
    };
    let (to, value) = shape[next];
    match next.checked_sub(1).map(|before| shape[before]) {
        None => value,
        Some((from, before)) => before + (value - before) * (at - from) / (to - from),
    }
}

/// How NodeResourcesBalancedAllocation scores for one pod.
pub(super) struct Balance<'a> {
    resources: &'a [String],
    wanted: Vec<i64>,
}

impl<'a> Balance<'a> {
    pub(super) fn of(cycle: &Cycle<'a>) -> Self {
        let resources = cycle.arguments().balanced.as_slice();
        Self { resources, wanted: resources.iter().map(|name| cycle.pod.requests.get(name)).collect() }
    }

    /// 75 if the pod changes nothing, more the more alike the resources are used with it than without. A pod that requests
    /// nothing makes no difference.
    #[expect(clippy::cast_precision_loss, reason = "shares of amounts")]
    pub(super) fn on(&self, node: &NodeState) -> i64 {
        if self.wanted.iter().all(|wanted| *wanted == 0) {
            return 0;
        }
        let (mut with, mut without) = (Vec::with_capacity(2), Vec::with_capacity(2));
        for (name, wanted) in self.resources.iter().zip(&self.wanted) {
            let allocatable = node.info.allocatable.get(name);
            if allocatable == 0 || (*wanted == 0 && !on_every_node(name)) {
                continue;
            }
            let taken = node.requested.get(name);
            let share = |taken: i64| (taken as f64 / allocatable as f64).min(1.0);
            with.push(share(taken.saturating_add(*wanted)));
            without.push(share(taken));
        }
        MOST / 2 + (MOST / 2 + alike(&with) - alike(&without)) / 2
    }
}

/// 100 less the standard deviation.
#[expect(clippy::cast_precision_loss, reason = "a few shares")]
#[expect(clippy::cast_possible_truncation, reason = "between 0 and 100")]
fn alike(shares: &[f64]) -> i64 {
    let deviation = match shares {
        [] | [_] => 0.0,
        [one, other] => ((one - other) / 2.0).abs(),
        many => {
            let number = many.len() as f64;
            let mean = many.iter().sum::<f64>() / number;
            (many.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / number).sqrt()
        }
    };
    ((1.0 - deviation) * MOST as f64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_followed_between_its_points() {
        let shape = [(20, 0), (50, 90), (100, 40)];
        let values: Vec<i64> = [0, 20, 30, 50, 75, 100].into_iter().map(|at| along(&shape, at)).collect();
        assert_eq!(values, [0, 0, 30, 90, 65, 40]);
    }

    #[test]
    fn what_is_used_alike_is_best() {
        assert_eq!((alike(&[]), alike(&[0.3]), alike(&[0.5, 0.5])), (100, 100, 100));
        assert_eq!(alike(&[1.0, 0.0]), 50);
        assert_eq!(alike(&[0.0, 0.0, 1.0]), 52);
    }
}
