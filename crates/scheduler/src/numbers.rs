//! What the scheduler does, under Kubernetes' names.

use std::sync::Weak;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use skiff_exposition::{Counters, Exposed, Family, Histograms, Kind, Text};

use crate::cluster::Cluster;

/// In seconds.
const ATTEMPTS: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384,
];
const ALGORITHM: &[f64] = ATTEMPTS;
/// Pods.
const VICTIMS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

static ATTEMPTED: Counters<2> = Family::counters(
    "scheduler_schedule_attempts_total",
    "Attempts to find a node for a pod.",
    ["result", "profile"],
);
static TOOK: Histograms<2> = Family::histograms(
    "scheduler_scheduling_attempt_duration_seconds",
    "Time from the decision about a pod until it is written.",
    ["result", "profile"],
    ATTEMPTS,
);
static DECIDED: Histograms<0> = Family::histograms(
    "scheduler_scheduling_algorithm_duration_seconds",
    "Time for the decision about a pod.",
    [],
    ALGORITHM,
);
static PREEMPTIONS: Counters<0> =
    Family::counters("scheduler_preemption_attempts_total", "Attempts to make room for a pod.", []);
static VICTIMS_OF: Histograms<0> =
    Family::histograms("scheduler_preemption_victims", "Pods that go to make room for one.", [], VICTIMS);

/// The scheduler that runs.
static CLUSTER: Mutex<Weak<parking_lot::Mutex<Cluster>>> = Mutex::new(Weak::new());

/// How many pods wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// For their turn.
    pub(crate) active: usize,
    /// For others to come first, since they failed.
    pub(crate) backoff: usize,
    /// For a change that could help.
    pub(crate) unschedulable: usize,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attempt {
    Scheduled,
    Unschedulable,
    Error,
}

/// Lets scrapes look at a scheduler.
pub(crate) fn look_at(cluster: &std::sync::Arc<Mutex<Cluster>>) {
    *CLUSTER.lock() = std::sync::Arc::downgrade(cluster);
}

/// Counts an attempt for a pod of a profile.
pub(crate) fn attempt(attempt: Attempt, profile: &str, since: Instant) {
    let result = match attempt {
        Attempt::Scheduled => "scheduled",
        Attempt::Unschedulable => "unschedulable",
        Attempt::Error => "error",
    };
    ATTEMPTED.of([result, profile]).add(1);
    TOOK.of([result, profile]).observe(since.elapsed().as_secs_f64());
}

/// Counts a decision.
pub(crate) fn decided(took: Duration) {
    DECIDED.of([]).observe(took.as_secs_f64());
}

/// Room is to be made where so many pods go.
pub(crate) fn preempts(victims: usize) {
    PREEMPTIONS.of([]).add(1);
    VICTIMS_OF.of([]).observe(f64::from(u32::try_from(victims).unwrap_or(u32::MAX)));
}

/// What the scheduler does, in Prometheus' text format.
pub fn metrics() -> String {
    let families: [&dyn Exposed; 5] = [&ATTEMPTED, &TOOK, &DECIDED, &PREEMPTIONS, &VICTIMS_OF];
    let mut text = Text::default();
    let cluster = CLUSTER.lock().upgrade();
    if let Some(pending) = cluster.map(|cluster| cluster.lock().pending()) {
        let Pending { active, backoff, unschedulable } = pending;
        let queues = [("active", active), ("backoff", backoff), ("unschedulable", unschedulable)];
        let samples = queues.map(|(queue, count)| ([("queue", queue)], count));
        text.family(("scheduler_pending_pods", Kind::Gauge, "Pods that wait for a node."), samples);
    }
    skiff_exposition::text(&families) + &text.into_string()
}
