//! The delay between attempts that keep failing: doubles from 10 seconds to five minutes.

use crate::time::after;
use jiff::Timestamp;
use std::time::Duration;

/// The first delay.
const INITIAL: Duration = Duration::from_secs(10);
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(300);
/// A run that outlasts this makes the next failure count as the first one again.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// How often something failed lately. The first failure is free: it may be retried at once when the caller
/// asks [`Backoff::ready_at`] before [`Backoff::record`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Backoff(Option<Entry>);

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    delay: Duration,
    updated: Timestamp,
}

impl Backoff {
    /// No failure yet.
    pub(crate) const NONE: Self = Self(None);

    /// After `failures` attempts that were made again, the last of which failed at `failed`.
    pub(crate) fn after_failures(failures: u32, failed: Timestamp) -> Self {
        let mut backoff = Self::NONE;
        // From the sixth on the delay stays the same.
        for _ in 0..failures.min(6) {
            backoff.record(failed);
        }
        backoff
    }

    /// When the next attempt may begin, given that the last one failed at `failed`.
    pub(crate) fn ready_at(&self, failed: Timestamp) -> Timestamp {
        self.current(failed).map_or(failed, |entry| after(failed, entry.delay))
    }

    /// The delay in force for a failure at `failed`; zero for the first.
    pub(crate) fn delay(&self, failed: Timestamp) -> Duration {
        self.current(failed).map_or(Duration::ZERO, |entry| entry.delay)
    }

    /// Notes that a new attempt begins after the failure at `failed`.
    pub(crate) fn record(&mut self, failed: Timestamp) {
        let delay = self.current(failed).map_or(INITIAL, |entry| (entry.delay * 2).min(LONGEST));
        self.0 = Some(Entry { delay, updated: failed });
    }

    /// Forgets every failure.
    pub(crate) fn reset(&mut self) {
        self.0 = None;
    }

    fn current(&self, failed: Timestamp) -> Option<&Entry> {
        self.0.as_ref().filter(|entry| failed < after(entry.updated, FORGET_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn first_retry_is_immediate_then_doubles_to_five_minutes() {
        let mut backoff = Backoff::default();
        let mut delays = Vec::new();
        for _ in 0..8 {
            delays.push(backoff.delay(at(0)).as_secs());
            backoff.record(at(0));
        }
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff.ready_at(at(5)), at(305));
    }

    #[test]
    fn a_long_run_is_forgiven() {
        let mut backoff = Backoff::default();
        backoff.record(at(0));
        assert_eq!(backoff.ready_at(at(599)), at(609));
        assert_eq!(backoff.ready_at(at(600)), at(600));
    }
}
