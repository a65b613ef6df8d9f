//! What the loops of a program are at, so that one which is stuck can be named. Nothing runs for this: it is found out from
//! what the loops note anyway, when somebody asks.

use std::fmt::Display;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use crate::{Cache, Queue};

/// What takes longer than this is stuck: a request to the API ends within a minute, and no piece of work makes more than a few.
pub const STUCK_AFTER: Duration = Duration::from_secs(180);

type Look<T> = Box<dyn Fn(T) -> Option<String> + Send + Sync>;

/// The loops and caches of one part of a program. Clones are the same list.
#[derive(Clone, Default)]
pub struct Vitals(Arc<Lists>);

#[derive(Default)]
struct Lists {
    /// Each says why it is stuck, if it is.
    loops: RwLock<Vec<(&'static str, Look<Instant>)>>,
    /// Each says what it lacks, until it has been filled.
    fills: RwLock<Vec<(&'static str, Look<()>)>>,
}

impl Vitals {
    /// Adds a loop; `stuck` says at the time it is given why it is stuck, if it is.
    pub fn watch(
        &self,
        name: &'static str,
        stuck: impl Fn(Instant) -> Option<String> + Send + Sync + 'static,
    ) {
        self.0.loops.write().push((name, Box::new(stuck)));
    }

    /// Adds something that is filled once; `filled` says whether it is.
    pub fn fill(&self, name: &'static str, filled: impl Fn() -> bool + Send + Sync + 'static) {
        let lacking = move |()| (!filled()).then(|| "has not been listed yet".to_owned());
        self.0.fills.write().push((name, Box::new(lacking)));
    }

    /// A work queue that is watched under a name.
    pub fn queue<K>(&self, name: &'static str) -> Queue<K>
    where
        K: Clone + Eq + Hash + Display + Send + Sync + 'static,
    {
        let queue = Queue::named(name);
        let watched = queue.clone();
        self.watch(name, move |now| watched.stuck(now));
        queue
    }

    /// Adds a cache that has to be filled.
    pub fn cache<T: Send + Sync + 'static>(&self, name: &'static str, cache: &Cache<T>) {
        let cache = cache.clone();
        self.fill(name, move || cache.is_synced());
    }

    /// Whether no loop is stuck; the error names those that are.
    pub fn alive(&self) -> Result<(), String> {
        let now = Instant::now();
        told(self.0.loops.read().iter().filter_map(|(name, stuck)| Some((*name, stuck(now)?))))
    }

    /// Whether everything has been filled; the error names what has not.
    pub fn synced(&self) -> Result<(), String> {
        told(self.0.fills.read().iter().filter_map(|(name, lacking)| Some((*name, lacking(())?))))
    }
}

fn told(problems: impl Iterator<Item = (&'static str, String)>) -> Result<(), String> {
    let problems: Vec<String> = problems.map(|(name, why)| format!("{name} {why}")).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

/// Where a loop is that handles one thing after the other and waits for the next. Clones are the same loop.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Mutex<Option<Instant>>>);

/// While this lives, its loop is at work.
#[derive(Debug)]
pub struct Beat<'a>(&'a Pulse);

impl Pulse {
    /// The loop begins to handle something.
    pub fn beat(&self) -> Beat<'_> {
        *self.0.lock() = Some(Instant::now());
        Beat(self)
    }

    /// Why the loop is stuck at `now`, if it is.
    pub fn stuck(&self, now: Instant) -> Option<String> {
        overdue(*self.0.lock(), now)
    }
}

impl Drop for Beat<'_> {
    fn drop(&mut self) {
        *self.0.0.lock() = None;
    }
}

/// Why work that began at `since` is stuck at `now`, if it is.
pub fn overdue(since: Option<Instant>, now: Instant) -> Option<String> {
    let elapsed = now.saturating_duration_since(since?);
    (elapsed > STUCK_AFTER).then(|| format!("has been at one piece of work for {} s", elapsed.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Next;
    use tokio_util::sync::CancellationToken;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_takes_too_long_is_named() {
        let (vitals, pulse) = (Vitals::default(), Pulse::default());
        let watched = pulse.clone();
        vitals.watch("loop", move |now| watched.stuck(now));
        tokio::time::advance(STUCK_AFTER * 2).await;
        assert_eq!(vitals.alive(), Ok(()), "it waits");
        let beat = pulse.beat();
        tokio::time::advance(STUCK_AFTER).await;
        assert_eq!(vitals.alive(), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(vitals.alive(), Err("loop has been at one piece of work for 181 s".into()));
        drop(beat);
        assert_eq!(vitals.alive(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_names_the_key_that_hangs() {
        let (vitals, shutdown) = (Vitals::default(), CancellationToken::new());
        let queue = vitals.queue::<&'static str>("controller");
        let work = queue.run(2, &shutdown, |key| async move {
            if key == "hangs" {
                std::future::pending::<()>().await;
            }
            Ok::<_, &str>(Next::Done)
        });
        queue.add("hangs");
        queue.add("fine");
        tokio::time::timeout(STUCK_AFTER * 2, work).await.unwrap_err();
        assert_eq!(vitals.alive(), Err("controller has been at hangs for 360 s".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_nobody_works_on_says_so() {
        let vitals = Vitals::default();
        let queue = vitals.queue::<&'static str>("controller");
        tokio::time::advance(STUCK_AFTER * 2).await;
        assert_eq!(vitals.alive(), Ok(()), "an empty queue waits");
        queue.add("a");
        tokio::time::advance(STUCK_AFTER + Duration::from_secs(1)).await;
        queue.add("b");
        assert_eq!(vitals.alive(), Err("controller has taken none of its 2 keys for 181 s".into()));
    }

    #[tokio::test]
    async fn a_cache_counts_once_it_was_listed() {
        let vitals = Vitals::default();
        let cache = Cache::<()>::new();
        vitals.cache("pods", &cache);
        assert_eq!(vitals.synced(), Err("pods has not been listed yet".into()));
        let events = [kube::runtime::watcher::Event::Init, kube::runtime::watcher::Event::InitDone];
        let events = futures::stream::iter(events.into_iter().map(Ok));
        cache.follow::<k8s_openapi::api::core::v1::Pod>(events, |_| None).await;
        assert_eq!(vitals.synced(), Ok(()));
    }
}
