//! Writes down when tokens in Secrets were used.

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
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
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &used.namespace);
    let patch = json!({"metadata": {"uid": used.uid, "labels": {LAST_USED: used.day}}});
    if let Err(error) = secrets.patch(&used.name, &PatchParams::default(), &Patch::Merge(patch)).await {
        let (namespace, name) = (&used.namespace, &used.name);
        tracing::warn!(namespace, name, %error, "the use of a token in a secret could not be noted");
    }
}
