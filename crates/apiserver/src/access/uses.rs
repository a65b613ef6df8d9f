//! Writes down when tokens in Secrets were used.

use http::Request;
use http::header::CONTENT_TYPE;
use kube::Client;
use serde_json::{Value, json};
use skiff_auth::{LAST_USED, SecretUse};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// So many uses wait to be written down.
pub(super) const WAITING: usize = 256;

/// Writes them down, one after the other, until the shutdown.
pub(crate) fn keep(client: Client, mut uses: mpsc::Receiver<SecretUse>, shutdown: CancellationToken) {
    tokio::spawn(async move {
        while let Some(Some(used)) = shutdown.run_until_cancelled(uses.recv()).await {
            note(&client, &used).await;
        }
    });
}

async fn note(client: &Client, used: &SecretUse) {
    let (namespace, name) = (&used.namespace, &used.name);
    let patch = json!({"metadata": {"uid": used.uid, "labels": {LAST_USED: used.day}}});
    let request = Request::patch(format!("/api/v1/namespaces/{namespace}/secrets/{name}"))
        .header(CONTENT_TYPE, "application/merge-patch+json")
        .body(patch.to_string().into_bytes());
    let written = match request {
        Ok(request) => client.request::<Value>(request).await,
        Err(error) => Err(kube::Error::HttpError(error)),
    };
    if let Err(error) = written {
        tracing::warn!(namespace, name, %error, "the use of a token in a secret could not be noted");
    }
}
