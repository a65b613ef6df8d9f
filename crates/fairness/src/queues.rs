//! The requests of one level: who is served, who waits, and who is next.
//!
//! Fair queuing by virtual time, as in the package documentation of Kubernetes' queue sets: all queues that hold requests get
//! the same number of seats; [`Progress`] is what each of them has got since the level was idle, in seats times time. A queue's next
//! request starts, in that virtual world, where its last one ends, and the request that would end first there is served next.
//! How long a request takes is not known before; it is taken to be [`GUESS`], and put right when it ends.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::deal::Hand;
use crate::demand::Demand;
use crate::meter::{Meter, Reason};
use crate::spec::{Limit, Queuing};

/// Seats times nanoseconds.
type Progress = i128;

/// How long a request is taken to be served.
const GUESS: Duration = Duration::from_millis(3);

/// How who waits is told that it may go on. Given back to whoever made room, to be called without locks.
pub type Wake = Box<dyn FnOnce() + Send>;

/// What is told of a request to administrators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The user's name.
    pub user: String,
    /// As in rules of RBAC.
    pub verb: String,
    /// The path of the URL.
    pub path: String,
    /// The namespace; empty for none.
    pub namespace: String,
    /// The object's name; empty for none.
    pub name: String,
    /// As in objects, `apps/v1`; empty for other paths.
    pub api_version: String,
    /// The plural.
    pub resource: String,
    /// The subresource; empty for none.
    pub subresource: String,
}

/// A request on its way in.
pub(crate) struct Arrival {
    pub(crate) seats: u32,
    /// Of its flow.
    pub(crate) hash: u64,
    /// What makes its flow.
    pub(crate) flow: String,
    pub(crate) meter: Arc<Meter>,
    pub(crate) details: Arc<Details>,
}

/// A request that is known here.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    id: u64,
    queue: Option<u32>,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Entered {
    /// It is to be served.
    Started(Ticket),
    /// It is woken when it is to be served.
    Waiting(Ticket),
    /// It is turned away.
    Rejected(Reason),
}

pub(crate) struct Waiting {
    id: u64,
    pub(crate) arrival: Arrival,
    pub(crate) arrived: Instant,
    /// The progress when it arrived.
    arrived_at: Progress,
    wake: Option<Wake>,
}

pub(crate) struct Executing {
    pub(crate) arrival: Arrival,
    pub(crate) arrived: Instant,
    pub(crate) started: Instant,
    pub(crate) queue: Option<u32>,
}

/// A queue that holds requests.
#[derive(Default)]
pub(crate) struct Queue {
    /// When its next request starts, in virtual time.
    pub(crate) start: Progress,
    pub(crate) waiting: VecDeque<Waiting>,
    pub(crate) waiting_seats: u64,
    pub(crate) executing: usize,
    pub(crate) seats: u64,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.executing == 0
    }

    /// Nothing starts before it arrived: who did not use its part is not owed it for ever.
    fn bound(&mut self) {
        if let Some(first) = self.waiting.front() {
            self.start = self.start.max(first.arrived_at);
        }
    }
}

/// What became of all requests so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) dispatched: u64,
    pub(crate) rejected: u64,
    pub(crate) timed_out: u64,
    pub(crate) cancelled: u64,
}

/// All requests of a level.
pub(crate) struct Queues {
    limit: Limit,
    /// How many seats there are.
    pub(crate) seats: u32,
    progress: Progress,
    synced: Instant,
    /// Those that hold requests, by number.
    pub(crate) active: BTreeMap<u32, Queue>,
    pub(crate) executing: HashMap<u64, Executing>,
    pub(crate) waiting: usize,
    pub(crate) seats_in_use: u64,
    seats_waiting: u64,
    /// The queue that was served last.
    turn: u32,
    next_id: u64,
    pub(crate) demand: Demand,
    pub(crate) tally: Tally,
}

/// What `seats` cost for a time.
fn work(seats: u64, time: Duration) -> Progress {
    i128::from(seats) * i128::try_from(time.as_nanos()).unwrap_or(i128::MAX >> 64)
}

impl Queues {
    pub(crate) fn new(now: Instant, limit: Limit, seats: u32) -> Self {
        Self {
            limit,
            seats,
            progress: 0,
            synced: now,
            active: BTreeMap::new(),
            executing: HashMap::new(),
            waiting: 0,
            seats_in_use: 0,
            seats_waiting: 0,
            turn: 0,
            next_id: 0,
            demand: Demand::new(now),
            tally: Tally::default(),
        }
    }

