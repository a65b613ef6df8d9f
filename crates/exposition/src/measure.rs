//! The numbers themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::text::{Kind, Text};

/// One number, or those of a histogram.
pub trait Measure: Send + Sync + 'static {
    /// What it is to Prometheus.
    const KIND: Kind;

    /// One with nothing in it.
    fn new(bounds: &'static [f64]) -> Self;

    /// Appends its lines.
    fn write(&self, text: &mut Text, name: &str, labels: &str);
}

/// What only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }
}

impl Measure for Counter {
    const KIND: Kind = Kind::Counter;

    fn new(_: &'static [f64]) -> Self {
        Self::default()
    }

    fn write(&self, text: &mut Text, name: &str, labels: &str) {
        text.sample(name, labels, self.0.load(Ordering::Relaxed));
    }
}

/// What goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds, or takes away.
    pub fn add(&self, number: i64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// Replaces the number.
    pub fn set(&self, number: i64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// Adds for as long as what is returned lives.
    pub fn hold(self: &Arc<Self>, number: i64) -> Held {
        self.add(number);
        Held { gauge: Arc::clone(self), number }
    }
}

impl Measure for Gauge {
    const KIND: Kind = Kind::Gauge;

    fn new(_: &'static [f64]) -> Self {
        Self::default()
    }

    fn write(&self, text: &mut Text, name: &str, labels: &str) {
        text.sample(name, labels, self.0.load(Ordering::Relaxed));
    }
}

/// Counts in a gauge while it lives.
#[derive(Debug)]
#[must_use = "what is dropped at once counts for nothing"]
pub struct Held {
    gauge: Arc<Gauge>,
    number: i64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.add(-self.number);
    }
}

/// How often what was measured lay between which bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// Each value once: in the first bucket whose bound it does not exceed, or the last.
    counts: Box<[AtomicU64]>,
    /// Bits of an f64.
    sum: AtomicU64,
}

impl Histogram {
    /// Counts a value.
    pub fn observe(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let add = |sum| Some((f64::from_bits(sum) + value).to_bits());
        // It never gives none.
        self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok();
    }
}

impl Measure for Histogram {
    const KIND: Kind = Kind::Histogram;

    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0.0_f64.to_bits()) }
    }

    fn write(&self, text: &mut Text, name: &str, labels: &str) {
        let mut so_far = 0;
        let comma = if labels.is_empty() { "" } else { "," };
        let bounds = self.bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&self.counts) {
            so_far += count.load(Ordering::Relaxed);
            text.sample(&format!("{name}_bucket"), &format!("{labels}{comma}le=\"{bound}\""), so_far);
        }
        text.sample(&format!("{name}_sum"), labels, f64::from_bits(self.sum.load(Ordering::Relaxed)));
        text.sample(&format!("{name}_count"), labels, so_far);
    }
}
