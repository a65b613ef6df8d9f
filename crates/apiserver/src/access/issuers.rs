//! Issuers of tokens, and the groups of their users where these are served elsewhere.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};
use skiff_admission::CallError;
use skiff_auth::{TokenUser, Tokens};
use skiff_identity::UserInfo;
use skiff_jwt::{Authenticator, ClaimSource, Claims, Token, issuer_of};
use skiff_recent::Recent;
use tokio::time::Instant;

use super::signer::{Reach, Signer};
use crate::webhooks::outgoing::Outgoing;

/// So many who sign groups of an issuer's users are remembered.
const SIGNERS: usize = 64;
/// So many users whose groups were fetched are remembered, and so long, as Kubernetes remembers every token.
const USERS: usize = 4096;
const HOLDS: Duration = Duration::from_secs(10);

/// All issuers; they may be replaced.
pub(super) struct Issuers {
    known: RwLock<Arc<Vec<Arc<Issuer>>>>,
    outgoing: Arc<Outgoing>,
}

/// One issuer, its keys, and those of others who tell of its users.
struct Issuer {
    authenticator: Authenticator,
    reach: Reach,
    signer: Arc<Signer>,
    others: Recent<String, Arc<Signer>>,
    /// By the digest of their tokens, those whose groups were fetched.
    fetched: Recent<[u8; 32], (UserInfo, Instant)>,
}

impl Issuers {
    pub(super) fn new(outgoing: Arc<Outgoing>) -> Self {
        Self { known: RwLock::default(), outgoing }
    }

    /// Replaces all issuers, and asks the new ones for their keys.
    pub(super) fn set(&self, authenticators: Vec<Authenticator>) {
        let issuer = |authenticator| Arc::new(Issuer::new(authenticator, self.outgoing.clone()));
        let known: Vec<Arc<Issuer>> = authenticators.into_iter().map(issuer).collect();
        for issuer in &known {
            let issuer = issuer.clone();
            tokio::spawn(async move {
                if let Err(why) = issuer.signer.fetch(&issuer.reach).await {
                    let issuer = issuer.signer.name();
                    tracing::warn!(issuer, why, "an issuer of tokens does not tell its keys");
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
        let Some(issuer) = known.iter().find(|issuer| issuer.signer.name() == name) else {
            return Ok(None);
        };
        let user = issuer.user(token).await?;
        Ok(Some(TokenUser { user, audiences: None }))
    }
}

impl Issuer {
    fn new(authenticator: Authenticator, outgoing: Arc<Outgoing>) -> Self {
        let signer = Signer::new(authenticator.issuer.clone(), authenticator.discovery.clone());
        let reach = Reach::new(outgoing, authenticator.authority.clone());
        let (others, fetched) = (Recent::new(SIGNERS), Recent::new(USERS));
        Self { authenticator, reach, signer: Arc::new(signer), others, fetched }
    }

    async fn user(&self, text: &str) -> Result<UserInfo, String> {
        let failed = |why: String| format!("oidc: verify token: {why}");
        let token = Token::read(text).map_err(failed)?;
        let keys = self.signer.keys(&token, &self.reach).await?;
        let mut claims = self.authenticator.verify(&token, &keys, Timestamp::now()).map_err(failed)?;
        let Some(source) = self.authenticator.groups_elsewhere(&claims) else {
            return self.authenticator.user(&claims);
        };
        let digest: [u8; 32] = Sha256::digest(text).into();
        if let Some((user, _)) = self.fetched.get(&digest).filter(|(_, until)| *until > Instant::now()) {
            return Ok(user);
        }
        let taken = self.take_groups(&mut claims, &source).await;
        taken.map_err(|why| format!("oidc: could not expand distributed claims: {why}"))?;
        let user = self.authenticator.user(&claims)?;
        self.fetched.insert(digest, (user.clone(), Instant::now() + HOLDS));
        Ok(user)
    }

    /// Fetches the groups from where they are served: a token again, of whoever signs there.
    async fn take_groups(&self, claims: &mut Claims, source: &ClaimSource) -> Result<(), String> {
        let (url, claim) = (&source.url, self.authenticator.groups_claim().unwrap_or_default());
        let answer = self.reach.get(url, &source.access_token).await.map_err(|error| match error {
            CallError::Failed(why) => {
                format!("while getting distributed claim {claim:?}: Get {url:?}: {why}")
            }
            CallError::Status { code, .. } => format!(
                "while getting distributed claim {claim:?}: error while getting distributed claim JWT: {code}"
            ),
        })?;
        let answer = String::from_utf8_lossy(&answer);
        let name = issuer_of(&answer).ok_or_else(|| {
            format!("getting untrusted issuer from endpoint {url} failed for claim {claim:?}: it is no token")
        })?;
        let failed = |why: String| format!("verify distributed claim token: {why}");
        let token = Token::read(&answer).map_err(failed)?;
        let signer = self.signer_of(name);
        let keys = signer.keys(&token, &self.reach).await;
        let keys =
            keys.map_err(|why| format!("verifying untrusted issuer {} failed: {why}", signer.name()))?;
        let said = self.authenticator.verify(&token, &keys, Timestamp::now()).map_err(failed)?;
        self.authenticator.take_groups(claims, &said, url)
    }

    /// Who signs under this name.
    fn signer_of(&self, name: String) -> Arc<Signer> {
        if name == self.signer.name() {
            return self.signer.clone();
        }
        if let Some(known) = self.others.get(&name) {
            return known;
        }
        let signer = Arc::new(Signer::new(name.clone(), None));
        self.others.insert(name, signer.clone());
        signer
    }
}
