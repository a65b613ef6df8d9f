//! The requests under way on one connection, and when they have taken too long.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Limits;

/// All exchanges of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Exchanges(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    next: u64,
    open: HashMap<u64, Open>,
    /// When the last exchange ended, or the connection began.
    idle_since: Instant,
}

#[derive(Debug)]
struct Open {
    since: Instant,
    lasts: bool,
    /// When the client's side took a piece of the answer, if it has not asked for the next one since.
    given: Option<Instant>,
}

/// Why a connection is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// No request came for too long.
    Idle,
    /// A client does not take its answer.
    Stalled,
    /// A request or its answer takes too long.
    Overdue,
}

/// What may be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// Look again at this time.
    Until(Instant),
    /// The connection is to be ended.
    End(End),
}

impl Exchanges {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { next: 0, open: HashMap::new(), idle_since: Instant::now() })))
    }

    pub(crate) fn begin(&self) -> Running {
        let mut state = self.0.lock();
        let id = state.next;
        state.next += 1;
        state.open.insert(id, Open { since: Instant::now(), lasts: false, given: None });
        Running(Exchange { all: self.clone(), id })
    }

    /// Whether more than one is under way.
    pub(crate) fn are_several(&self) -> bool {
        self.0.lock().open.len() > 1
    }

    /// Whether the connection may go on, and when to look again.
    pub(crate) fn check(&self, now: Instant, stranger: bool, limits: &Limits) -> Course {
        let state = self.0.lock();
        // A request may begin, and a client stall, at any time without telling: look again by then.
        let mut next = now + limits.stall;
        if state.open.is_empty() {
            let idle = if stranger { limits.stranger_idle } else { limits.idle };
            let end = state.idle_since + idle;
            return if end <= now { Course::End(End::Idle) } else { Course::Until(end.min(next)) };
        }
        for open in state.open.values() {
            let stalled = open.given.map(|given| (given + limits.stall, End::Stalled));
            let overdue = (!open.lasts).then(|| (open.since + limits.exchange, End::Overdue));
            for (at, end) in stalled.into_iter().chain(overdue) {
                if at <= now {
                    return Course::End(end);
                }
                next = next.min(at);
            }
        }
        Course::Until(next)
    }
}

/// One request and its answer, to be found in the request's extensions.
#[derive(Clone, Debug)]
pub struct Exchange {
    all: Exchanges,
    id: u64,
}

impl Exchange {
    /// Says that the answer is meant to last: a watch, a followed log, a stream. It may then take any time, but the
    /// client still has to take what is sent.
    pub fn lasts(&self) {
        self.change(|open| open.lasts = true);
    }

    /// A piece of the answer was taken.
    pub(crate) fn given(&self) {
        let now = Instant::now();
        self.change(|open| open.given = Some(now));
    }

    /// The next piece of the answer is wanted.
    pub(crate) fn wanted(&self) {
        self.change(|open| open.given = None);
    }

    fn change(&self, how: impl FnOnce(&mut Open)) {
        if let Some(open) = self.all.0.lock().open.get_mut(&self.id) {
            how(open);
        }
    }
}

/// An exchange that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Exchange);

impl Running {
    pub(crate) fn exchange(&self) -> &Exchange {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.all.0.lock();
        state.open.remove(&self.0.id);
        state.idle_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoFiles;
    use std::time::Duration;

    fn limits() -> Limits {
        Limits {
            idle: Duration::from_secs(90),
            stranger_idle: Duration::from_secs(15),
            exchange: Duration::from_secs(75),
            stall: Duration::from_secs(30),
            ..Limits::of(NoFiles(1024), 1.0)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_strangers_first() {
        let (exchanges, start) = (Exchanges::new(), Instant::now());
        let check = |after: u64, stranger: bool, expected: Course| {
            let now = start + Duration::from_secs(after);
            assert_eq!(exchanges.check(now, stranger, &limits()), expected, "{after} s");
        };
        check(0, true, Course::Until(start + Duration::from_secs(15)));
        check(15, true, Course::End(End::Idle));
        check(15, false, Course::Until(start + Duration::from_secs(45)));
        check(80, false, Course::Until(start + Duration::from_secs(90)));
        check(90, false, Course::End(End::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_have_to_end_unless_they_last_and_always_to_be_taken() {
        let (exchanges, start) = (Exchanges::new(), Instant::now());
        let check = |after: u64, expected: Course| {
            let now = start + Duration::from_secs(after);
            assert_eq!(exchanges.check(now, false, &limits()), expected, "{after} s");
        };
        let running = exchanges.begin();
        check(10, Course::Until(start + Duration::from_secs(40)));
        check(60, Course::Until(start + Duration::from_secs(75)));
        check(75, Course::End(End::Overdue));
        running.exchange().lasts();
        check(100_000, Course::Until(start + Duration::from_secs(100_030)));
        running.exchange().given();
        check(30, Course::End(End::Stalled));
        running.exchange().wanted();
        check(30, Course::Until(start + Duration::from_secs(60)));
        tokio::time::advance(Duration::from_secs(50)).await;
        drop(running);
        check(120, Course::Until(start + Duration::from_secs(140)));
    }
}
