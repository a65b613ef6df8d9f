//! Events of `events.k8s.io`, as kube-scheduler and kube-proxy write them: what happens again goes on as a series. The second time is
//! written at once; how often it happened after that is written every half an hour, and when it has not happened for a while.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;
use tracing::debug;

use super::{About, EventType, WAITING, name_of, tell};
use crate::is_not_found;

/// A series ends when nothing of it has happened for so long.
const FINISHED: SignedDuration = SignedDuration::from_mins(6);
/// How often a series that goes on is written.
const REFRESHED: SignedDuration = SignedDuration::from_mins(30);
/// So many are known at once; what happens again after that is told anew.
const KNOWN: usize = 4096;

/// What is told.
#[derive(Clone, Debug)]
pub struct Happening {
    /// What it happened to.
    pub regarding: ObjectReference,
    /// What else has to do with it.
    pub related: Option<ObjectReference>,
    /// Ordinary progress, or a problem.
    pub kind: EventType,
    /// Why, in one word.
    pub reason: &'static str,
    /// What was done, in one word.
    pub action: &'static str,
    /// The same for people.
    pub note: String,
}

/// Writes events in the background. Cloning shares the writer; it ends with its last clone.
#[derive(Clone)]
pub struct SeriesRecorder {
    happenings: mpsc::Sender<(Happening, Timestamp)>,
}

impl SeriesRecorder {
    /// Starts a writer that reports as `controller` of this machine through `client`.
    pub fn start(client: Client, controller: &str) -> Self {
        let (happenings, waiting) = mpsc::channel(WAITING);
        let reporter = Reporter { controller: controller.to_owned(), instance: instance(controller) };
        tokio::spawn(write_all(client, reporter, waiting));
        Self { happenings }
    }

    /// Records an event; never waits. A failed write is logged, not retried.
    pub fn event(&self, happening: Happening) {
        let reason = happening.reason;
        if self.happenings.try_send((happening, Timestamp::now())).is_err() {
            debug!(reason, "event dropped: writer is behind or has ended");
        }
    }
}

/// `default-scheduler-HOST`.
fn instance(controller: &str) -> String {
    match std::fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) => format!("{controller}-{}", host.trim()),
        Err(error) => {
            debug!(%error, "the machine's name cannot be read");
            controller.to_owned()
        }
    }
}

async fn write_all(client: Client, reporter: Reporter, mut waiting: mpsc::Receiver<(Happening, Timestamp)>) {
    let mut known = Known::new(reporter);
    loop {
        let next = known.due();
        let due = async {
            match next {
                Some(at) => tokio::time::sleep(until(at)).await,
                None => std::future::pending().await,
            }
        };
        let writes = tokio::select! {
            happening = waiting.recv() => match happening {
                Some((happening, at)) => known.take(happening, at).into_iter().collect(),
                None => return,
            },
            () = due => known.sweep(Timestamp::now()),
        };
        for write in writes {
            tell(write_one(&client, write).await);
        }
    }
}

fn until(at: Timestamp) -> std::time::Duration {
    std::time::Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default()
}

async fn write_one(client: &Client, write: Write) -> kube::Result<()> {
    let api = |namespace: &str| Api::<Event>::namespaced(client.clone(), namespace);
    match write {
        Write::Create(event) => {
            let namespace = event.metadata.namespace.as_deref().unwrap_or("default");
            api(namespace).create(&PostParams::default(), &event).await.map(drop)
        }
        Write::Series { namespace, name, series, again } => {
            let patch = Patch::Strategic(json!({"series": series}));
            match (api(&namespace).patch(&name, &PatchParams::default(), &patch).await, again) {
                // It is kept for an hour only.
                (Err(error), Some(event)) if is_not_found(&error) => {
                    api(&namespace).create(&PostParams::default(), &event).await.map(drop)
                }
                (Err(error), None) if is_not_found(&error) => Ok(()),
                (other, _) => other.map(drop),
            }
        }
    }
}

