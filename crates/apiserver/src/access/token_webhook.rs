//! A server that is asked whose tokens are: TokenReview.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use skiff_auth::{TokenUser, Tokens};
use skiff_identity::UserInfo;
use skiff_recent::Recent;
use tokio::time::Instant;

use crate::webhooks::kubeconfig::Server;

/// How long an answer is waited for.
const ANSWERED: Duration = Duration::from_secs(30);
/// So many answers are kept.
const KEPT: usize = 4096;

/// A server that is asked.
pub(super) struct TokenWebhook {
    server: Server,
    version: String,
    ttl: Duration,
    /// What is known of tokens, by digests of them and their audiences.
    known: Recent<[u8; 32], (TokenUser, Instant)>,
}

impl TokenWebhook {
    pub(super) fn new(server: Server, version: String, ttl: Duration) -> Self {
        Self { server, version, ttl, known: Recent::new(KEPT) }
    }

    fn remembered(&self, digest: &[u8; 32]) -> Option<TokenUser> {
        self.known.get(digest).filter(|(_, until)| *until > Instant::now()).map(|(user, _)| user)
    }

    fn remember(&self, digest: [u8; 32], user: &TokenUser) {
        self.known.insert(digest, (user.clone(), Instant::now() + self.ttl));
    }
}

#[async_trait]
impl Tokens for TokenWebhook {
    async fn user(&self, token: &str, audiences: &[String]) -> Result<Option<TokenUser>, String> {
        let version = format!("authentication.k8s.io/{}", self.version);
        let review = json!({
            "kind": "TokenReview", "apiVersion": version, "metadata": {},
            "spec": {"token": token, "audiences": audiences}, "status": {"user": {}},
        });
        let digest: [u8; 32] = Sha256::digest(review["spec"].to_string()).into();
        if let Some(user) = self.remembered(&digest) {
            return Ok(Some(user));
        }
        let answer = self.server.ask(&review.to_string(), ANSWERED).await.map_err(|why| {
            tracing::warn!(why, "the webhook that knows tokens does not answer");
            format!("webhook: {why}")
        })?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|error| format!("webhook: {error}"))?;
        let user = told(&answer, &version, audiences)?;
        if let Some(user) = &user {
            self.remember(digest, user);
        }
        Ok(user)
    }
}

/// The user that a review tells; none if it is nobody's token.
fn told(review: &Value, version: &str, audiences: &[String]) -> Result<Option<TokenUser>, String> {
    if review["kind"] != "TokenReview" || review["apiVersion"] != version {
        return Err(format!("webhook: the answer is no TokenReview of {version}"));
    }
    let status = &review["status"];
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    if status["authenticated"] != true {
        let error = status["error"].as_str().unwrap_or_default();
        return if error.is_empty() { Ok(None) } else { Err(error.to_owned()) };
    }
    let user = &status["user"];
    let text = |field: &str| user[field].as_str().unwrap_or_default().to_owned();
    let extra = user["extra"].as_object().into_iter().flatten();
    let user = UserInfo {
        uid: text("uid"),
        extra: extra.map(|(key, values)| (key.to_lowercase(), texts(values))).collect(),
        ..UserInfo::authenticated(text("username"), texts(&user["groups"]))
    };
    // One that says nothing of audiences is of this server alone.
    let met = texts(&status["audiences"]);
    if met.is_empty() {
        return Ok(Some(TokenUser { user, audiences: None }));
    }
    let met: Vec<String> = audiences.iter().filter(|one| met.contains(one)).cloned().collect();
    if met.is_empty() {
        return Ok(None);
    }
    Ok(Some(TokenUser { user, audiences: Some(met) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_tells_a_user() {
        let version = "authentication.k8s.io/v1";
        let audiences = ["a".to_owned(), "b".to_owned()];
        let told = |status: Value| {
            told(
                &json!({"kind": "TokenReview", "apiVersion": version, "status": status}),
                version,
                &audiences,
            )
        };
        let user = json!({"username": "bob", "uid": "1", "groups": ["g"], "extra": {"K": ["v"]}});
        let known =
            told(json!({"authenticated": true, "user": user, "audiences": ["b", "c"]})).unwrap().unwrap();
        assert_eq!(known.audiences.unwrap(), ["b"]);
        assert_eq!((&*known.user.name, &*known.user.uid), ("bob", "1"));
        assert_eq!(known.user.groups, ["g", "system:authenticated"]);
        assert_eq!(known.user.extra["k"], ["v"]);
        assert_eq!(told(json!({"authenticated": true, "user": user})).unwrap().unwrap().audiences, None);
        assert_eq!(told(json!({"authenticated": true, "user": user, "audiences": ["c"]})), Ok(None));
        assert_eq!(told(json!({"authenticated": false})), Ok(None));
        assert_eq!(told(json!({"authenticated": false, "error": "no"})), Err("no".to_owned()));
    }
}
