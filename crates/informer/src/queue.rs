//! A work queue of keys: each key at most once at a time, failures retried with exponential back-off.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::numbers::{self, Counted};
use crate::vitals::STUCK_AFTER;

/// Delay before the first retry; doubles with each failure.
const FIRST_RETRY: Duration = Duration::from_millis(5);
/// Longest delay between retries.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// From this many failures in a row on, each is worth a warning; before, conflicts and races are routine.
const WARN_AFTER: u32 = 5;

/// For so many keys the room is kept.
const SMALL: usize = 64;

/// What a successful reconcile asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing until the key is added again.
    Done,
    /// Look again after this long, unless the key is added before.
    After(Duration),
}

struct State<K> {
    /// Each since when.
    ready: VecDeque<(K, Instant)>,
    /// Keys in `ready`, or added while they were being processed.
    wanted: HashSet<K>,
    /// Since when.
    processing: HashMap<K, Instant>,
    /// When a key was last taken, or the first one came.
    progress: Instant,
    failures: HashMap<K, u32>,
    /// Due time to keys; `due` is the reverse, one entry per key.
    delayed: BTreeMap<(Instant, u64), K>,
    due: HashMap<K, (Instant, u64)>,
    sequence: u64,
    counted: Option<Counted>,
}

struct Shared<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

