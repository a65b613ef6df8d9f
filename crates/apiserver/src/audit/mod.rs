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

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join_all;
use skiff_audit::{Asked, Event, Extent, Level, Policy};
use skiff_exposition::{Kind, Text};

pub use options::{AuditConfig, AuditError, AuditOptions};

use log::Log;
use sink::Sink;
use webhook::Webhook;

use crate::webhooks::outgoing::Outgoing;

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
    pub(crate) fn start(config: AuditConfig, outgoing: &Arc<Outgoing>) -> Result<Arc<Self>, AuditError> {
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        if let Some(log) = config.log {
            sinks.push(Box::new(Log::start(log)?));
        }
        if let Some(hook) = config.webhook {
            sinks.push(Box::new(Webhook::start(hook, outgoing)?));
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
        let mut text = Text::default();
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let events = ("apiserver_audit_event_total", Kind::Counter, "Events that were written down.");
        text.family(events, [([] as [(&str, &str); 0], count(&self.events))]);
        let levels = LEVELS.into_iter().zip(&self.levels);
        let levels = levels.map(|(level, number)| ([("level", level.as_str())], count(number)));
        let family =
            ("apiserver_audit_level_total", Kind::Counter, "Requests by how much of them is written down.");
        text.family(family, levels);
        let lost = self.sinks.iter().map(|(sink, lost)| ([("plugin", sink.name())], count(lost)));
        let family = ("apiserver_audit_error_total", Kind::Counter, "Events that could not be written.");
        text.family(family, lost);
        text.into_string()
    }
}

/// In the order of their counters.
const LEVELS: [Level; 4] = [Level::None, Level::Metadata, Level::Request, Level::RequestResponse];
