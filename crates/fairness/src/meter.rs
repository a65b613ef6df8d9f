//! What is counted of each FlowSchema, for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Why a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its level has no queues and no seat.
    ConcurrencyLimit,
    /// Its queue is full.
    QueueFull,
    /// It waited for as long as it may.
    TimeOut,
    /// Whoever sent it has gone.
    Cancelled,
}

impl Reason {
    /// Each of them.
    pub(crate) const ALL: [Self; 4] =
        [Self::ConcurrencyLimit, Self::QueueFull, Self::TimeOut, Self::Cancelled];

    /// As in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::QueueFull => "queue-full",
            Self::TimeOut => "time-out",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Upper bounds of the buckets of durations, in milliseconds.
pub(crate) const BUCKETS: [u32; 13] = [0, 5, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000];

/// Durations, by buckets.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// How many were at most as long as each bound and longer than the bound before; the last are longer than all.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    /// The sum, in microseconds.
    sum: AtomicU64,
}

impl Histogram {
    pub(crate) fn note(&self, took: Duration) {
        let fits = |bound: &u32| took <= Duration::from_millis(u64::from(*bound));
        let at = BUCKETS.iter().position(fits).unwrap_or(BUCKETS.len());
        self.buckets[at].fetch_add(1, Relaxed);
        self.sum.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How many were at most as long as each bound, the last: all.
    pub(crate) fn cumulated(&self) -> Vec<u64> {
        let mut sum = 0;
        let add = |bucket: &AtomicU64| {
            sum += bucket.load(Relaxed);
            sum
        };
        self.buckets.iter().map(add).collect()
    }

    pub(crate) fn seconds(&self) -> f64 {
        Duration::from_micros(self.sum.load(Relaxed)).as_secs_f64()
    }
}

/// The numbers of one FlowSchema in one level.
#[derive(Debug)]
pub(crate) struct Meter {
    /// The FlowSchema's name.
    pub(crate) schema: Arc<str>,
    /// The level's name.
    pub(crate) level: Arc<str>,
    pub(crate) dispatched: AtomicU64,
    rejected: [AtomicU64; Reason::ALL.len()],
    pub(crate) waiting: AtomicI64,
    pub(crate) waiting_seats: AtomicI64,
    pub(crate) executing: AtomicI64,
    pub(crate) executing_seats: AtomicI64,
    /// How long those waited that were served then.
    pub(crate) waits: Histogram,
    /// How long those waited that were not.
    pub(crate) waits_in_vain: Histogram,
    pub(crate) executions: Histogram,
}

impl Meter {
    pub(crate) fn new(schema: &str, level: Arc<str>) -> Self {
        Self {
            schema: schema.into(),
            level,
            dispatched: AtomicU64::default(),
            rejected: Default::default(),
            waiting: AtomicI64::default(),
            waiting_seats: AtomicI64::default(),
            executing: AtomicI64::default(),
            executing_seats: AtomicI64::default(),
            waits: Histogram::default(),
            waits_in_vain: Histogram::default(),
            executions: Histogram::default(),
        }
    }

    /// How many were turned away.
    pub(crate) fn rejected(&self, reason: Reason) -> u64 {
        self.rejected[reason as usize].load(Relaxed)
    }

    pub(crate) fn reject(&self, reason: Reason) {
        self.rejected[reason as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn wait(&self, requests: i64, seats: u32) {
        self.waiting.fetch_add(requests, Relaxed);
        self.waiting_seats.fetch_add(requests * i64::from(seats), Relaxed);
    }

    pub(crate) fn execute(&self, requests: i64, seats: u32) {
        self.executing.fetch_add(requests, Relaxed);
        self.executing_seats.fetch_add(requests * i64::from(seats), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_durations_by_buckets() {
        let histogram = Histogram::default();
        [0, 3, 5, 6, 40_000].into_iter().for_each(|ms| histogram.note(Duration::from_millis(ms)));
        let counts = histogram.cumulated();
        assert_eq!((counts[0], counts[1], counts[2], counts[13]), (1, 3, 4, 5));
        assert_eq!(histogram.seconds(), 40.014);
    }
}
