//! Events sent to a server, in lists, as kube-apiserver sends them: gathered for a while, and sent again when that fails.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use skiff_audit::Event;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::options::{AuditError, WebhookConfig};
use super::sink::Sink;
use crate::webhooks::kubeconfig::Server;
use crate::webhooks::outgoing::Outgoing;

/// So many events wait to be sent.
const WAITING: usize = 10_000;
/// So many are sent at once.
const TOGETHER: usize = 400;
/// How soon a list that could not be sent is sent again; half as long again each time.
const FIRST: Duration = Duration::from_secs(10);
/// How often it is tried.
const TRIES: usize = 5;
/// How long an answer is waited for.
const ANSWERED: Duration = Duration::from_secs(30);

/// What the task is told.
enum Message {
    Event(Box<Event>),
    /// To answer when everything before has been sent, or could not be.
    Flush(oneshot::Sender<()>),
}

/// Hands events to the task that sends them.
pub(super) struct Webhook(mpsc::Sender<Message>);

impl Webhook {
    /// Reads the kubeconfig, so that what is wrong with it is told at once.
    pub(super) fn start(config: WebhookConfig, outgoing: &Arc<Outgoing>) -> Result<Self, AuditError> {
        let server = Server::read(&config.kubeconfig, outgoing);
        let server = server.map_err(|why| AuditError::Webhook { file: config.kubeconfig, why })?;
        let (events, waiting) = mpsc::channel(WAITING);
        tokio::spawn(send_all(server, waiting, config.wait));
        Ok(Self(events))
    }
}

impl Sink for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn write(&self, event: &Event) -> bool {
        self.0.try_send(Message::Event(Box::new(event.clone()))).is_ok()
    }

    fn tell(&self, written: oneshot::Sender<()>) -> bool {
        self.0.try_send(Message::Flush(written)).is_ok()
    }
}

/// Sends lists until nobody can write any more.
async fn send_all(server: Server, mut waiting: mpsc::Receiver<Message>, wait: Duration) {
    while let Some(first) = waiting.recv().await {
        let (events, flush) = gather(first, &mut waiting, wait).await;
        if !events.is_empty() {
            send(&server, &events).await;
        }
        if let Some(done) = flush {
            done.send(()).ok();
        }
    }
}

/// What comes within a while of the first message, and who waits for it to be sent.
async fn gather(
    first: Message,
    waiting: &mut mpsc::Receiver<Message>,
    wait: Duration,
) -> (Vec<Event>, Option<oneshot::Sender<()>>) {
    let (mut events, until) = (Vec::new(), Instant::now() + wait);
    let mut message = Some(first);
    loop {
        match message {
            Some(Message::Event(event)) => events.push(*event),
            Some(Message::Flush(done)) => return (events, Some(done)),
            None => return (events, None),
        }
        if events.len() >= TOGETHER {
            return (events, None);
        }
        message = timeout_at(until, waiting.recv()).await.unwrap_or_default();
    }
}

async fn send(server: &Server, events: &[Event]) {
    let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events});
    let mut pause = FIRST;
    for left in (0..TRIES).rev() {
        let Err(why) = server.post(list.to_string(), ANSWERED).await else { return };
        if left == 0 {
            return tracing::error!(
                why,
                events = events.len(),
                "events are lost: the audit webhook takes none"
            );
        }
        tracing::warn!(why, events = events.len(), "the audit webhook takes no events; they are sent again");
        sleep(pause).await;
        pause = pause * 3 / 2;
    }
}
