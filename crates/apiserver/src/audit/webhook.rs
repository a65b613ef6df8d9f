//! Events sent to a server, in lists, as kube-apiserver sends them: gathered for a while, and sent again when that fails.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::json;
use skiff_audit::Event;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::options::{AuditError, WebhookConfig};
use super::sink::{FLUSHED, Sink};
use crate::webhooks::kubeconfig::Server;

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
    pub(super) async fn start(config: WebhookConfig) -> Result<Self, AuditError> {
        let file = config.kubeconfig.clone();
        let server = Server::read(config.kubeconfig).await;
        let server = server.map_err(|why| AuditError::Webhook { file, why })?;
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

    fn flush(&self) -> BoxFuture<'_, ()> {
        let (done, is_done) = oneshot::channel();
        let waits = self.0.try_send(Message::Flush(done)).is_ok();
        async move {
            if waits {
                tokio::time::timeout(FLUSHED, is_done).await.ok();
            }
        }
        .boxed()
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
        let why = match tokio::time::timeout(ANSWERED, server.post(list.to_string())).await {
            Ok(Ok(_)) => return,
            Ok(Err(why)) => why,
            Err(_) => "context deadline exceeded".to_owned(),
        };
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
