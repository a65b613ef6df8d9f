//! Issuers of tokens: their keys are fetched when the first token comes at the latest, and again when a token is signed by a key
//! that is not known.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::RwLock;
use serde::Deserialize;
use skiff_admission::{CallError, ClientConfig, Target};
use skiff_auth::{TokenUser, Tokens};
use skiff_jwt::{Authenticator, Keys, Token, issuer_of};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::webhooks::outgoing::Outgoing;

/// How long an issuer has for an answer.
const ANSWERED: Duration = Duration::from_secs(10);
/// An issuer is asked again after this at the earliest, whatever tokens come.
const PAUSE: Duration = Duration::from_secs(1);
/// The largest answer of an issuer, in bytes.
const MOST: usize = 1024 * 1024;

/// All issuers; they may be replaced.
pub(super) struct Issuers {
    known: RwLock<Arc<Vec<Arc<Issuer>>>>,
    outgoing: Arc<Outgoing>,
}

/// One issuer and its keys.
struct Issuer {
    authenticator: Authenticator,
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

/// What an issuer tells of itself.
#[derive(Deserialize)]
struct Discovered {
    #[serde(default)]
    issuer: String,
    #[serde(default)]
    jwks_uri: String,
}

impl Issuers {
    pub(super) fn new(outgoing: Arc<Outgoing>) -> Self {
        Self { known: RwLock::default(), outgoing }
    }

    /// Replaces all issuers, and asks the new ones for their keys.
    pub(super) fn set(&self, authenticators: Vec<Authenticator>) {
        let known: Vec<Arc<Issuer>> = authenticators.into_iter().map(Issuer::new).map(Arc::new).collect();
        for issuer in &known {
            let (issuer, outgoing) = (issuer.clone(), self.outgoing.clone());
            tokio::spawn(async move {
                if let Err(why) = issuer.fetch(&outgoing).await {
                    tracing::warn!(
                        issuer = issuer.authenticator.issuer,
                        why,
                        "an issuer of tokens does not tell its keys"
                    );
                }
            });
        }
        *self.known.write() = Arc::new(known);
    }
}

#[async_trait]
impl Tokens for Issuers {
    async fn user(&self, token: &str, _: &[String]) -> Result<Option<TokenUser>, String> {
        let Some(name) = issuer_of(token) else { return Ok(None) };
        let known = self.known.read().clone();
        let Some(issuer) = known.iter().find(|issuer| issuer.authenticator.issuer == name) else {
            return Ok(None);
        };
        let token = Token::read(token).map_err(|why| format!("oidc: verify token: {why}"))?;
        let user = issuer.user(&token, &self.outgoing).await?;
        Ok(Some(TokenUser { user, audiences: None }))
    }
}

impl Issuer {
    fn new(authenticator: Authenticator) -> Self {
        Self { authenticator, keys: RwLock::default(), asked: Mutex::default() }
    }

    async fn user(&self, token: &Token, outgoing: &Outgoing) -> Result<skiff_identity::UserInfo, String> {
        let keys = self.keys.read().clone();
        if !keys.have_signed(token) {
            let failed = |why: String| {
                let what = if keys.is_empty() {
                    "oidc: authenticator not initialized"
                } else {
                    "oidc: fetching keys"
                };
                format!("{what}: {why}")
            };
            self.fetch(outgoing).await.map_err(failed)?;
        }
        let keys = self.keys.read().clone();
        self.authenticator.user(token, &keys, Timestamp::now())
    }

    /// Fetches the keys, unless that was done just now.
    async fn fetch(&self, outgoing: &Outgoing) -> Result<(), String> {
        let mut asked = self.asked.lock().await;
        if asked.last.is_some_and(|last| last.elapsed() < PAUSE) {
            return asked.failed.clone().map_or(Ok(()), Err);
        }
        let fetched = self.ask(&mut asked, outgoing).await;
        asked.last = Some(Instant::now());
        asked.failed = fetched.as_ref().err().cloned();
        fetched.map(|keys| *self.keys.write() = Arc::new(keys))
    }

    async fn ask(&self, asked: &mut Asked, outgoing: &Outgoing) -> Result<Keys, String> {
        let uri = match &asked.jwks_uri {
            Some(known) => known.clone(),
            None => {
                let uri = self.discover(outgoing).await?;
                asked.jwks_uri = Some(uri.clone());
                uri
            }
        };
        let served = self.get(&uri, outgoing).await?;
        Keys::read(&served).map_err(|why| format!("oidc: failed to decode keys: {why}"))
    }

    /// Where the keys are.
    async fn discover(&self, outgoing: &Outgoing) -> Result<String, String> {
        let answer = self.get(&self.authenticator.discovery_url(), outgoing).await?;
        let told: Discovered = serde_json::from_slice(&answer)
            .map_err(|error| format!("oidc: failed to decode provider discovery object: {error}"))?;
        let wanted = &self.authenticator.issuer;
        if told.issuer != *wanted {
            let got = &told.issuer;
            return Err(format!(
                "oidc: issuer did not match the issuer returned by provider, expected {wanted:?} got {got:?}"
            ));
        }
        if !told.jwks_uri.starts_with("https://") {
            return Err(format!("oidc: the keys are served at {:?}, which is no https URL", told.jwks_uri));
        }
        Ok(told.jwks_uri)
    }

    async fn get(&self, url: &str, outgoing: &Outgoing) -> Result<Bytes, String> {
        let client = ClientConfig {
            target: Target::Url(url.to_owned()),
            ca_bundle: self.authenticator.authority.clone().into_bytes(),
        };
        let answer = outgoing.get(&client, url, ANSWERED, MOST).await;
        answer.map_err(|error| match error {
            CallError::Failed(why) => format!("Get {url:?}: {why}"),
            CallError::Status { code, body, .. } => {
                format!("Get {url:?}: {code}: {}", String::from_utf8_lossy(&body[..body.len().min(256)]))
            }
        })
    }
}
