//! What another program did to our table, and when it is restored. Pure.

use std::fmt;

use skiff_netlink::Pace;
use tokio::time::Instant;

use crate::{
    kernel::{State, Touched},
    ledger::Difference,
};

/// What the kernel was found to have lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) state: State,
    pub(crate) elements: Difference,
}

impl Loss {
    fn is_none(&self) -> bool {
        self.state == State::Complete && self.elements == Difference::default()
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Absent => f.write_str("it was deleted"),
            State::Deviating(deviation) => write!(f, "changed was: {deviation}"),
            State::Complete => {
                write!(f, "{} elements were deleted, {} added", self.elements.missing, self.elements.foreign)
            }
        }
    }
}

/// Remembers who changed the table and what was lost by that, until it is restored.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    touched: Option<Touched>,
    loss: Option<Loss>,
    due: Option<Instant>,
    pace: Pace,
}

impl Guard {
    /// Another program changed the table: it is restored at once, or later if that happens again and again.
    pub(crate) fn touched(&mut self, by: Touched, now: Instant) {
        self.touched = Some(by);
        if self.due.is_none() {
            self.due = Some(now + self.pace.next(now.into_std()));
        }
    }

    /// Waits until the table is to be restored.
    pub(crate) async fn due(&self) {
        until(self.due).await;
    }

    /// Whether it is to be restored now; asking counts as doing.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }

    /// What a look at the kernel found.
    pub(crate) fn found(&mut self, loss: Loss) {
        if !loss.is_none() {
            self.loss = Some(loss);
        }
    }

    /// Why the table may not be whole, while its restoration is still to come.
    pub(crate) fn threat(&self) -> Option<String> {
        let by = self.touched.as_ref().filter(|_| self.due.is_some())?;
        Some(format!("the table of Services was changed by {by}, it is being restored"))
    }

    /// The kernel has accepted the whole table. What is to be told of that, once.
    pub(crate) fn restored(&mut self) -> Option<String> {
        if self.due.is_some() {
            return None;
        }
        let by = self.touched.take()?;
        // A change that was looked at and lost nothing is nobody's concern.
        let loss = self.loss.take()?;
        Some(format!("The packet filter table skiff was changed by {by} and has been restored; {loss}"))
    }
}

/// Waits for a time, for ever without one.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn touched() -> Touched {
        Touched { by: Some("nft (process 7)".into()) }
    }

    fn loss(missing: usize) -> Loss {
        Loss { state: State::Complete, elements: Difference { missing, foreign: 0 } }
    }

    #[test]
    fn a_change_is_restored_at_once_and_told_once() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        assert!(!guard.is_due(now) && guard.threat().is_none());
        guard.touched(touched(), now);
        assert!(guard.threat().unwrap().contains("nft (process 7)"));
        assert!(guard.restored().is_none(), "not looked at yet");
        assert!(guard.is_due(now) && !guard.is_due(now));
        guard.found(Loss { state: State::Absent, elements: Difference::default() });
        assert_eq!(guard.threat(), None);
        let told = guard.restored().unwrap();
        assert!(told.contains("changed by nft (process 7)") && told.ends_with("it was deleted"), "{told}");
        assert_eq!(guard.restored(), None);
    }

    #[test]
    fn what_a_failed_batch_found_first_is_told_of_too() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        guard.found(loss(3));
        assert_eq!(guard.restored(), None, "nobody is known to have done it");
        guard.touched(touched(), now);
        assert!(guard.is_due(now));
        guard.found(loss(0));
        assert!(guard.restored().unwrap().ends_with("3 elements were deleted, 0 added"));
    }

    #[test]
    fn a_fight_is_slow() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        guard.touched(touched(), now);
        assert!(guard.is_due(now));
        guard.touched(touched(), now);
        guard.touched(touched(), now);
        assert!(!guard.is_due(now));
        assert!(guard.is_due(now + Duration::from_millis(100)));
    }
}