/// The write that something leads to.
#[derive(Debug)]
enum Write {
    Create(Box<Event>),
    /// How the series of an event stands, and the event for when it is no longer there.
    Series {
        namespace: String,
        name: String,
        series: EventSeries,
        again: Option<Box<Event>>,
    },
}

/// Who reports.
struct Reporter {
    controller: String,
    instance: String,
}

/// What the events of a series have in common. In Kubernetes it is the version of the object instead of what is said; there the
/// scheduler writes into a pod's status what it says of it, so that what is new makes a new event as well.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: EventType,
    action: &'static str,
    reason: &'static str,
    regarding: (About, Option<String>),
    related: Option<About>,
    note: String,
}

/// An event that was written.
#[derive(Debug)]
struct Told {
    name: String,
    namespace: String,
    last: Timestamp,
    count: i32,
    /// What of it is written, and when it was.
    written: (i32, Timestamp),
}

impl Told {
    fn series(&self) -> EventSeries {
        EventSeries { count: self.count, last_observed_time: MicroTime(self.last) }
    }

    /// When it has to be looked at, if nothing happens: then it has ended, or is written again.
    fn due(&self) -> Timestamp {
        let end = self.last.saturating_add(FINISHED);
        let refresh = self.written.1.saturating_add(REFRESHED);
        let (end, refresh) = (end.unwrap_or(Timestamp::MAX), refresh.unwrap_or(Timestamp::MAX));
        if self.count > self.written.0 { end.min(refresh) } else { end }
    }
}

/// The series that go on; decides what is written, without I/O.
struct Known {
    reporter: Reporter,
    told: HashMap<Key, Told>,
    due: Option<Timestamp>,
}

impl Known {
    fn new(reporter: Reporter) -> Self {
        Self { reporter, told: HashMap::new(), due: None }
    }

    /// When something has to be looked at.
    fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// What is written of something that happened.
    fn take(&mut self, happening: Happening, now: Timestamp) -> Option<Write> {
        let key = Key {
            kind: happening.kind,
            action: happening.action,
            reason: happening.reason,
            regarding: (About::of(&happening.regarding), happening.regarding.field_path.clone()),
            related: happening.related.as_ref().map(About::of),
            note: happening.note.clone(),
        };
        let event = new_event(&self.reporter, happening, now);
        let Some(told) = self.told.get_mut(&key) else {
            self.remember(key, &event, now);
            return Some(Write::Create(Box::new(event)));
        };
        (told.count, told.last) = (told.count.saturating_add(1), now);
        if told.count > 2 {
            return None;
        }
        told.written = (told.count, now);
        let again = Event { series: Some(told.series()), ..event };
        let (namespace, name) = (told.namespace.clone(), told.name.clone());
        Some(Write::Series { namespace, name, series: told.series(), again: Some(Box::new(again)) })
    }

