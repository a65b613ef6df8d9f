//! Counts a probe's results against its thresholds; no I/O.

use k8s_openapi::api::core::v1::Probe;
use std::time::Duration;

/// Which probe of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

impl ProbeKind {
    /// The name as events begin with it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// When a probe runs and what its results mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Timing {
    pub(crate) initial_delay: Duration,
    pub(crate) period: Duration,
    pub(crate) timeout: Duration,
    successes: u32,
    failures: u32,
}

impl Timing {
    /// The timing of `probe`, with the API's defaults.
    pub(crate) fn of(probe: &Probe) -> Self {
        let number = |value: Option<i32>, default: u32| {
            value.and_then(|v| u32::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default)
        };
        let seconds = |value, default| Duration::from_secs(u64::from(number(value, default)));
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes: number(probe.success_threshold, 1),
            failures: number(probe.failure_threshold, 3),
        }
    }
}

/// Results in a row, and the verdict they last led to.
#[derive(Debug)]
pub(crate) struct Tally {
    timing: Timing,
    verdict: Option<bool>,
    last: Option<bool>,
    row: u32,
}

impl Tally {
    /// No results yet.
    pub(crate) fn new(timing: Timing) -> Self {
        Self { timing, verdict: None, last: None, row: 0 }
    }

    /// Counts one result; `Some` when it changes the verdict.
    pub(crate) fn count(&mut self, ok: bool) -> Option<bool> {
        self.row = if self.last == Some(ok) { self.row.saturating_add(1) } else { 1 };
        self.last = Some(ok);
        let needed = if ok { self.timing.successes } else { self.timing.failures };
        if self.row < needed || self.verdict == Some(ok) {
            return None;
        }
        self.verdict = Some(ok);
        Some(ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(successes: i32, failures: i32, results: &str, expected: &str) {
        let probe = Probe {
            success_threshold: Some(successes),
            failure_threshold: Some(failures),
            ..Probe::default()
        };
        let mut tally = Tally::new(Timing::of(&probe));
        let verdicts: String = results
            .chars()
            .map(|c| match tally.count(c == '+') {
                None => '.',
                Some(true) => '+',
                Some(false) => '-',
            })
            .collect();
        assert_eq!(verdicts, expected, "{results}");
    }

    #[test]
    fn verdicts_change_at_thresholds() {
        check(1, 3, "+", "+");
        check(1, 3, "+--+---+", "+.....-+");
        check(2, 1, "++-++", ".+-.+");
        check(1, 3, "----", "..-.");
    }
}
