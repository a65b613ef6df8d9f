//! Requests, written down: what [`skiff_audit`] decides, carried out. A [`trail::Trail`] goes with each request; its events go to a
//! file ([`log`]) and to a webhook ([`webhook`]).
//!
//! Writers have threads and tasks of their own with bounded queues, so that a disk or a webhook that is slow delays nobody. What does
//! not fit is lost, and counted: `apiserver_audit_error_total`.

mod log;
mod options;
mod sink;
pub(crate) mod trail;
mod webhook;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join_all;
use skiff_audit::{Asked, Event, Extent, Level, Policy};

pub use options::{AuditConfig, AuditError, AuditOptions};

use log::Log;
use sink::Sink;
use webhook::Webhook;

/// What is written down, and where.
pub(crate) struct Audit {
    policy: Policy,
    sinks: Vec<(Box<dyn Sink>, AtomicU64)>,
    events: AtomicU64,
    levels: [AtomicU64; 4],
}

impl Audit {
    /// Starts the writers.
    ///
    /// # Errors
    /// When one cannot be.
    pub(crate) async fn start(config: AuditConfig) -> Result<Arc<Self>, AuditError> {
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        if let Some(log) = config.log {
            sinks.push(Box::new(Log::start(log)?));
        }
        if let Some(hook) = config.webhook {
            sinks.push(Box::new(Webhook::start(hook).await?));
        }
        let sinks = sinks.into_iter().map(|sink| (sink, AtomicU64::default())).collect();
        let (policy, events, levels) = (config.policy, AtomicU64::default(), Default::default());
        Ok(Arc::new(Self { policy, sinks, events, levels }))
    }

    fn decide(&self, asked: &Asked<'_>) -> Extent {
        let extent = self.policy.decide(asked);
        self.levels[extent.level as usize].fetch_add(1, Ordering::Relaxed);
        extent
    }

    fn write(&self, event: &Event) {
        self.events.fetch_add(1, Ordering::Relaxed);
        for (sink, lost) in &self.sinks {
            if !sink.write(event) {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until everything has been written.
    pub(crate) async fn flush(&self) {
        join_all(self.sinks.iter().map(|(sink, _)| sink::flush(&**sink))).await;
    }

    /// What `/metrics` says of it.
    pub(crate) fn metrics(&self) -> String {
        let mut out = String::new();
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        out.push_str("# TYPE apiserver_audit_event_total counter\n");
        writeln!(out, "apiserver_audit_event_total {}", count(&self.events)).ok();
        out.push_str("# TYPE apiserver_audit_level_total counter\n");
        for (level, number) in LEVELS.into_iter().zip(&self.levels) {
            writeln!(out, "apiserver_audit_level_total{{level={:?}}} {}", level.as_str(), count(number)).ok();
        }
        out.push_str("# TYPE apiserver_audit_error_total counter\n");
        for (sink, lost) in &self.sinks {
            writeln!(out, "apiserver_audit_error_total{{plugin={:?}}} {}", sink.name(), count(lost)).ok();
        }
        out
    }
}

/// In the order of their counters.
const LEVELS: [Level; 4] = [Level::None, Level::Metadata, Level::Request, Level::RequestResponse];
