//! What becomes known of objects that cannot be decoded: a line in the log, an Event at the object, a number in the metrics;
//! each once for an object at a revision, however many watches of the process meet it.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::LazyLock;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::core::ApiResource;
use parking_lot::Mutex;
use skiff_exposition::{Kind, Text};
use tracing::warn;

use crate::{EventType, ObjectKey, Recorder, Unreadable};

/// How many objects at their revisions are remembered; beyond them the one told of first may be told of again.
const REMEMBERED: usize = 1024;

/// Who says so, in Events.
const COMPONENT: &str = "skiff-informer";

/// What this process has told. Several parts of it watch the same kinds, through clients of their own.
static TOLD: LazyLock<Mutex<Told>> = LazyLock::new(Mutex::default);

#[derive(Debug, Default)]
struct Told {
    known: HashSet<Identity>,
    order: VecDeque<Identity>,
    /// By kind, as in `apiVersion/Kind`.
    counts: BTreeMap<String, u64>,
    recorder: Option<Writer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    kind: String,
    key: ObjectKey,
    uid: Option<String>,
    revision: Option<String>,
}

/// Writes the Events, with the client of the watch that met the first such object. Bounded by its own queue and by how
/// often it writes of one object.
struct Writer(Recorder);

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

/// Names a kind.
#[derive(Clone, Debug)]
pub(crate) struct KindName {
    api_version: String,
    kind: String,
}

impl KindName {
    pub(crate) fn of(kind: &ApiResource) -> Self {
        Self { api_version: kind.api_version.clone(), kind: kind.kind.clone() }
    }
}

impl std::fmt::Display for KindName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.api_version, self.kind)
    }
}

/// Tells of an object, unless that was done.
pub(crate) fn tell(client: &Client, kind: &KindName, object: &Unreadable) {
    let Unreadable { meta, why } = object;
    let key = ObjectKey::of(meta);
    let identity = Identity {
        kind: kind.to_string(),
        key: key.clone(),
        uid: meta.uid.clone(),
        revision: meta.resource_version.clone(),
    };
    let mut told = TOLD.lock();
    if !told.is_new(identity) {
        return;
    }
    warn!(%kind, object = %key, why, "an object is left out: it cannot be decoded");
    let reference = ObjectReference {
        api_version: Some(kind.api_version.clone()),
        kind: Some(kind.kind.clone()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    };
    let writer = told.recorder.get_or_insert_with(|| Writer(Recorder::start(client.clone(), COMPONENT, "")));
    let message = format!("The cluster leaves this object out: it cannot be decoded: {why}");
    writer.0.event(reference, EventType::Warning, "CannotDecode", message);
}

impl Told {
    /// Remembers and counts an object at a revision; false if that was done before.
    fn is_new(&mut self, identity: Identity) -> bool {
        if !self.known.insert(identity.clone()) {
            return false;
        }
        *self.counts.entry(identity.kind.clone()).or_default() += 1;
        self.order.push_back(identity);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    fn render(&self) -> String {
        let mut text = Text::default();
        let help = "Objects, at their revisions, that a watch could not decode.";
        let counts = self.counts.iter().map(|(kind, count)| ([("kind", kind.as_str())], *count));
        text.family(("skiff_informer_unreadable_objects_total", Kind::Counter, help), counts);
        text.into_string()
    }
}

/// How many objects could not be decoded, by kind, and what work queues are at, in Prometheus' text format.
pub fn metrics() -> String {
    TOLD.lock().render() + &crate::numbers::text()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use k8s_openapi::api::core::v1::{Event, ReplicationController};
    use kube::client::Body;
    use kube::core::ObjectMeta;
    use tokio::sync::mpsc;

    use super::*;

    fn identity(name: &str, revision: u64) -> Identity {
        Identity {
            kind: "v1/Pod".to_owned(),
            key: ObjectKey::new("n", name),
            uid: None,
            revision: Some(revision.to_string()),
        }
    }

    #[test]
    fn each_revision_counts_once() {
        let mut told = Told::default();
        assert!(told.is_new(identity("a", 1)));
        assert!(!told.is_new(identity("a", 1)));
        assert!(told.is_new(identity("a", 2)) && told.is_new(identity("b", 2)));
        let line = "skiff_informer_unreadable_objects_total{kind=\"v1/Pod\"} 3";
        assert!(told.render().lines().any(|l| l == line), "{}", told.render());
        assert!((0..2 * REMEMBERED as u64).all(|revision| told.is_new(identity("c", revision))));
        assert_eq!((told.known.len(), told.order.len()), (REMEMBERED, REMEMBERED));
    }

    /// A client whose server takes every Event and hands its body to the test.
    fn client() -> (Client, mpsc::Receiver<Event>) {
        let (events, received) = mpsc::channel(4);
        let service = tower::service_fn(move |request: Request<Body>| {
            let events = events.clone();
            async move {
                let body = request.into_body().collect_bytes().await.unwrap();
                events.send(serde_json::from_slice(&body).unwrap()).await.unwrap();
                Ok::<_, Infallible>(Response::new(Body::from(body.to_vec())))
            }
        });
        (Client::new(service, "default"), received)
    }

    #[tokio::test]
    async fn an_event_is_written_at_the_object() {
        let (client, mut events) = client();
        let unreadable = |revision: &str| Unreadable {
            meta: ObjectMeta {
                name: Some("bad".into()),
                namespace: Some("n".into()),
                uid: Some("u".into()),
                resource_version: Some(revision.into()),
                ..ObjectMeta::default()
            },
            why: "no number".into(),
        };
        for revision in ["1", "1"] {
            tell(
                &client,
                &KindName::of(&ApiResource::erase::<ReplicationController>(&())),
                &unreadable(revision),
            );
        }
        let event = events.recv().await.unwrap();
        let about = event.involved_object;
        assert_eq!(
            [about.kind, about.namespace, about.name, about.uid].map(Option::unwrap),
            ["ReplicationController", "n", "bad", "u"]
        );
        assert_eq!(
            (event.reason.as_deref(), event.type_.as_deref()),
            (Some("CannotDecode"), Some("Warning"))
        );
        assert!(event.message.unwrap().ends_with("no number"));
        let line = "skiff_informer_unreadable_objects_total{kind=\"v1/ReplicationController\"} 1";
        assert!(metrics().lines().any(|l| l == line), "{}", metrics());
    }
}
