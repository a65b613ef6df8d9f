//! How long a Job waits before it replaces pods that failed: ten seconds, and twice as long after each further failure.

use std::time::Duration;

use jiff::Timestamp;

use crate::pods::KnownPod;
use crate::pods::work::Work;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// Failures since a pod of the Job last succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
    last_failure: Option<Timestamp>,
}

impl Backoff {
    /// With the ends of pods that were not known of.
    #[must_use]
    pub(super) fn after(self, succeeded: &[&Work], failed: &[&Work]) -> Self {
        let last_success = succeeded.iter().filter_map(|work| work.finished).max();
        let before = if succeeded.is_empty() { self } else { Self::default() };
        let later = |work: &&&Work| last_success.is_none_or(|success| work.finished > Some(success));
        let failed = failed.iter().filter(later);
        failed.fold(before, |backoff, failed| Self {
            failures: backoff.failures.saturating_add(1),
            last_failure: backoff.last_failure.max(failed.finished),
        })
    }

    /// How long to wait still.
    pub(super) fn remaining(self, now: Timestamp) -> Duration {
        self.last_failure.map_or(Duration::ZERO, |last| remaining(self.failures, last, now))
    }
}

/// How long to wait still before a pod of an index that failed is replaced.
pub(super) fn of_index(last: &Work, now: Timestamp) -> Duration {
    let failures = last.failures.saturating_add(last.ignored_failures).saturating_add(1);
    let failures = u32::try_from(failures).unwrap_or(1);
    last.finished.map_or(Duration::ZERO, |finished| remaining(failures, finished, now))
}

fn remaining(failures: u32, last: Timestamp, now: Timestamp) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
    let delay = FIRST.saturating_mul(1 << doublings.min(10)).min(LONGEST);
    let elapsed = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    delay.saturating_sub(elapsed)
}

/// What a Job's pods tell that were counted before: after a restart it goes on from there.
pub(super) fn remembered<'p>(counted: impl Iterator<Item = (&'p KnownPod, &'p Work)>) -> Backoff {
    let (mut succeeded, mut failed) = (Vec::new(), Vec::new());
    for (pod, work) in counted.filter(|(pod, _)| pod.is_terminal()) {
        if pod.phase() == crate::pods::Phase::Succeeded { succeeded.push(work) } else { failed.push(work) }
    }
    Backoff::default().after(&succeeded, &failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn work(finished: i64, failures: i32, ignored_failures: i32) -> Work {
        let finished = Some(at(finished));
        let (exits, conditions) = (Box::default(), Box::default());
        Work {
            tracked: true,
            index: None,
            failures,
            ignored_failures,
            finished,
            restarts: 0,
            exits,
            conditions,
        }
    }

    #[test]
    fn delays_double_until_one_succeeds() {
        let check = |succeeded: &[i64], failed: &[i64], now: i64, expected: u64| {
            let works = |ends: &[i64]| ends.iter().map(|end| work(*end, 0, 0)).collect::<Vec<_>>();
            let (succeeded, failed) = (works(succeeded), works(failed));
            let refs = |works: &'static [Work]| works.iter().collect::<Vec<_>>();
            let (succeeded, failed) = (refs(succeeded.leak()), refs(failed.leak()));
            let backoff = Backoff::default().after(&succeeded, &failed);
            assert_eq!(backoff.remaining(at(now)), Duration::from_secs(expected));
        };
        check(&[], &[], 0, 0);
        check(&[], &[5], 5, 10);
        check(&[], &[5], 12, 3);
        check(&[], &[5], 15, 0);
        check(&[], &[5, 3, 4], 5, 40);
        check(&[], &[0; 40], 0, 600);
        check(&[4], &[], 5, 0);
        check(&[4], &[3, 4, 5], 5, 10);
        let (one, good) = (work(1, 0, 0), work(9, 0, 0));
        let failed = Backoff::default().after(&[], &[&one]);
        assert_eq!(failed.after(&[], &[]), failed);
        assert_eq!(failed.after(&[], &[&one]).remaining(at(1)), Duration::from_secs(20));
        assert_eq!(failed.after(&[&good], &[]), Backoff::default());
    }

    #[test]
    fn each_index_has_its_own() {
        assert_eq!(of_index(&work(0, 0, 0), at(3)), Duration::from_secs(7));
        assert_eq!(of_index(&work(0, 1, 1), at(0)), Duration::from_secs(40));
        assert_eq!(of_index(&work(0, i32::MAX, 1), at(0)), LONGEST);
    }
}