    /// Takes a request in, and says who of those who waited is to be served now.
    pub(crate) fn enter(
        &mut self,
        now: Instant,
        arrival: Arrival,
        wake: impl FnOnce() -> Wake,
    ) -> (Entered, Vec<Wake>) {
        self.sync(now);
        let Limit::Queue(queuing) = self.limit else {
            return (self.enter_without_queue(now, arrival), Vec::new());
        };
        let number = self.choose(queuing, arrival.hash);
        let length = self.active.get(&number).map_or(0, |queue| queue.waiting.len());
        if length >= queuing.length && self.seats_in_use >= u64::from(self.seats) {
            return (self.reject(&arrival.meter, Reason::QueueFull), Vec::new());
        }
        let id = self.enqueue(now, number, arrival);
        let woken = self.dispatch(now);
        let ticket = Ticket { id, queue: Some(number) };
        if self.executing.contains_key(&id) {
            return (Entered::Started(ticket), woken);
        }
        // It was put last, and nobody came since.
        if let Some(last) = self.active.get_mut(&number).and_then(|queue| queue.waiting.back_mut()) {
            last.wake = Some(wake());
        }
        (Entered::Waiting(ticket), woken)
    }

    fn enter_without_queue(&mut self, now: Instant, arrival: Arrival) -> Entered {
        if self.limit == Limit::Reject && !self.fits(arrival.seats) {
            return self.reject(&arrival.meter, Reason::ConcurrencyLimit);
        }
        let id = self.id();
        self.start(now, id, Executing { arrival, arrived: now, started: now, queue: None });
        Entered::Started(Ticket { id, queue: None })
    }

    fn reject(&mut self, meter: &Meter, reason: Reason) -> Entered {
        self.tally.rejected += 1;
        meter.reject(reason);
        Entered::Rejected(reason)
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The queue of a flow's hand with the least work that waits.
    fn choose(&self, queuing: Queuing, hash: u64) -> u32 {
        let hand = Hand::deal(hash, queuing.queues, queuing.hand);
        let waiting = |number: &u32| self.active.get(number).map_or(0, |queue| queue.waiting_seats);
        hand.from(self.next_id).min_by_key(waiting).unwrap_or_default()
    }

    fn enqueue(&mut self, now: Instant, number: u32, arrival: Arrival) -> u64 {
        let (id, progress, seats) = (self.id(), self.progress, arrival.seats);
        arrival.meter.wait(1, seats);
        let queue = self.active.entry(number).or_default();
        if queue.is_empty() {
            queue.start = progress;
        }
        queue.waiting_seats += u64::from(seats);
        queue.waiting.push_back(Waiting { id, arrival, arrived: now, arrived_at: progress, wake: None });
        queue.bound();
        self.waiting += 1;
        self.seats_waiting += u64::from(seats);
        self.note_demand(now);
        id
    }

    /// Moves virtual time on: since it was looked at, each queue that holds requests got the same part of the seats.
    fn sync(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.synced);
        self.synced = self.synced.max(now);
        if !self.active.is_empty() {
            let seats = (self.seats_in_use + self.seats_waiting).min(u64::from(self.seats));
            self.progress += work(seats, passed) / self.active.len() as i128;
        }
    }

    /// Serves who is next, as long as there are seats.
    fn dispatch(&mut self, now: Instant) -> Vec<Wake> {
        let mut woken = Vec::new();
        while self.waiting > 0 && self.seats_in_use < u64::from(self.seats) {
            let Some(number) = self.next() else { break };
            let Some(queue) = self.active.get_mut(&number) else { break };
            let Some(first) = queue.waiting.pop_front() else { break };
            let seats = u64::from(first.arrival.seats);
            queue.waiting_seats -= seats;
            queue.executing += 1;
            queue.seats += seats;
            queue.start += work(seats, GUESS);
            queue.bound();
            self.turn = number;
            self.waiting -= 1;
            self.seats_waiting -= seats;
            let Waiting { id, arrival, arrived, wake, .. } = first;
            arrival.meter.wait(-1, arrival.seats);
            self.start(now, id, Executing { arrival, arrived, started: now, queue: Some(number) });
            woken.extend(wake);
        }
        woken
    }

