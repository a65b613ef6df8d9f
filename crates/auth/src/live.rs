//! Objects as authentication reads them: fresh from the store, and only the fields that matter.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use skiff_machinery::{Namespace, keys};
use skiff_store::{Key, Store};

use super::Refusal;

/// An object that tokens may be bound to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Live {
    pub(super) metadata: LiveMetadata,
    pub(super) spec: LiveSpec,
    /// Of Secrets.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Of Secrets: in base64.
    pub(super) data: BTreeMap<String, Option<String>>,
    /// Of ServiceAccounts: the Secrets that it refers to.
    pub(super) secrets: Vec<LiveReference>,
}

/// An object that another one refers to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LiveReference {
    pub(super) name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LiveMetadata {
    pub(super) uid: String,
    pub(super) labels: BTreeMap<String, String>,
    deletion_timestamp: Option<Timestamp>,
}

/// Of pods; empty for other kinds.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LiveSpec {
    pub(super) node_name: Option<String>,
    pub(super) service_account_name: Option<String>,
}

/// How long a token outlives the deletion of its object: the time in which what still runs may finish.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

impl Live {
    /// Whether the object is to be gone.
    pub(super) fn is_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// What a Secret holds under a key, if that is text.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let bytes = STANDARD.decode(self.data.get(key)?.as_deref()?).ok()?;
        String::from_utf8(bytes).ok()
    }

    /// Whether the object was to be gone a while ago.
    pub(super) fn is_gone(&self, now: Timestamp) -> bool {
        self.metadata.deletion_timestamp.is_some_and(|deleted| deleted < now - LEEWAY)
    }
}

/// Reads an object of the core group; cluster-scoped without a namespace.
pub(super) async fn read(
    store: &dyn Store,
    resource: &str,
    namespace: Namespace<'_>,
    name: &str,
) -> Result<Option<Live>, Refusal> {
    let key: Key = keys::core(resource, namespace, name);
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Refusal::Internal {
        what: key.to_string(),
        source,
    };
    let Some(entry) = store.get(&key).await.map_err(|error| failed(error.into()))? else { return Ok(None) };
    serde_json::from_slice(&entry.value.bytes()).map(Some).map_err(|error| failed(error.into()))
}
