//! How many seats a level could use, over time: what borrowing is decided by (KEP-1040, "Seat borrowing").

use std::time::{Duration, Instant};

/// How much of what was smoothed is kept at each adjustment: half of it after five minutes.
const KEPT: f64 = 0.977;

/// The integral of a number over time.
#[derive(Debug)]
pub(crate) struct Demand {
    value: f64,
    since: Instant,
    seconds: f64,
    sum: f64,
    squares: f64,
    most: f64,
}

/// What a demand was over a period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Observed {
    /// How long it was.
    pub(crate) period: Duration,
    pub(crate) average: f64,
    pub(crate) deviation: f64,
    /// The highest.
    pub(crate) most: f64,
}

impl Demand {
    pub(crate) fn new(now: Instant) -> Self {
        Self { value: 0.0, since: now, seconds: 0.0, sum: 0.0, squares: 0.0, most: 0.0 }
    }

    /// From now on it is this.
    pub(crate) fn set(&mut self, now: Instant, value: u64) {
        self.pass(now);
        #[allow(clippy::cast_precision_loss, reason = "seats are far below 2^52")]
        let value = value as f64;
        self.value = value;
        self.most = self.most.max(value);
    }

    fn pass(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        self.since = self.since.max(now);
        self.seconds += seconds;
        self.sum += self.value * seconds;
        self.squares += self.value * self.value * seconds;
    }

    /// What it was since this was asked before; the next period begins.
    pub(crate) fn take(&mut self, now: Instant) -> Observed {
        self.pass(now);
        let mut observed = Observed {
            period: Duration::from_secs_f64(self.seconds),
            most: self.most,
            ..Observed::default()
        };
        if self.seconds > 0.0 {
            observed.average = self.sum / self.seconds;
            let variance = self.squares / self.seconds - observed.average * observed.average;
            observed.deviation = variance.max(0.0).sqrt();
        }
        *self = Self { value: self.value, most: self.value, ..Self::new(self.since) };
        observed
    }
}

/// What is known of a level's demand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Trend {
    /// Of the last period.
    pub(crate) observed: Observed,
    /// Follows what is usual and a deviation more: up at once, down slowly.
    pub(crate) smoothed: f64,
}

impl Trend {
    /// Takes a period into account.
    pub(crate) fn note(&mut self, observed: Observed) {
        if observed.period.is_zero() {
            self.observed.most = observed.most;
            return;
        }
        self.observed = observed;
        let envelope = observed.average + observed.deviation;
        self.smoothed = envelope.max(KEPT * self.smoothed + (1.0 - KEPT) * envelope);
    }

    /// The highest demand of the last period.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of seats")]
    pub(crate) fn peak(&self) -> u32 {
        self.observed.most.round() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_over_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut demand = Demand::new(start);
        demand.set(at(2), 10);
        demand.set(at(4), 4);
        let observed = demand.take(at(10));
        assert_eq!((observed.average, observed.most), (4.4, 10.0));
        assert!((observed.deviation - 3.2).abs() < 0.01, "{observed:?}");
        let observed = demand.take(at(20));
        assert_eq!((observed.average, observed.deviation, observed.most), (4.0, 0.0, 4.0));
        assert_eq!(demand.take(at(20)).period, Duration::ZERO);
    }

    #[test]
    fn rises_at_once_and_falls_slowly() {
        let mut trend = Trend::default();
        let seen = |average: f64| Observed {
            period: Duration::from_secs(10),
            average,
            deviation: 0.0,
            most: average,
        };
        trend.note(seen(100.0));
        assert_eq!(trend.smoothed, 100.0);
        // Five minutes later.
        (0..30).for_each(|_| trend.note(seen(0.0)));
        assert!((45.0..55.0).contains(&trend.smoothed), "{trend:?}");
        trend.note(Observed { most: 7.0, ..Observed::default() });
        assert_eq!(trend.peak(), 7);
    }
}