    /// The queue whose next request would end first; none if that has to wait for more seats than are free. Among equals the one
    /// that comes first after the queue that was served last.
    fn next(&self) -> Option<u32> {
        let ends = self.active.iter().filter_map(|(number, queue)| {
            let first = queue.waiting.front()?;
            let seats = first.arrival.seats;
            let distance = number.wrapping_sub(self.turn).wrapping_sub(1);
            Some(((queue.start + work(u64::from(seats), GUESS), distance), *number, seats))
        });
        let (_, number, seats) = ends.min_by_key(|(key, ..)| *key)?;
        self.fits(seats).then_some(number)
    }

    /// Whether so many seats are free. Who needs more than there are is served alone.
    fn fits(&self, seats: u32) -> bool {
        if seats > self.seats {
            self.executing.is_empty()
        } else {
            self.seats_in_use + u64::from(seats) <= u64::from(self.seats)
        }
    }

    fn start(&mut self, now: Instant, id: u64, executing: Executing) {
        let Executing { arrival, arrived, queue, .. } = &executing;
        arrival.meter.execute(1, arrival.seats);
        arrival.meter.dispatched.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if queue.is_some() {
            arrival.meter.waits.note(now.saturating_duration_since(*arrived));
        }
        self.tally.dispatched += 1;
        self.seats_in_use += u64::from(arrival.seats);
        self.executing.insert(id, executing);
        self.note_demand(now);
    }

    fn note_demand(&mut self, now: Instant) {
        self.demand.set(now, self.seats_in_use + self.seats_waiting);
    }

    /// A request was served: its seats are free.
    pub(crate) fn finish(&mut self, now: Instant, ticket: &Ticket) -> Vec<Wake> {
        self.sync(now);
        let Some(Executing { arrival, started, queue, .. }) = self.executing.remove(&ticket.id) else {
            return Vec::new();
        };
        let (seats, took) = (u64::from(arrival.seats), now.saturating_duration_since(started));
        arrival.meter.execute(-1, arrival.seats);
        arrival.meter.executions.note(took);
        self.seats_in_use -= seats;
        if let Some(number) = queue
            && let Some(queue) = self.active.get_mut(&number)
        {
            queue.executing -= 1;
            queue.seats -= seats;
            queue.start += work(seats, took) - work(seats, GUESS);
            queue.bound();
            self.leave(number);
        }
        self.note_demand(now);
        self.dispatch(now)
    }

    /// A request waits no longer. If it is to be served already, that is over, too.
    pub(crate) fn give_up(&mut self, now: Instant, ticket: &Ticket, reason: Reason) -> Vec<Wake> {
        self.sync(now);
        let Some(waiting) = self.take_out(ticket) else { return self.finish(now, ticket) };
        waiting.arrival.meter.waits_in_vain.note(now.saturating_duration_since(waiting.arrived));
        self.reject(&waiting.arrival.meter, reason);
        match reason {
            Reason::TimeOut => self.tally.timed_out += 1,
            _ => self.tally.cancelled += 1,
        }
        self.note_demand(now);
        // Whoever is first now may need fewer seats.
        self.dispatch(now)
    }

    fn take_out(&mut self, ticket: &Ticket) -> Option<Waiting> {
        let number = ticket.queue?;
        let queue = self.active.get_mut(&number)?;
        let at = queue.waiting.iter().position(|waiting| waiting.id == ticket.id)?;
        let waiting = queue.waiting.remove(at)?;
        let seats = waiting.arrival.seats;
        queue.waiting_seats -= u64::from(seats);
        queue.bound();
        self.waiting -= 1;
        self.seats_waiting -= u64::from(seats);
        waiting.arrival.meter.wait(-1, seats);
        self.leave(number);
        Some(waiting)
    }

    /// Forgets a queue without requests. Without any queue virtual time begins anew.
    fn leave(&mut self, number: u32) {
        if self.active.get(&number).is_some_and(Queue::is_empty) {
            self.active.remove(&number);
        }
        if self.active.is_empty() {
            self.progress = 0;
        }
    }

    /// Another configuration, or number of seats. Who waits goes on waiting, in queues that no longer get requests.
    pub(crate) fn set(&mut self, now: Instant, limit: Limit, seats: u32) -> Vec<Wake> {
        self.sync(now);
        (self.limit, self.seats) = (limit, seats);
        self.dispatch(now)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.executing.is_empty()
    }
}

#[cfg(test)]
#[path = "queues_tests.rs"]
mod tests;
