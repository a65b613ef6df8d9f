//! CPU use per second, from two readings.

use jiff::Timestamp;
use std::collections::HashMap;

/// Readings that lie closer together than this say little: the kernel counts in ticks.
const LEAST_NANOS: i128 = 1_000_000_000;

/// The last readings of each group that was asked for. Its bound is the number of groups there are: who reads them all
/// calls [`Rates::keep`].
#[derive(Debug, Default)]
pub(crate) struct Rates(HashMap<String, Sample>);

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Timestamp,
    cpu_nanos: u64,
    rate: Option<u64>,
}

impl Rates {
    /// Takes in that `group` has used `cpu_nanos` so far; returns nanoseconds per second, once there are two readings.
    pub(crate) fn take(&mut self, group: &str, at: Timestamp, cpu_nanos: u64) -> Option<u64> {
        let new = Sample { at, cpu_nanos, rate: None };
        let Some(old) = self.0.get_mut(group) else {
            self.0.insert(group.to_owned(), new);
            return None;
        };
        let elapsed = at.as_nanosecond() - old.at.as_nanosecond();
        if cpu_nanos < old.cpu_nanos || elapsed < 0 {
            *old = new; // another group of that name, or another clock
        } else if elapsed >= LEAST_NANOS {
            let used = i128::from(cpu_nanos - old.cpu_nanos);
            *old = Sample { rate: u64::try_from(used * 1_000_000_000 / elapsed).ok(), ..new };
        }
        old.rate
    }

    /// Forgets all groups but these.
    pub(crate) fn keep(&mut self, wanted: impl Fn(&str) -> bool) {
        self.0.retain(|group, _| wanted(group));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::at;

    #[test]
    fn a_rate_needs_two_readings_some_time_apart() {
        let mut rates = Rates::default();
        assert_eq!(rates.take("a", at(0), 5_000_000_000), None);
        assert_eq!(rates.take("a", at(0), 5_000_000_001), None, "too close");
        assert_eq!(rates.take("a", at(4), 7_000_000_000), Some(500_000_000));
        assert_eq!(rates.take("a", at(4), 7_100_000_000), Some(500_000_000), "as before");
        assert_eq!(rates.take("a", at(5), 0), None, "begun anew");
        assert_eq!(rates.take("a", at(6), 10), Some(10));
        rates.keep(|group| group != "a");
        assert_eq!(rates.take("a", at(7), 20), None);
    }
}
