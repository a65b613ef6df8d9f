//! Records Events about objects: those of the core group ([`Recorder`]), counted when repeated, combined when alike, dropped when a
//! flood; and those of `events.k8s.io` ([`SeriesRecorder`]), which go on as series. Which part of Kubernetes writes which is told by
//! its recorder.

mod bounded;
mod correlator;
mod series;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, ObjectReference};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tracing::debug;

use crate::{is_namespace_terminating, is_not_found};
use correlator::{Correlator, Write};
pub use series::{Happening, SeriesRecorder};

/// Drafts that wait to be written; more are dropped, for events must never slow a controller down.
const WAITING: usize = 512;

/// Whether an event tells of ordinary progress or of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Ordinary progress.
    Normal,
    /// Something went wrong.
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

#[derive(Clone, Debug)]
struct Draft {
    object: ObjectReference,
    kind: EventType,
    reason: &'static str,
    message: String,
    at: Timestamp,
}

/// Writes events in the background. Cloning shares the writer; it ends with its last clone.
#[derive(Clone)]
pub struct Recorder {
    drafts: mpsc::Sender<Draft>,
}

impl Recorder {
    /// Starts a writer that reports as `component` (on `host`, empty for the control plane) through `client`.
    pub fn start(client: Client, component: &str, host: &str) -> Self {
        let (drafts, waiting) = mpsc::channel(WAITING);
        tokio::spawn(write_events(
            client,
            Source { component: component.into(), host: host.into() },
            waiting,
        ));
        Self { drafts }
    }

    /// Records an event about `object`; never waits. A failed write is logged, not retried.
    pub fn event(&self, object: ObjectReference, kind: EventType, reason: &'static str, message: String) {
        let draft = Draft { object, kind, reason, message, at: Timestamp::now() };
        if self.drafts.try_send(draft).is_err() {
            debug!(reason, "event dropped: writer is behind or has ended");
        }
    }
}

#[derive(Clone)]
struct Source {
    component: String,
    host: String,
}

async fn write_events(client: Client, source: Source, mut drafts: mpsc::Receiver<Draft>) {
    let mut correlator = Correlator::new(source);
    while let Some(draft) = drafts.recv().await {
        let Some(write) = correlator.correlate(draft) else { continue };
        tell(write_one(&client, write).await);
    }
}

/// Logs what became of a write: that an event is missing stops nobody.
fn tell(written: kube::Result<()>) {
    match written {
        Err(error) if is_namespace_terminating(&error) => debug!("event dropped: namespace is terminating"),
        Err(error) => debug!(%error, "event not written"),
        Ok(()) => {}
    }
}

async fn write_one(client: &Client, write: Write) -> kube::Result<()> {
    let (Write::Create(event) | Write::Count(event)) = &write;
    let api =
        Api::<Event>::namespaced(client.clone(), event.metadata.namespace.as_deref().unwrap_or("default"));
    if let Write::Count(event) = &write {
        let patch = serde_json::json!({
            "count": event.count, "lastTimestamp": event.last_timestamp, "message": event.message,
        });
        let name = event.metadata.name.as_deref().unwrap_or("");
        match api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Err(error) if is_not_found(&error) => {}
            other => return other.map(drop),
        }
    }
    api.create(&PostParams::default(), event).await.map(drop)
}

/// The name of an event about an object, unique by its time, and where it is kept.
fn name_of(about: &ObjectReference, at: Timestamp) -> (String, String) {
    let name = about.name.as_deref().unwrap_or("unknown");
    let namespace = about.namespace.clone().filter(|namespace| !namespace.is_empty());
    (format!("{name}.{:x}", at.as_nanosecond()), namespace.unwrap_or_else(|| "default".to_owned()))
}

/// Which object an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct About {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
}

impl About {
    fn of(object: &ObjectReference) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Self {
            api_version: text(&object.api_version),
            kind: text(&object.kind),
            namespace: text(&object.namespace),
            name: text(&object.name),
            uid: text(&object.uid),
        }
    }
}
