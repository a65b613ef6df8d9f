//! Records core/v1 Events about objects: counted when repeated, combined when alike, dropped when a flood.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tracing::debug;

use crate::{is_namespace_terminating, is_not_found};

/// Drafts that wait to be written; more are dropped, for events must never slow a controller down.
const WAITING: usize = 512;
/// Distinct events remembered for counting.
const REMEMBERED: usize = 256;
/// From this many different messages within [`ALIKE_WINDOW`] on, alike events are combined into one.
const ALIKE_LIMIT: usize = 10;
const ALIKE_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// Events about one object that may come at once; afterwards one each [`REFILL`].
const BURST: f64 = 25.0;
const REFILL: SignedDuration = SignedDuration::from_mins(5);

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
        match write_one(&client, write).await {
            Err(error) if is_namespace_terminating(&error) => {
                debug!("event dropped: namespace is terminating")
            }
            Err(error) => debug!(%error, "event not written"),
            Ok(()) => {}
        }
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

/// The write an event leads to.
#[derive(Debug)]
enum Write {
    Create(Box<Event>),
    /// The same event happened again: raise the count of the one written before (create it if it has expired).
    Count(Box<Event>),
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct AlikeKey {
    uid: String,
    namespace: String,
    name: String,
    object_kind: String,
    field_path: String,
    kind: EventType,
    reason: &'static str,
}

#[derive(Default)]
struct Alike {
    messages: VecDeque<String>,
    last: Timestamp,
}

struct Allowance {
    tokens: f64,
    at: Timestamp,
}

/// Decides, without I/O, what becomes of each event.
struct Correlator {
    source: Source,
    alike: Bounded<AlikeKey, Alike>,
    written: Bounded<(AlikeKey, String), Event>,
    allowances: Bounded<(String, String, String), Allowance>,
}

impl Correlator {
    fn new(source: Source) -> Self {
        Self { source, alike: Bounded::new(), written: Bounded::new(), allowances: Bounded::new() }
    }

    fn correlate(&mut self, mut draft: Draft) -> Option<Write> {
        let alike_key = alike_key(&draft);
        let combined = self.combines(&alike_key, &draft);
        if combined {
            draft.message = format!("(combined from similar events): {}", draft.message);
        }
        if !self.allowed(&alike_key, draft.at) {
            return None;
        }
        let identity = (alike_key, if combined { String::new() } else { draft.message.clone() });
        if let Some(event) = self.written.get(&identity) {
            event.count = event.count.map(|count| count.saturating_add(1));
            event.last_timestamp = Some(Time(draft.at));
            event.message = Some(draft.message);
            return Some(Write::Count(Box::new(event.clone())));
        }
        let event = new_event(&self.source, draft);
        self.written.insert(identity, event.clone());
        Some(Write::Create(Box::new(event)))
    }

    fn combines(&mut self, key: &AlikeKey, draft: &Draft) -> bool {
        let alike = self.alike.get_or_default(key);
        if draft.at.duration_since(alike.last) > ALIKE_WINDOW {
            alike.messages.clear();
        }
        alike.last = draft.at;
        if !alike.messages.contains(&draft.message) {
            alike.messages.push_back(draft.message.clone());
            alike.messages.truncate(ALIKE_LIMIT);
        }
        alike.messages.len() >= ALIKE_LIMIT
    }

