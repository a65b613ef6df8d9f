//! A level's requests under a clock that only the tests move.

use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;

const QUEUING: Queuing = Queuing { queues: 64, hand: 6, length: 50 };

/// A flow whose queues are this and the five after it.
fn flow(first: u32) -> u64 {
    let mut hash = 0;
    let mut base: u64 = 1;
    for place in 0..6 {
        hash += u64::from(first) * base;
        base *= 64 - place;
    }
    hash
}

struct Bench {
    queues: Queues,
    now: Instant,
    meter: Arc<Meter>,
    /// Who was woken, by the number that they came with.
    woken: Arc<Mutex<Vec<usize>>>,
    tickets: HashMap<usize, Ticket>,
    served: Vec<usize>,
}

impl Bench {
    fn new(limit: Limit, seats: u32) -> Self {
        let now = Instant::now();
        Self {
            queues: Queues::new(now, limit, seats),
            now,
            meter: Arc::new(Meter::new("schema", "level".into())),
            woken: Arc::default(),
            tickets: HashMap::new(),
            served: Vec::new(),
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    /// A request that is known by a number.
    fn enter(&mut self, number: usize, hash: u64, seats: u32) -> &'static str {
        let arrival =
            Arrival { seats, hash, flow: String::new(), meter: self.meter.clone(), details: Arc::default() };
        let woken = self.woken.clone();
        let wake = || -> Wake { Box::new(move || woken.lock().push(number)) };
        let (entered, others) = self.queues.enter(self.now, arrival, wake);
        let (ticket, said) = match entered {
            Entered::Started(ticket) => (ticket, "started"),
            Entered::Waiting(ticket) => (ticket, "waiting"),
            Entered::Rejected(reason) => return reason.as_str(),
        };
        self.tickets.insert(number, ticket);
        if said == "started" {
            self.served.push(number);
        }
        self.wake(others);
        said
    }

    fn wake(&mut self, others: Vec<Wake>) {
        others.into_iter().for_each(|wake| wake());
        self.served.append(&mut self.woken.lock());
    }

    fn finish(&mut self, number: usize) {
        let ticket = self.tickets.remove(&number).unwrap();
        let others = self.queues.finish(self.now, &ticket);
        self.wake(others);
    }

    fn give_up(&mut self, number: usize, reason: Reason) {
        let ticket = self.tickets.remove(&number).unwrap();
        let others = self.queues.give_up(self.now, &ticket, reason);
        self.wake(others);
    }

    /// Those that are served, in the order in which they began.
    fn executing(&self) -> Vec<usize> {
        let is_served = |number: &usize| {
            self.tickets.get(number).is_some_and(|ticket| self.queues.executing.contains_key(&ticket.id))
        };
        self.served.iter().copied().filter(is_served).collect()
    }

    /// No more seats are taken than there are, but by one request that is served alone.
    fn check(&self) {
        let used: u64 = self.queues.executing.values().map(|e| u64::from(e.arrival.seats)).sum();
        assert_eq!(used, self.queues.seats_in_use);
        assert!(used <= u64::from(self.queues.seats) || self.queues.executing.len() == 1, "{used} seats");
        let waiting: usize = self.queues.active.values().map(|queue| queue.waiting.len()).sum();
        assert_eq!(waiting, self.queues.waiting);
        assert_eq!(self.meter.waiting.load(Relaxed), waiting as i64);
        assert_eq!(self.meter.executing.load(Relaxed), self.queues.executing.len() as i64);
        assert!(self.queues.active.values().all(|queue| !queue.is_empty()));
        if self.queues.executing.is_empty() {
            assert_eq!(waiting, 0, "somebody waits for nothing");
        }
    }
}

#[test]
fn without_queues_requests_are_turned_away() {
    let mut bench = Bench::new(Limit::Reject, 2);
    assert_eq!(bench.enter(1, 0, 1), "started");
    assert_eq!(bench.enter(2, 0, 2), "concurrency-limit");
    assert_eq!(bench.enter(3, 0, 1), "started");
    assert_eq!(bench.enter(4, 0, 1), "concurrency-limit");
    bench.finish(1);
    assert_eq!(bench.enter(5, 0, 1), "started");
    assert_eq!((bench.queues.tally.rejected, bench.meter.rejected(Reason::ConcurrencyLimit)), (2, 2));
    bench.check();
}

#[test]
fn without_a_limit_everything_is_served() {
    let mut bench = Bench::new(Limit::None, 0);
    assert!((0..1000).all(|number| bench.enter(number, 0, 10) == "started"));
    assert_eq!(bench.queues.demand.take(bench.now + Duration::from_secs(1)).most, 10_000.0);
}

#[test]
fn who_waits_is_served_in_turn_and_full_queues_turn_away() {
    let limit = Limit::Queue(Queuing { queues: 1, hand: 1, length: 2 });
    let mut bench = Bench::new(limit, 1);
    assert_eq!(bench.enter(1, 0, 1), "started");
    assert_eq!(bench.enter(2, 0, 1), "waiting");
    assert_eq!(bench.enter(3, 0, 1), "waiting");
    assert_eq!(bench.enter(4, 0, 1), "queue-full");
    bench.pass(7);
    bench.finish(1);
    assert_eq!(bench.served, [1, 2]);
    bench.give_up(3, Reason::TimeOut);
    assert_eq!((bench.queues.tally.timed_out, bench.meter.rejected(Reason::TimeOut)), (1, 1));
    // Given up just when it was its turn.
    bench.give_up(2, Reason::Cancelled);
    assert!(bench.queues.is_idle());
    bench.check();
    assert_eq!(bench.meter.waits.cumulated(), [1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
}

#[test]
fn wide_requests_wait_for_room_and_the_widest_are_served_alone() {
    let mut bench = Bench::new(Limit::Queue(QUEUING), 4);
    bench.enter(1, flow(0), 2);
    bench.enter(2, flow(0), 2);
    assert_eq!(bench.enter(3, flow(10), 3), "waiting");
    bench.finish(1);
    assert_eq!(bench.executing(), [2], "two seats are not three");
    bench.finish(2);
    assert_eq!(bench.executing(), [3]);
    assert_eq!(bench.enter(4, flow(10), 9), "waiting");
    bench.finish(3);
    assert_eq!(bench.executing(), [4]);
    assert_eq!(bench.enter(5, flow(20), 1), "waiting");
    bench.finish(4);
    assert_eq!(bench.executing(), [5]);
    bench.check();
}

#[test]
fn fewer_seats_and_other_queues_drop_nobody() {
    let mut bench = Bench::new(Limit::Queue(QUEUING), 2);
    for number in 0..8 {
        bench.enter(number, flow(58), 1);
    }
    let woken = bench.queues.set(bench.now, Limit::Queue(Queuing { queues: 2, hand: 1, length: 5 }), 1);
    assert!(woken.is_empty());
    assert_eq!(bench.enter(8, 0, 1), "waiting");
    bench.finish(0);
    assert_eq!(bench.executing(), [1], "one seat is still taken");
    let woken = bench.queues.set(bench.now, Limit::Reject, 20);
    bench.wake(woken);
    assert_eq!(bench.executing().len(), 8);
    assert_eq!(bench.enter(9, 0, 20), "concurrency-limit");
    bench.check();
}

/// Serves `flows` for some seconds: each has so many requests under way, and each of them takes so many milliseconds. Says how
/// many requests of each were served.
fn serve(seats: u32, flows: &[(usize, u64, u32)], seconds: u64) -> Vec<u64> {
    let mut bench = Bench::new(Limit::Queue(QUEUING), seats);
    let mut served = vec![0; flows.len()];
    // When those that are served end.
    let mut ends: BTreeMap<(Instant, usize), ()> = BTreeMap::new();
    let mut flow_of: HashMap<usize, usize> = HashMap::new();
    let (mut next, mut begun) = (0, 0);
    let start = bench.now;
    let mut due: Vec<usize> =
        flows.iter().enumerate().flat_map(|(flow, (clients, ..))| vec![flow; *clients]).collect();
    while bench.now < start + Duration::from_secs(seconds) {
        for index in due.drain(..) {
            bench.enter(next, flow(u32::try_from(index).unwrap() * 6), flows[index].2);
            flow_of.insert(next, index);
            next += 1;
        }
        for number in bench.served[begun..].iter().copied() {
            ends.insert((bench.now + Duration::from_millis(flows[flow_of[&number]].1), number), ());
        }
        begun = bench.served.len();
        bench.check();
        let ((end, number), ()) = ends.pop_first().unwrap();
        bench.now = end;
        bench.finish(number);
        served[flow_of[&number]] += 1;
        // Whoever was answered comes back.
        due.push(flow_of[&number]);
    }
    served
}

#[test]
fn a_mouse_gets_through_beside_an_elephant() {
    let served = serve(2, &[(200, 10, 1), (1, 10, 1)], 10);
    // The elephant has six queues and the mouse one, so that it gets a seventh of the seats at least. In one queue it would get
    // a two hundredth.
    assert!(served[1] > 2000 / 7 - 10, "{served:?}");
    assert!(served[0] > 1600, "{served:?}");
}

#[test]
fn flows_share_time_and_not_requests() {
    let served = serve(1, &[(10, 10, 1), (10, 40, 1)], 20);
    // One by one they would get the same number of requests, and so a fifth and four of the time.
    let times = (served[0] * 10, served[1] * 40);
    assert!(times.0.abs_diff(times.1) < 4000, "{served:?}");
}

#[test]
fn wide_requests_pay_for_their_seats() {
    let served = serve(4, &[(20, 10, 4), (20, 10, 1)], 20);
    let seats = (served[0] * 4, served[1]);
    assert!(seats.0.abs_diff(seats.1) < (seats.0 + seats.1) / 8, "{served:?}");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Enter { flow: u32, seats: u32 },
    Finish(usize),
    GiveUp(usize),
    Pass(u64),
    Seats(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u32..58, 1_u32..6).prop_map(|(flow, seats)| Step::Enter { flow, seats }),
        3 => any::<usize>().prop_map(Step::Finish),
        1 => any::<usize>().prop_map(Step::GiveUp),
        2 => (0_u64..100).prop_map(Step::Pass),
        1 => (3_u32..9).prop_map(Step::Seats),
    ]
}

proptest! {
    #[test]
    fn nobody_is_forgotten(steps in prop::collection::vec(step(), 0..200)) {
        let mut bench = Bench::new(Limit::Queue(QUEUING), 8);
        for (number, step) in steps.into_iter().enumerate() {
            let some = |of: Vec<usize>, at: usize| (!of.is_empty()).then(|| of[at % of.len()]);
            match step {
                Step::Enter { flow: first, seats } => { bench.enter(number, flow(first), seats); }
                Step::Finish(at) => {
                    if let Some(number) = some(bench.executing(), at) { bench.finish(number) }
                }
                Step::GiveUp(at) => {
                    let mut known: Vec<usize> = bench.tickets.keys().copied().collect();
                    known.sort_unstable();
                    if let Some(number) = some(known, at) { bench.give_up(number, Reason::Cancelled) }
                }
                Step::Pass(ms) => bench.pass(ms),
                Step::Seats(seats) => {
                    let woken = bench.queues.set(bench.now, Limit::Queue(QUEUING), seats);
                    bench.wake(woken);
                }
            }
            let waiting: usize = bench.queues.active.values().map(|queue| queue.waiting.len()).sum();
            prop_assert_eq!(waiting, bench.queues.waiting);
            prop_assert!(waiting == 0 || !bench.queues.executing.is_empty(), "somebody waits for nothing");
        }
        // Whoever is left is served in the end.
        while let Some(number) = bench.executing().first().copied() {
            bench.pass(1);
            bench.finish(number);
        }
        prop_assert!(bench.queues.is_idle() && bench.tickets.is_empty());
        prop_assert_eq!(bench.queues.seats_in_use, 0);
        prop_assert!(bench.queues.active.is_empty());
        prop_assert_eq!(bench.meter.waiting_seats.load(Relaxed), 0);
        prop_assert_eq!(bench.meter.executing_seats.load(Relaxed), 0);
    }

    #[test]
    fn seats_are_never_more_than_there_are(requests in prop::collection::vec((0_u32..58, 1_u32..6, any::<bool>()), 0..200)) {
        let mut bench = Bench::new(Limit::Queue(QUEUING), 5);
        for (number, (first, seats, ends)) in requests.into_iter().enumerate() {
            bench.enter(number, flow(first), seats);
            bench.check();
            if ends && let Some(number) = bench.executing().first().copied() {
                bench.finish(number);
                bench.check();
            }
        }
    }
}