/// A queue of keys to reconcile. Cloning shares the queue. It holds a key once however often that is added, so its bound is
/// the number of objects there are.
pub struct Queue<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K: Clone + Eq + Hash> Default for Queue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        Self::made(None)
    }

    /// An empty queue that is counted under a name.
    pub fn named(name: &'static str) -> Self
    where
        K: Send + Sync + 'static,
    {
        let queue = Self::made(Some(Counted::of(name)));
        let shared = Arc::downgrade(&queue.shared);
        numbers::look_at(name, move || {
            let (now, shared) = (Instant::now(), shared.upgrade()?);
            let state = shared.state.lock();
            let times = state.processing.values().map(|since| (now - *since).as_secs_f64());
            Some(times.fold((0.0, 0.0), |(sum, most): (f64, f64), time| (sum + time, most.max(time))))
        });
        queue
    }

    fn made(counted: Option<Counted>) -> Self {
        let state = State {
            ready: VecDeque::new(),
            wanted: HashSet::new(),
            processing: HashMap::new(),
            progress: Instant::now(),
            failures: HashMap::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            sequence: 0,
            counted,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// Asks for `key` to be reconciled; a key that waits already is not added twice.
    pub fn add(&self, key: K) {
        self.shared.state.lock().add(key);
        self.shared.changed.notify_one();
    }

    /// Asks for `key` after `delay`. Of several delays the shortest counts.
    pub fn add_after(&self, key: K, delay: Duration) {
        self.shared.state.lock().add_at(key, Instant::now() + delay);
        self.shared.changed.notify_one();
    }

    /// Reconciles keys, `workers` at a time, until `shutdown`. A key is never reconciled twice at once; one that fails
    /// is retried after 5 ms, 10 ms, … 60 s.
    pub async fn run<F, R, E>(&self, workers: usize, shutdown: &CancellationToken, reconcile: F)
    where
        K: Display,
        F: Fn(K) -> R,
        R: Future<Output = Result<Next, E>>,
        E: Display,
    {
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < workers
                && let Some(key) = self.take()
            {
                let work = reconcile(key.clone());
                running.push(async move { (key, work.await) });
            }
            let due = self.next_due();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some((key, outcome)) = running.next(), if !running.is_empty() => self.finish(key, outcome),
                () = self.shared.changed.notified() => {}
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    /// The next key to work on; moves what has become due first.
    fn take(&self) -> Option<K> {
        let mut state = self.shared.state.lock();
        state.promote(Instant::now());
        let (key, since) = state.ready.pop_front()?;
        state.wanted.remove(&key);
        state.stay_small();
        let now = Instant::now();
        if let Some(counted) = &state.counted {
            counted.taken(now - since);
        }
        state.progress = now;
        state.processing.insert(key.clone(), now);
        Some(key)
    }

    /// Why the queue is stuck at `now`, if it is: a key takes too long, or none is taken.
    pub(crate) fn stuck(&self, now: Instant) -> Option<String>
    where
        K: Display,
    {
        let state = self.shared.state.lock();
        let slowest = state.processing.iter().min_by_key(|(_, since)| **since);
        if let Some((key, since)) =
            slowest.filter(|(_, since)| now.saturating_duration_since(**since) > STUCK_AFTER)
        {
            return Some(format!("has been at {key} for {} s", (now - *since).as_secs()));
        }
        let idle = now.saturating_duration_since(state.progress);
        let waiting = state.ready.len();
        // Keys that wait for others to end are those others' trouble.
        (waiting > 0 && state.processing.is_empty() && idle > STUCK_AFTER)
            .then(|| format!("has taken none of its {waiting} keys for {} s", idle.as_secs()))
    }

    fn next_due(&self) -> Option<Instant> {
        self.shared.state.lock().delayed.first_key_value().map(|((at, _), _)| *at)
    }

    fn finish<E: Display>(&self, key: K, outcome: Result<Next, E>)
    where
        K: Display,
    {
        let mut state = self.shared.state.lock();
        let since = state.processing.remove(&key);
        if let (Some(counted), Some(since)) = (&state.counted, since) {
            counted.done(since.elapsed(), outcome.is_err());
        }
        if state.wanted.contains(&key) {
            state.make_ready(key.clone());
        }
        match outcome {
            Ok(next) => {
                state.failures.remove(&key);
                if let Next::After(delay) = next {
                    state.add_at(key, Instant::now() + delay);
                }
            }
            Err(error) => {
                let failures = state.failures.entry(key.clone()).or_insert(0);
                let delay = retry_delay(*failures);
                *failures = failures.saturating_add(1);
                if *failures < WARN_AFTER {
                    debug!(%key, %error, retry_in = ?delay, "reconcile failed");
                } else {
                    warn!(%key, %error, failures = *failures, retry_in = ?delay, "reconcile keeps failing");
                }
                state.add_at(key, Instant::now() + delay);
            }
        }
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn add(&mut self, key: K) {
        if self.wanted.insert(key.clone()) && !self.processing.contains_key(&key) {
            self.make_ready(key);
        }
    }

    fn make_ready(&mut self, key: K) {
        let now = Instant::now();
        if self.ready.is_empty() {
            self.progress = now;
        }
        self.ready.push_back((key, now));
        if let Some(counted) = &self.counted {
            counted.added();
        }
    }

    fn add_at(&mut self, key: K, at: Instant) {
        if let Some(&earlier) = self.due.get(&key) {
            if earlier.0 <= at {
                return;
            }
            self.delayed.remove(&earlier);
        }
        self.sequence += 1;
        self.due.insert(key.clone(), (at, self.sequence));
        self.delayed.insert((at, self.sequence), key);
    }

    /// Gives back the room of a burst when it is over.
    fn stay_small(&mut self) {
        if self.ready.is_empty() {
            self.ready.shrink_to(SMALL);
            self.wanted.shrink_to(SMALL);
        }
        if self.due.is_empty() {
            self.due.shrink_to(SMALL);
        }
    }

    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry()
            && entry.key().0 <= now
        {
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key);
        }
    }
}

fn retry_delay(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.min(20)).min(LAST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Runs `queue` for `time` (paused clock) and returns `key@ms` per reconcile.
    async fn check(
        queue: &Queue<&'static str>,
        time: Duration,
        outcome: impl Fn(usize) -> Result<Next, &'static str>,
    ) -> Vec<String> {
        let (start, seen) = (Instant::now(), RefCell::new(Vec::new()));
        let shutdown = CancellationToken::new();
        let work = queue.run(2, &shutdown, |key| {
            let mut seen = seen.borrow_mut();
            seen.push(format!("{key}@{}", start.elapsed().as_millis()));
            let result = outcome(seen.len());
            async move { result }
        });
        tokio::time::timeout(time, work).await.expect_err("runs until shutdown");
        seen.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_only_once() {
        let queue = Queue::new();
        for key in ["a", "b", "a"] {
            queue.add(key);
        }
        assert_eq!(check(&queue, Duration::from_secs(1), |_| Ok(Next::Done)).await, ["a@0", "b@0"]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_and_success_resets() {
        let queue = Queue::new();
        queue.add("a");
        let seen =
            check(&queue, Duration::from_secs(1), |n| if n < 4 { Err("no") } else { Ok(Next::Done) }).await;
        assert_eq!(seen, ["a@0", "a@5", "a@15", "a@35"]);
        queue.add("a");
        let seen =
            check(&queue, Duration::from_secs(1), |n| if n < 2 { Err("no") } else { Ok(Next::Done) }).await;
        assert_eq!(seen, ["a@0", "a@5"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_leaves_no_room_behind() {
        let queue = Queue::new();
        for number in 0..10_000 {
            queue.add(number);
            queue.add_after(10_000 + number, Duration::from_millis(1));
        }
        let shutdown = CancellationToken::new();
        let work = queue.run(2, &shutdown, |_| async { Ok::<_, &str>(Next::Done) });
        tokio::time::timeout(Duration::from_secs(1), work).await.expect_err("runs until shutdown");
        let state = queue.shared.state.lock();
        let rooms = [state.ready.capacity(), state.wanted.capacity(), state.due.capacity()];
        assert!(rooms.iter().all(|room| *room <= 2 * SMALL), "{rooms:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_shortest_delay_counts() {
        let queue = Queue::new();
        for delay in [50, 20, 70] {
            queue.add_after("a", Duration::from_millis(delay));
        }
        assert_eq!(check(&queue, Duration::from_secs(1), |_| Ok(Next::Done)).await, ["a@20"]);
    }

    #[test]
    fn delays_are_capped() {
        assert_eq!(retry_delay(0), Duration::from_millis(5));
        assert_eq!(retry_delay(3), Duration::from_millis(40));
        assert_eq!(retry_delay(u32::MAX), LAST_RETRY);
    }
}