    fn allowed(&mut self, key: &AlikeKey, now: Timestamp) -> bool {
        let object = (key.object_kind.clone(), key.namespace.clone(), format!("{}/{}", key.name, key.uid));
        if self.allowances.get(&object).is_none() {
            self.allowances.insert(object.clone(), Allowance { tokens: BURST, at: now });
        }
        let Some(allowance) = self.allowances.get(&object) else { return true };
        let refilled = now.duration_since(allowance.at).as_secs_f64() / REFILL.as_secs_f64();
        allowance.tokens = (allowance.tokens + refilled.max(0.0)).min(BURST);
        allowance.at = now;
        let allowed = allowance.tokens >= 1.0;
        allowance.tokens -= f64::from(u8::from(allowed));
        allowed
    }
}

fn alike_key(draft: &Draft) -> AlikeKey {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    AlikeKey {
        uid: text(&draft.object.uid),
        namespace: text(&draft.object.namespace),
        name: text(&draft.object.name),
        object_kind: text(&draft.object.kind),
        field_path: text(&draft.object.field_path),
        kind: draft.kind,
        reason: draft.reason,
    }
}

fn new_event(source: &Source, draft: Draft) -> Event {
    let object_name = draft.object.name.as_deref().unwrap_or("unknown");
    let namespace = draft.object.namespace.clone().filter(|ns| !ns.is_empty());
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{object_name}.{:x}", draft.at.as_nanosecond())),
            namespace: Some(namespace.unwrap_or_else(|| "default".into())),
            ..ObjectMeta::default()
        },
        involved_object: draft.object,
        type_: Some(draft.kind.as_str().into()),
        reason: Some(draft.reason.into()),
        message: Some(draft.message),
        count: Some(1),
        first_timestamp: Some(Time(draft.at)),
        last_timestamp: Some(Time(draft.at)),
        source: Some(EventSource {
            component: Some(source.component.clone()),
            host: Some(source.host.clone()).filter(|host| !host.is_empty()),
        }),
        reporting_component: Some(source.component.clone()),
        reporting_instance: Some(source.host.clone()),
        ..Event::default()
    }
}

/// A map that forgets its oldest entries beyond [`REMEMBERED`].
struct Bounded<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + std::hash::Hash, V> Bounded<K, V> {
    fn new() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }

    fn get(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    fn insert(&mut self, key: K, value: V) {
        if self.entries.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    fn get_or_default(&mut self, key: &K) -> &mut V
    where
        V: Default,
    {
        if !self.entries.contains_key(key) {
            self.insert(key.clone(), V::default());
        }
        self.entries.entry(key.clone()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(object: &str, message: &str, second: i64) -> Draft {
        Draft {
            object: ObjectReference {
                name: Some(object.into()),
                uid: Some("u".into()),
                ..Default::default()
            },
            kind: EventType::Normal,
            reason: "Tested",
            message: message.into(),
            at: Timestamp::from_second(1_000_000 + second).unwrap(),
        }
    }

    fn check(drafts: impl IntoIterator<Item = Draft>) -> Vec<String> {
        let mut correlator = Correlator::new(Source { component: "test".into(), host: String::new() });
        let show = |write| match write {
            None => "dropped".into(),
            Some(Write::Create(event)) => format!("create {}", event.message.unwrap()),
            Some(Write::Count(event)) => format!("{}x {}", event.count.unwrap(), event.message.unwrap()),
        };
        drafts.into_iter().map(|draft| show(correlator.correlate(draft))).collect()
    }

    #[test]
    fn repeats_are_counted() {
        let drafts = [draft("a", "m", 0), draft("a", "m", 1), draft("b", "m", 2), draft("a", "m", 3)];
        assert_eq!(check(drafts), ["create m", "2x m", "create m", "3x m"]);
    }

    #[test]
    fn many_messages_are_combined() {
        let writes = check((0..12).map(|n| draft("a", &n.to_string(), 0)));
        assert_eq!(writes[8], "create 8");
        assert_eq!(writes[9], "create (combined from similar events): 9");
        assert_eq!(writes[11], "3x (combined from similar events): 11");
    }

    #[test]
    fn floods_are_dropped_until_the_allowance_refills() {
        let mut drafts: Vec<_> = (0..26).map(|_| draft("a", "m", 0)).collect();
        drafts.push(draft("a", "m", 300));
        let writes = check(drafts);
        assert_eq!(&writes[24..], ["25x m", "dropped", "26x m"]);
    }

    #[test]
    fn the_name_is_unique_by_time() {
        let source = Source { component: "test".into(), host: String::new() };
        let event = new_event(&source, draft("a", "m", 0));
        assert_eq!(event.metadata.name.as_deref(), Some("a.38d7ea4c68000"));
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
    }
}
