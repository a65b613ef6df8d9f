//! A priority level while the server runs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use crate::allocate::{Bounds, Need};
use crate::demand::Trend;
use crate::meter::Reason;
use crate::queues::{Arrival, Entered, Queues, Ticket, Wake};
use crate::spec::{LevelSpec, Limit};

/// A priority level. It stays the same when its configuration changes, and goes on serving what it holds when it is deleted.
pub struct Level {
    pub(crate) name: Arc<str>,
    /// The most seats of one request.
    widest: AtomicU32,
    state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) spec: LevelSpec,
    pub(crate) bounds: Bounds,
    pub(crate) trend: Trend,
    /// Whether its object is gone.
    pub(crate) is_leaving: bool,
    pub(crate) queues: Queues,
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Level({})", self.name)
    }
}

impl Level {
    pub(crate) fn new(now: Instant, name: &str, spec: LevelSpec) -> Self {
        let queues = Queues::new(now, spec.limit, 0);
        let (bounds, trend) = Default::default();
        let state = State { spec, bounds, trend, is_leaving: false, queues };
        Self { name: name.into(), widest: AtomicU32::new(1), state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Its seats by its configuration; what it has at the moment is said later.
    pub(crate) fn bound(&self, spec: LevelSpec, bounds: Bounds, is_leaving: bool) {
        self.widest.store(spec.widest(bounds.nominal), Relaxed);
        let mut state = self.state();
        (state.spec, state.bounds, state.is_leaving) = (spec, bounds, is_leaving);
    }

    /// What it needs, by what its demand was until now.
    pub(crate) fn look(&self, now: Instant) -> Need {
        let mut state = self.state();
        let observed = state.queues.demand.take(now);
        state.trend.note(observed);
        Need { bounds: state.bounds, peak: state.trend.peak(), smoothed: state.trend.smoothed }
    }

    /// So many seats it has from now on.
    pub(crate) fn give(&self, now: Instant, seats: u32) -> Vec<Wake> {
        let mut state = self.state();
        let limit = state.spec.limit;
        state.queues.set(now, limit, seats)
    }

    pub(crate) fn is_exempt(&self) -> bool {
        self.state().spec.limit == Limit::None
    }

    pub(crate) fn widest(&self) -> u32 {
        self.widest.load(Relaxed)
    }

    pub(crate) fn enter(
        &self,
        now: Instant,
        arrival: Arrival,
        wake: impl FnOnce() -> Wake,
    ) -> (Entered, Vec<Wake>) {
        self.state().queues.enter(now, arrival, wake)
    }

    /// A request was served. Whoever is given back is to be woken.
    #[must_use]
    pub fn finish(&self, now: Instant, ticket: &Ticket) -> Vec<Wake> {
        self.state().queues.finish(now, ticket)
    }

    /// A request waits no longer; if it was just going to be served, that is over, too. Whoever is given back is to be
    /// woken.
    #[must_use]
    pub fn give_up(&self, now: Instant, ticket: &Ticket, reason: Reason) -> Vec<Wake> {
        self.state().queues.give_up(now, ticket, reason)
    }
}
