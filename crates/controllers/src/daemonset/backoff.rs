//! Pods that fail on a node again and again are replaced ever more slowly.

use std::collections::HashMap;
use std::time::Duration;

use skiff_informer::ObjectKey;
use tokio::time::Instant;

/// The pause after a second failure; it doubles with each.
const FIRST: Duration = Duration::from_secs(1);
/// The longest one. A node where nothing has failed for twice as long starts again.
const LONGEST: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Copy, Debug)]
struct Failure {
    at: Instant,
    pause: Duration,
}

/// When a pod of a set last failed on a node, by set and node.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<ObjectKey, HashMap<String, Failure>>);

impl Failures {
    /// Whether a pod of `set` that failed on `node` may be replaced now; if not, after how long.
    pub(super) fn replace(&mut self, set: &ObjectKey, node: &str, now: Instant) -> Result<(), Duration> {
        let nodes = self.0.entry(set.clone()).or_default();
        nodes.retain(|_, failure| now.duration_since(failure.at) <= LONGEST * 2);
        let last = nodes.get(node).copied();
        if let Some(last) = last {
            let left = last.pause.saturating_sub(now.duration_since(last.at));
            if !left.is_zero() {
                return Err(left);
            }
        }
        let pause = last.map_or(FIRST, |last| (last.pause * 2).min(LONGEST));
        nodes.insert(node.to_owned(), Failure { at: now, pause });
        Ok(())
    }

    /// Forgets a set that is gone.
    pub(super) fn forget(&mut self, set: &ObjectKey) {
        self.0.remove(set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_nothing_fails_for_long() {
        let (mut failures, set, start) =
            (Failures::default(), ObjectKey::new("default", "logs"), Instant::now());
        let mut check = |second: u64, expected: Result<(), u64>| {
            let got = failures.replace(&set, "n1", start + Duration::from_secs(second));
            assert_eq!(got, expected.map_err(Duration::from_secs), "at {second}");
        };
        check(0, Ok(()));
        check(0, Err(1));
        check(1, Ok(()));
        check(2, Err(1));
        check(3, Ok(()));
        check(6, Err(1));
        check(7, Ok(()));
        check(7 + 1801, Ok(()));
        check(7 + 1802, Ok(()));
    }
}
