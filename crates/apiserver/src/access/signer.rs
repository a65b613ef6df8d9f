//! Who signs tokens: the keys are fetched when the first token comes at the latest, and again when a token is signed by a key that is
//! not known.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use serde::Deserialize;
use skiff_admission::{CallError, ClientConfig, Target};
use skiff_jwt::{Keys, Token, discovery_url};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::webhooks::outgoing::{Outgoing, Peer};
use crate::webhooks::user::Shown;

/// How long a server has for an answer.
const ANSWERED: Duration = Duration::from_secs(10);
/// A signer is asked again after this at the earliest, whatever tokens come.
const PAUSE: Duration = Duration::from_secs(1);
/// The largest answer, in bytes.
const MOST: usize = 1024 * 1024;

/// How the servers of an issuer are reached.
pub(super) struct Reach {
    outgoing: Arc<Outgoing>,
    /// Who signs their certificates, in PEM; empty: whom the system trusts.
    authority: String,
}

impl Reach {
    pub(super) fn new(outgoing: Arc<Outgoing>, authority: String) -> Self {
        Self { outgoing, authority }
    }

    /// Reads what is at a URL, with a bearer token if there is one.
    pub(super) async fn get(&self, url: &str, token: &str) -> Result<Bytes, CallError> {
        let client = ClientConfig {
            target: Target::Url(url.to_owned()),
            ca_bundle: self.authority.clone().into_bytes(),
        };
        let shown = Shown::bearer(token).map_err(CallError::Failed)?;
        self.outgoing.get(&Peer::of(&client, &shown), url, ANSWERED, MOST).await
    }
}

/// One who signs, by the name that tokens have as `iss`.
pub(super) struct Signer {
    name: String,
    /// Where it tells of itself.
    discovery: String,
    keys: RwLock<Arc<Keys>>,
    /// Held by the one who asks.
    asked: Mutex<Asked>,
}

/// What is known of asking.
#[derive(Default)]
struct Asked {
    jwks_uri: Option<String>,
    last: Option<Instant>,
    failed: Option<String>,
}

/// What a signer tells of itself.
#[derive(Deserialize)]
struct Discovered {
    #[serde(default)]
    issuer: String,
    #[serde(default)]
    jwks_uri: String,
}

impl Signer {
    /// One that tells of itself where it says, or below its name.
    pub(super) fn new(name: String, discovery: Option<String>) -> Self {
        let discovery = discovery.unwrap_or_else(|| discovery_url(&name));
        Self { name, discovery, keys: RwLock::default(), asked: Mutex::default() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The keys that may have signed a token.
    pub(super) async fn keys(&self, token: &Token, reach: &Reach) -> Result<Arc<Keys>, String> {
        let keys = self.keys.read().clone();
        if keys.have_signed(token) {
            return Ok(keys);
        }
        let what =
            if keys.is_empty() { "oidc: authenticator not initialized" } else { "oidc: fetching keys" };
        self.fetch(reach).await.map_err(|why| format!("{what}: {why}"))?;
        Ok(self.keys.read().clone())
    }

    /// Fetches the keys, unless that was done just now.
    pub(super) async fn fetch(&self, reach: &Reach) -> Result<(), String> {
        let mut asked = self.asked.lock().await;
        if asked.last.is_some_and(|last| last.elapsed() < PAUSE) {
            return asked.failed.clone().map_or(Ok(()), Err);
        }
        let fetched = self.ask(&mut asked, reach).await;
        asked.last = Some(Instant::now());
        asked.failed = fetched.as_ref().err().cloned();
        fetched.map(|keys| *self.keys.write() = Arc::new(keys))
    }

    async fn ask(&self, asked: &mut Asked, reach: &Reach) -> Result<Keys, String> {
        let uri = match &asked.jwks_uri {
            Some(known) => known.clone(),
            None => {
                let uri = self.discover(reach).await?;
                asked.jwks_uri = Some(uri.clone());
                uri
            }
        };
        let served = reach.get(&uri, "").await.map_err(|error| unanswered(&uri, &error))?;
        Keys::read(&served).map_err(|why| format!("oidc: failed to decode keys: {why}"))
    }

    /// Where the keys are.
    async fn discover(&self, reach: &Reach) -> Result<String, String> {
        let answer = reach.get(&self.discovery, "").await;
        let answer = answer.map_err(|error| unanswered(&self.discovery, &error))?;
        let told: Discovered = serde_json::from_slice(&answer)
            .map_err(|error| format!("oidc: failed to decode provider discovery object: {error}"))?;
        if told.issuer != self.name {
            let (wanted, got) = (&self.name, &told.issuer);
            return Err(format!(
                "oidc: issuer did not match the issuer returned by provider, expected {wanted:?} got {got:?}"
            ));
        }
        if !told.jwks_uri.starts_with("https://") {
            return Err(format!("oidc: the keys are served at {:?}, which is no https URL", told.jwks_uri));
        }
        Ok(told.jwks_uri)
    }
}

fn unanswered(url: &str, error: &CallError) -> String {
    match error {
        CallError::Failed(why) => format!("Get {url:?}: {why}"),
        CallError::Status { code, body, .. } => {
            format!("Get {url:?}: {code}: {}", String::from_utf8_lossy(&body[..body.len().min(256)]))
        }
    }
}
