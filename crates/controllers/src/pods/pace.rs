//! How fast an owner may create pods: in growing batches, and slower while its pods end soon after they were created,
//! whatever ends them.
//!
//! The history is read from the ended pods themselves, so a restart forgets nothing and nothing has to be kept.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;

use super::{KnownPod, Phase};

/// A pod that ends within this time of its creation ended early.
const SOON: Duration = Duration::from_secs(60);
/// The pause after a first early end, and the longest one; between them it doubles.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// An early end is forgotten after this time.
const FORGET: Duration = Duration::from_secs(600);

/// What an owner may create now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As many pods as it wants.
    Free,
    /// Pods ended early lately: so many, until these have come to run.
    AtMost(usize),
    /// Nothing until so much time has passed.
    NotBefore(Duration),
}

impl Pace {
    /// Decides for an owner with `pods`, of which those that ended did so without doing what the owner wanted.
    pub(crate) fn of(pods: &[Arc<KnownPod>], now: Timestamp) -> Self {
        let mut early: Vec<Life> =
            pods.iter().filter(|pod| pod.is_terminal()).filter_map(|pod| Life::of(pod)).collect();
        early.retain(|life| since(life.created, life.ended) <= SOON && since(life.ended, now) <= FORGET);
        skiff_ordered::sort_by_key(&mut early, |life| life.ended);
        let Some(due) = early.iter().map(|life| life.ended + pause_after(life, &early)).max() else {
            return Self::Free;
        };
        if due > now {
            return Self::NotBefore(since(now, due));
        }
        let alive = pods.iter().filter(|pod| !pod.is_terminal());
        let (running, waiting): (Vec<_>, Vec<_>) = alive.partition(|pod| pod.phase() == Phase::Running);
        Self::AtMost(running.len().max(1).saturating_sub(waiting.len()))
    }
}

/// From when to when a pod lived, to the second.
#[derive(Clone, Copy, Debug)]
struct Life {
    created: Timestamp,
    ended: Timestamp,
}

impl Life {
    /// A pod's end is the last change of its conditions; one that was refused has changed none since it was bound.
    fn of(pod: &KnownPod) -> Option<Self> {
        let created = pod.created()?;
        Some(Self { created, ended: pod.changed().unwrap_or(created).max(created) })
    }
}

/// The pause after the early end of a pod: twice the one that came before its creation.
fn pause_after(life: &Life, early: &[Life]) -> Duration {
    let before = early.partition_point(|other| other.ended < life.created).checked_sub(1);
    let paused = before.map(|index| since(early[index].ended, life.created)).unwrap_or_default();
    // What came longer before was no pause of ours: pods lived in between.
    if paused > LONGEST + SOON { FIRST } else { (paused * 2).clamp(FIRST, LONGEST) }
}

fn since(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Calls `create` with each number below `number`, in batches of 1, 2, 4, …, and stops at the first batch with a failure, so
/// that a refused template costs one request, not hundreds.
pub(crate) async fn in_batches<E, F>(number: usize, create: impl Fn(usize) -> F) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    let (mut done, mut batch) = (0, 1);
    while done < number {
        let next = number.min(done + batch);
        let results = join_all((done..next).map(&create)).await;
        results.into_iter().collect::<Result<(), E>>()?;
        done = next;
        batch *= 2;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::known;
    use super::*;
    use serde_json::json;
    use std::cell::Cell;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    /// A pod created at one second, with its Ready condition changed at another.
    fn pod(phase: &str, created: i64, changed: i64) -> Arc<KnownPod> {
        let pod = json!({
            "metadata": {"creationTimestamp": at(created).to_string()},
            "status": {"phase": phase, "conditions": [
                {"type": "Ready", "status": "False", "lastTransitionTime": at(changed).to_string()}]},
        });
        Arc::new(known(pod))
    }

    fn check(pods: &[(&str, i64, i64)], now: i64, expected: Pace) {
        let pods: Vec<_> =
            pods.iter().map(|(phase, created, changed)| pod(phase, *created, *changed)).collect();
        assert_eq!(Pace::of(&pods, at(now)), expected, "at {now}");
    }

    #[test]
    fn pauses_double_while_pods_end_early() {
        let wait = |seconds| Pace::NotBefore(Duration::from_secs(seconds));
        check(&[], 0, Pace::Free);
        check(&[("Failed", 0, 0)], 0, wait(1));
        check(&[("Failed", 0, 0)], 1, Pace::AtMost(1));
        check(&[("Failed", 0, 0), ("Failed", 1, 1)], 1, wait(2));
        check(&[("Failed", 0, 0), ("Failed", 1, 1), ("Failed", 3, 3)], 3, wait(4));
        check(&[("Failed", 0, 0), ("Failed", 200, 201)], 201, wait(300));
        check(&[("Succeeded", 0, 0)], 0, wait(1));
        // Many at once are one round.
        check(&[("Failed", 0, 0); 50], 0, wait(1));
        // One that ends late in its round does not shorten the pause of the others.
        check(&[("Failed", 0, 0), ("Failed", 10, 11), ("Failed", 0, 12)], 13, wait(18));
    }

    #[test]
    fn pods_that_lived_are_replaced_at_once() {
        check(&[("Failed", 0, 61)], 61, Pace::Free);
        check(&[("Failed", 0, 0)], 601, Pace::Free);
        check(&[("Failed", 0, 0), ("Failed", 500, 501)], 501, Pace::NotBefore(FIRST));
    }

    #[test]
    fn trust_grows_with_the_pods_that_run() {
        let failed = ("Failed", 0, 0);
        check(&[failed, ("Pending", 1, 1)], 5, Pace::AtMost(0));
        check(&[failed, ("Running", 1, 1)], 5, Pace::AtMost(1));
        check(
            &[failed, ("Running", 1, 1), ("Running", 1, 1), ("Running", 2, 2), ("Pending", 3, 3)],
            5,
            Pace::AtMost(2),
        );
    }

    #[tokio::test]
    async fn a_refused_template_costs_one_batch() {
        let check = async |number: usize, good: usize, expected: usize| {
            let made = Cell::new(0);
            let create = |_| {
                made.set(made.get() + 1);
                std::future::ready(if made.get() > good { Err(()) } else { Ok(()) })
            };
            assert_eq!(in_batches(number, create).await.is_ok(), good >= number);
            assert_eq!(made.get(), expected);
        };
        check(10, 10, 10).await;
        check(100, 0, 1).await;
        check(100, 5, 7).await;
    }
}