    fn remember(&mut self, key: Key, event: &Event, now: Timestamp) {
        if self.told.len() >= KNOWN {
            // Those that were told once and never again cost nothing.
            self.told.retain(|_, told| told.count > 1);
        }
        if self.told.len() >= KNOWN {
            self.told.clear();
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let (name, namespace) = (text(&event.metadata.name), text(&event.metadata.namespace));
        let told = Told { name, namespace, last: now, count: 1, written: (1, now) };
        self.due = Some(self.due.map_or(told.due(), |due| due.min(told.due())));
        self.told.insert(key, told);
    }

    /// What is written of series that have ended, which are forgotten, and of those that go on for long.
    fn sweep(&mut self, now: Timestamp) -> Vec<Write> {
        let mut writes = Vec::new();
        self.told.retain(|_, told| {
            let is_over = now.duration_since(told.last) >= FINISHED;
            let is_late = now.duration_since(told.written.1) >= REFRESHED;
            if told.count > told.written.0 && (is_over || is_late) {
                told.written = (told.count, now);
                let (namespace, name) = (told.namespace.clone(), told.name.clone());
                writes.push(Write::Series { namespace, name, series: told.series(), again: None });
            }
            !is_over
        });
        self.due = self.told.values().map(Told::due).min();
        writes
    }
}

fn new_event(reporter: &Reporter, happening: Happening, now: Timestamp) -> Event {
    let (name, namespace) = name_of(&happening.regarding, now);
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() },
        event_time: Some(MicroTime(now)),
        reporting_controller: Some(reporter.controller.clone()),
        reporting_instance: Some(reporter.instance.clone()),
        action: Some(happening.action.to_owned()),
        reason: Some(happening.reason.to_owned()),
        regarding: Some(happening.regarding),
        related: happening.related,
        note: Some(happening.note),
        type_: Some(happening.kind.as_str().to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn failed(pod: &str, note: &str) -> Happening {
        Happening {
            regarding: ObjectReference { name: Some(pod.to_owned()), ..ObjectReference::default() },
            related: None,
            kind: EventType::Warning,
            reason: "FailedScheduling",
            action: "Scheduling",
            note: note.to_owned(),
        }
    }

    fn known() -> Known {
        Known::new(Reporter { controller: "s".to_owned(), instance: "s-host".to_owned() })
    }

    fn show(write: Write) -> String {
        match write {
            Write::Create(event) => format!("create {}", event.note.unwrap_or_default()),
            Write::Series { name, series, again, .. } => {
                format!(
                    "{name} {}x{}",
                    series.count,
                    if again.is_some() { ", made again if need be" } else { "" }
                )
            }
        }
    }

    #[test]
    fn the_second_time_is_written_and_later_ones_are_counted() {
        let mut known = known();
        let mut told = |pod: &str, note: &str, second| known.take(failed(pod, note), at(second)).map(show);
        assert_eq!(told("a", "no room", 0).as_deref(), Some("create no room"));
        assert_eq!(told("b", "no room", 0).as_deref(), Some("create no room"));
        let second = "a.38d7ea4c68000 2x, made again if need be";
        assert_eq!(told("a", "no room", 10).as_deref(), Some(second));
        assert_eq!(told("a", "no room", 20), None);
        assert_eq!(told("a", "no claim", 20).as_deref(), Some("create no claim"));
    }

    #[test]
    fn a_series_ends_when_nothing_happens_for_six_minutes() {
        let mut known = known();
        for second in [0, 10, 20, 30] {
            known.take(failed("a", "no"), at(second));
        }
        known.take(failed("b", "no"), at(0));
        assert_eq!(known.due(), Some(at(360)));
        assert!(known.sweep(at(360)).is_empty(), "what happened once is forgotten");
        assert_eq!(known.due(), Some(at(390)));
        let writes: Vec<_> = known.sweep(at(390)).into_iter().map(show).collect();
        assert_eq!(writes, ["a.38d7ea4c68000 4x"]);
        assert_eq!(known.due(), None);
        let anew = known.take(failed("a", "no"), at(400)).map(show);
        assert_eq!(anew.as_deref(), Some("create no"));
    }

    #[test]
    fn a_series_that_goes_on_is_written_every_half_an_hour() {
        let mut known = known();
        let mut written = Vec::new();
        for second in (0..=3600).step_by(60) {
            written.extend(known.take(failed("a", "no"), at(second)).map(show));
            if known.due().is_some_and(|due| due <= at(second)) {
                written.extend(known.sweep(at(second)).into_iter().map(show));
            }
        }
        let name = "a.38d7ea4c68000";
        let second = format!("{name} 2x, made again if need be");
        assert_eq!(written[1..], [second, format!("{name} 32x")]);
    }

    #[test]
    fn events_say_who_did_what() {
        let related = ObjectReference { name: Some("other".to_owned()), ..ObjectReference::default() };
        let happening = Happening { related: Some(related.clone()), ..failed("a", "n") };
        let event = new_event(&known().reporter, happening, at(0));
        assert_eq!((event.action.as_deref(), event.related), (Some("Scheduling"), Some(related)));
        assert_eq!(event.reporting_controller.as_deref(), Some("s"));
        assert_eq!(event.reporting_instance.as_deref(), Some("s-host"));
        assert_eq!(event.event_time, Some(MicroTime(at(0))));
        assert_eq!((event.deprecated_source, event.deprecated_count), (None, None));
    }
}
