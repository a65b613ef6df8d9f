//! What work queues are at, under Kubernetes' names.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use skiff_exposition::{
    Counter, Counters, Exposed, Family, Gauge, Gauges, Histogram, Histograms, Kind, Text,
};

/// In seconds.
const DURATIONS: &[f64] = &[1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0];

static ADDS: Counters<1> = Family::counters("workqueue_adds_total", "Keys that were added.", ["name"]);
static RETRIES: Counters<1> =
    Family::counters("workqueue_retries_total", "Keys that failed and are tried again.", ["name"]);
static DEPTH: Gauges<1> = Family::gauges("workqueue_depth", "Keys that wait.", ["name"]);
static WAITED: Histograms<1> =
    Family::histograms("workqueue_queue_duration_seconds", "How long keys wait.", ["name"], DURATIONS);
static WORKED: Histograms<1> = Family::histograms(
    "workqueue_work_duration_seconds",
    "How long keys are worked on.",
    ["name"],
    DURATIONS,
);

/// How long keys have been worked on: all together, and the one that takes longest. None when the queue is gone.
type Look = Box<dyn Fn() -> Option<(f64, f64)> + Send>;

static AT_WORK: Mutex<Vec<(&'static str, Look)>> = Mutex::new(Vec::new());

/// What is counted of one queue.
pub(crate) struct Counted {
    adds: Arc<Counter>,
    retries: Arc<Counter>,
    depth: Arc<Gauge>,
    waited: Arc<Histogram>,
    worked: Arc<Histogram>,
}

impl Counted {
    pub(crate) fn of(name: &str) -> Self {
        Self {
            adds: ADDS.of([name]),
            retries: RETRIES.of([name]),
            depth: DEPTH.of([name]),
            waited: WAITED.of([name]),
            worked: WORKED.of([name]),
        }
    }

    pub(crate) fn added(&self) {
        self.adds.add(1);
        self.depth.add(1);
    }

    pub(crate) fn taken(&self, waited: Duration) {
        self.depth.add(-1);
        self.waited.observe(waited.as_secs_f64());
    }

    pub(crate) fn done(&self, worked: Duration, again: bool) {
        self.worked.observe(worked.as_secs_f64());
        if again {
            self.retries.add(1);
        }
    }
}

/// Lets a scrape look at a queue.
pub(crate) fn look_at(name: &'static str, look: impl Fn() -> Option<(f64, f64)> + Send + 'static) {
    AT_WORK.lock().push((name, Box::new(look)));
}

/// What queues say of themselves, in Prometheus' text format.
pub(crate) fn text() -> String {
    let families: [&dyn Exposed; 5] = [&ADDS, &RETRIES, &DEPTH, &WAITED, &WORKED];
    let mut text = Text::default();
    let mut at_work = Vec::new();
    AT_WORK.lock().retain(|(name, look)| {
        look().is_some_and(|times| {
            at_work.push((*name, times));
            true
        })
    });
    let of = |value: fn(&(f64, f64)) -> f64| {
        at_work.iter().map(move |(name, times)| ([("name", *name)], value(times)))
    };
    let all =
        ("workqueue_unfinished_work_seconds", Kind::Gauge, "How long keys have been worked on, together.");
    text.family(all, of(|times| times.0));
    let longest =
        ("workqueue_longest_running_processor_seconds", Kind::Gauge, "How long the slowest has been.");
    text.family(longest, of(|times| times.1));
    skiff_exposition::text(&families) + &text.into_string()
}
