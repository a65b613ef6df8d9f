//! How soon a repair follows the one before.

use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// After this long without a repair, the next one is the first again.
const QUIET: Duration = Duration::from_secs(60);

/// The pace of repairs of one thing. The first is made at once; another program that takes the thing away again and again
/// makes the pauses longer, up to ten seconds, so that neither of the two keeps the machine busy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    pause: Duration,
    last: Option<Instant>,
}

impl Pace {
    /// How long to wait at `now` before the next repair, which is taken to be made then.
    pub fn next(&mut self, now: Instant) -> Duration {
        self.pause = match self.last {
            Some(last) if now.saturating_duration_since(last) < QUIET => {
                (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE)
            }
            _ => Duration::ZERO,
        };
        self.last = Some(now + self.pause);
        self.pause
    }

    /// Whether nothing was repaired for so long that this pace tells nothing any more.
    pub fn is_quiet(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_repair_is_made_at_once_and_a_fight_slows_down() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        assert!(pace.is_quiet(now));
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let pause = pace.next(now);
            pauses.push(pause.as_millis());
            now += pause;
        }
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert!(!pace.is_quiet(now));
        now += QUIET;
        assert!(pace.is_quiet(now));
        assert_eq!(pace.next(now), Duration::ZERO);
    }
}
