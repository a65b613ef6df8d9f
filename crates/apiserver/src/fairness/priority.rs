//! Where requests wait for their seats.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use skiff_fairness::{Classified, Clock, Details, Entered, Fairness, Level, Reason, Ticket};
use skiff_registry::ApiError;
use tokio::sync::oneshot;

use super::configuration;
use super::wake::wake;
use crate::limits::Limits;

/// Who is served next.
pub(crate) struct Priority {
    pub(crate) fairness: Arc<Fairness>,
    /// How long a request waits.
    patience: Duration,
}

/// The seats of a request, which are free again when this is dropped.
pub(crate) struct Seat(Mutex<Option<(Arc<Level>, Ticket)>>);

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seat")
    }
}

impl Seat {
    /// Frees the seats before the request ends: of a watch that has begun.
    pub(crate) fn release(&self) {
        let held = self.0.lock().take();
        if let Some((level, ticket)) = held {
            wake(level.finish(Instant::now(), &ticket));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.release();
    }
}

/// A request that waits; it does no longer when this is dropped.
struct Waiting {
    held: Option<(Arc<Level>, Ticket)>,
    reason: Reason,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((level, ticket)) = self.held.take() {
            wake(level.give_up(Instant::now(), &ticket, self.reason));
        }
    }
}

impl Priority {
    pub(crate) fn new(limits: &Limits) -> Self {
        let seats = u32::try_from(limits.reads + limits.writes).unwrap_or(u32::MAX);
        let mandatory = configuration::mandatory();
        let fairness = Fairness::new(Instant::now(), seats, rand::random(), mandatory);
        Self { fairness: Arc::new(fairness), patience: limits.queue_wait }
    }

    /// Waits for the seats of a request; 429 when its level has no room for it, or not in time.
    pub(crate) async fn enter(
        &self,
        classified: Classified,
        seats: u32,
        details: Details,
    ) -> Result<Seat, ApiError> {
        let level = classified.level().clone();
        let mut woken = None;
        let (entered, others) = classified.enter(Instant::now(), seats, Arc::new(details), || {
            let (sender, receiver) = oneshot::channel();
            woken = Some(receiver);
            // Nobody hears it who has just gone; that is told by `Waiting`.
            Box::new(move || sender.send(()).unwrap_or_default())
        });
        wake(others);
        let seat = |held| Seat(Mutex::new(Some(held)));
        let ticket = match entered {
            Entered::Started(ticket) => return Ok(seat((level, ticket))),
            Entered::Rejected(_) => return Err(ApiError::TooManyRequests),
            Entered::Waiting(ticket) => ticket,
        };
        let mut waiting = Waiting { held: Some((level, ticket)), reason: Reason::Cancelled };
        let turn = async move {
            match woken {
                Some(woken) => woken.await.is_ok(),
                None => false,
            }
        };
        match tokio::time::timeout(self.patience, turn).await {
            Ok(true) => waiting.held.take().map(seat).ok_or(ApiError::TooManyRequests),
            Ok(false) | Err(_) => {
                waiting.reason = Reason::TimeOut;
                Err(ApiError::TooManyRequests)
            }
        }
    }

    /// Deals the seats out anew.
    pub(super) fn adjust(&self) {
        wake(self.fairness.adjust(Instant::now()));
    }

    /// What is told to administrators below `/debug/api_priority_and_fairness/`; none for other paths.
    pub(crate) fn dump(&self, path: &str, detailed: bool) -> Option<String> {
        match path.strip_prefix("/debug/api_priority_and_fairness/")? {
            "dump_priority_levels" => Some(self.fairness.dump_levels()),
            "dump_queues" => Some(self.fairness.dump_queues()),
            "dump_requests" => {
                let clock = Clock { now: Instant::now(), wall: Timestamp::now() };
                Some(self.fairness.dump_requests(clock, detailed))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use skiff_fairness::{Asked, Target};

    use super::*;

    /// One seat of everything that has a limit, and no patience.
    fn priority(patience: Duration) -> Priority {
        let limits = Limits { reads: 1, writes: 0, queue_wait: patience, ..Limits::default() };
        let priority = Priority::new(&limits);
        let (mut schemas, mut levels) = Default::default();
        configuration::given(&mut schemas, &mut levels);
        wake(priority.fairness.configure(Instant::now(), &schemas, &levels).woken);
        priority
    }

    fn classify(priority: &Priority, user: &str) -> Classified {
        let groups = ["system:authenticated".to_owned()];
        let asked = Asked { user, groups: &groups, verb: "get", target: Target::Path("/x") };
        priority.fairness.classify(&asked)
    }

    #[tokio::test]
    async fn who_waits_is_served_when_a_seat_is_free() {
        let priority = priority(Duration::from_millis(50));
        let enter = async |user: &str| priority.enter(classify(&priority, user), 1, Details::default()).await;
        let first = enter("a").await.unwrap();
        let mut second = Box::pin(enter("b"));
        assert!(futures::poll!(&mut second).is_pending(), "there is one seat");
        first.release();
        let second = second.await.unwrap();
        assert!(matches!(enter("c").await, Err(ApiError::TooManyRequests)), "not in time");
        drop((first, second));
        enter("d").await.unwrap();
    }

    #[tokio::test]
    async fn who_goes_leaves_its_place() {
        let priority = priority(Duration::from_secs(600));
        let first = priority.enter(classify(&priority, "a"), 1, Details::default()).await.unwrap();
        let mut gone = Box::pin(priority.enter(classify(&priority, "b"), 1, Details::default()));
        assert!(futures::poll!(&mut gone).is_pending(), "there is one seat");
        drop(gone);
        let levels = priority.dump("/debug/api_priority_and_fairness/dump_priority_levels", false).unwrap();
        let line = levels.lines().find(|line| line.starts_with("global-default,")).unwrap();
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        assert_eq!(cells[4..], ["0", "1", "1", "1", "0", "1"], "{levels}");
        drop(first);
        assert_eq!(priority.dump("/debug/api_priority_and_fairness/else", false), None);
    }
}
