//! Decisions of the controllers of alike pods: what to create or delete, what to report.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::Wants;
use crate::pods::{KnownPod, Phase};
use crate::workload::{BURST, status};

/// What brings the number of replicas to the desired one.
#[derive(Debug)]
pub(super) enum Scale {
    Nothing,
    Create(usize),
    Delete(Vec<Arc<KnownPod>>),
}

/// Compares the replicas at hand with the number `wanted`. `deleting` are pods whose deletion was asked for already;
/// `relatives` are asked for when some must go.
pub(super) fn scale(
    wanted: usize,
    owned: &[Arc<KnownPod>],
    deleting: &HashSet<String>,
    relatives: impl FnOnce() -> Vec<Arc<KnownPod>>,
    now: Timestamp,
) -> Scale {
    let mut present: Vec<_> = owned.iter().filter(|pod| !deleting.contains(pod.uid())).cloned().collect();
    if present.len() < wanted {
        return Scale::Create((wanted - present.len()).min(BURST));
    }
    let excess = (present.len() - wanted).min(BURST);
    if excess == 0 {
        return Scale::Nothing;
    }
    rank_for_deletion(&mut present, &relatives(), now);
    present.truncate(excess);
    Scale::Delete(present)
}

/// Orders pods so that those whose loss matters least come first: unassigned, not running, not ready, cheaper by
/// annotation, sharing a node with more relatives, ready for less long, restarted more, younger. Times count by their
/// magnitude, so that it is not always the youngest of many alike that goes.
fn rank_for_deletion(replicas: &mut [Arc<KnownPod>], relatives: &[Arc<KnownPod>], now: Timestamp) {
    let mut per_node = HashMap::<&str, usize>::new();
    for pod in relatives.iter().filter(|pod| pod.is_active()) {
        *per_node.entry(pod.node().unwrap_or("")).or_default() += 1;
    }
    replicas.sort_by_cached_key(|pod| {
        let phase = match pod.phase() {
            Phase::Running => 2,
            Phase::Unknown => 1,
            _ => 0,
        };
        let neighbours = per_node.get(pod.node().unwrap_or("")).copied().unwrap_or(0);
        (
            pod.node().is_some(),
            phase,
            pod.is_ready(),
            pod.deletion_cost(),
            Reverse(neighbours),
            pod.ready_since().map(|since| magnitude(since, now)),
            Reverse(pod.restarts()),
            pod.created().map(|created| magnitude(created, now)),
            pod.uid().to_owned(),
        )
    });
}

/// The power of two that the time since then has reached, in nanoseconds.
fn magnitude(then: Timestamp, now: Timestamp) -> u32 {
    let passed = now.as_nanosecond() - then.as_nanosecond();
    passed.checked_ilog2().map_or(0, |log| log + 1)
}

/// What a status says of the replicas in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(super) replicas: i32,
    pub(super) fully_labeled: i32,
    pub(super) ready: i32,
    pub(super) available: i32,
    pub(super) terminating: i32,
}

/// Counts the `owned` replicas.
pub(super) fn count(wants: Wants<'_>, owned: &[Arc<KnownPod>], terminating: usize, now: Timestamp) -> Counts {
    let template = wants.template.and_then(|template| template.metadata.as_ref());
    let template_labels = template.and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    let that =
        |holds: &dyn Fn(&KnownPod) -> bool| status::count(owned.iter().filter(|pod| holds(pod)).count());
    Counts {
        replicas: status::count(owned.len()),
        fully_labeled: that(&|pod| pod.labels().include(&template_labels)),
        ready: that(&KnownPod::is_ready),
        available: that(&|pod| status::is_available(pod, wants.min_ready, now)),
        terminating: status::count(terminating),
    }
}
