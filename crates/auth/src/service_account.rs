//! Tokens of ServiceAccounts: those from TokenRequests, and those that are kept in Secrets.

use jiff::{SignedDuration, Timestamp};
use skiff_identity::UserInfo;
use skiff_machinery::Namespace;
use skiff_pki::SignError;

use super::access::{Identified, SecretUse};
use super::authenticate::CredentialError;
use super::live::{self, Live};
use super::token::{self, Claims, LegacyClaims, Reference, Said, TokenError};
use super::{Auth, Refusal};

/// The day on which the token in a Secret was last used.
pub const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
/// Since when the token in a Secret is not taken any more.
pub const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
/// The type of Secrets with tokens of ServiceAccounts.
const TOKEN_TYPE: &str = "kubernetes.io/service-account-token";

const GENERATED: &str = "Use tokens from the TokenRequest API or manually created secret-based tokens instead of \
    auto-generated secret-based tokens.";

/// Why a token is no ServiceAccount's.
pub(super) enum NotProved {
    /// It is none of this cluster's; others may know it.
    Foreign(CredentialError),
    /// It is one of this cluster's, and proves nothing.
    Wrong(CredentialError),
    /// That cannot be told.
    Unknown(Refusal),
}

impl From<TokenError> for NotProved {
    fn from(error: TokenError) -> Self {
        if error.is_foreign() { Self::Foreign(error.into()) } else { Self::Wrong(error.into()) }
    }
}

impl From<Refusal> for NotProved {
    fn from(refusal: Refusal) -> Self {
        Self::Unknown(refusal)
    }
}

fn wrong(text: impl Into<String>) -> NotProved {
    NotProved::Wrong(CredentialError(text.into()))
}

impl Auth {
    /// The token that a Secret of a ServiceAccount holds.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn secret_token(
        &self,
        namespace: &str,
        account: &str,
        account_uid: &str,
        secret: &str,
    ) -> Result<String, SignError> {
        let claims = LegacyClaims::new(namespace, account, account_uid, secret);
        token::sign(self.0.pki.token_keys().signing(), &claims)
    }

    /// The ServiceAccount that a token stands for, and those of `audiences` that it is meant for.
    pub(super) async fn service_account(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Identified, NotProved> {
        let now = Timestamp::now();
        match &self.0.tokens.verify(&self.0.pki.token_keys(), token)?.said {
            Said::Bound(claims) => {
                let met = claims.check(&self.0.issuer.url, audiences, now)?;
                self.check_bindings(claims, now).await?;
                Ok(Identified { audiences: met, ..Identified::from(user(claims)) })
            }
            Said::Legacy(claims) => {
                claims.check()?;
                let own = &self.0.issuer.url;
                if !audiences.contains(own) {
                    return Err(TokenError::Audience(vec![own.clone()]).into());
                }
                let known = self.of_secret(claims, token, now).await?;
                Ok(Identified { audiences: vec![own.clone()], ..known })
            }
        }
    }

    /// Whether the objects that a token is bound to are still those.
    async fn check_bindings(&self, claims: &Claims, now: Timestamp) -> Result<(), NotProved> {
        let bound = &claims.bound;
        let namespace = Namespace::new(&bound.namespace);
        self.check_object("serviceaccounts", namespace, &bound.serviceaccount, now).await?;
        if let Some(secret) = &bound.secret {
            self.check_object("secrets", namespace, secret, now).await?;
        }
        match (&bound.pod, &bound.node) {
            (Some(pod), _) => {
                let live = self.check_object("pods", namespace, pod, now).await?;
                let runs_as = live.spec.service_account_name.unwrap_or_default();
                if runs_as != bound.serviceaccount.name {
                    return Err(wrong(format!("pod {:?} runs under another ServiceAccount", pod.name)));
                }
            }
            // The node of a pod is information; a node alone is what the token is bound to.
            (None, Some(node)) => {
                self.check_object("nodes", Namespace::NONE, node, now).await?;
            }
            (None, None) => {}
        }
        Ok(())
    }

    async fn check_object(
        &self,
        resource: &str,
        namespace: Namespace<'_>,
        reference: &Reference,
        now: Timestamp,
    ) -> Result<Live, NotProved> {
        let live = live::read(&*self.0.store, resource, namespace, &reference.name).await?;
        live.filter(|live| live.metadata.uid == reference.uid && !live.is_gone(now)).ok_or_else(|| {
            wrong(format!("{resource} {:?}, which the token is bound to, is gone", reference.name))
        })
    }

    /// The user of a token in a Secret, which holds as long as Secret and account are those.
    async fn of_secret(
        &self,
        claims: &LegacyClaims,
        token: &str,
        now: Timestamp,
    ) -> Result<Identified, NotProved> {
        let LegacyClaims { namespace, secret: name, account, uid, .. } = claims;
        let place = Namespace::new(namespace);
        let secret = live::read(&*self.0.store, "secrets", place, name).await?;
        let Some(secret) = secret.filter(|secret| secret.kind == TOKEN_TYPE && !secret.is_deleted()) else {
            return Err(wrong("service account token has been invalidated"));
        };
        if secret.text("token").as_deref() != Some(token) {
            return Err(wrong("service account token does not match server's copy"));
        }
        let found = live::read(&*self.0.store, "serviceaccounts", place, account).await?;
        let Some(found) = found.filter(|found| !found.is_deleted()) else {
            return Err(wrong(format!("service account {namespace}/{account} has been deleted")));
        };
        if found.metadata.uid != *uid {
            let is = &found.metadata.uid;
            return Err(wrong(format!("service account UID ({is}) does not match claim ({uid})")));
        }
        self.note_use(claims, &secret, now);
        if secret.metadata.labels.get(INVALID_SINCE).is_some_and(|since| !since.is_empty()) {
            return Err(wrong(format!(
                "the token in secret {namespace}/{name} for service account {namespace}/{account} has been marked \
                 invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the \
                 '{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
            )));
        }
        let is_generated = found.secrets.iter().any(|reference| reference.name == *name);
        Ok(told_of(claims, is_generated))
    }

    /// Has the day written down, unless it is.
    fn note_use(&self, claims: &LegacyClaims, secret: &Live, now: Timestamp) {
        let Some(uses) = &self.0.access.uses else { return };
        let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
        let (today, tomorrow) = (day(now), day(now + SignedDuration::from_hours(24)));
        let noted = secret.metadata.labels.get(LAST_USED);
        // Another server's clock may be ahead.
        if noted.is_some_and(|noted| *noted == today || *noted == tomorrow) {
            return;
        }
        let used = SecretUse {
            namespace: claims.namespace.clone(),
            name: claims.secret.clone(),
            uid: secret.metadata.uid.clone(),
            day: today,
        };
        // Where many wait to be noted, the next use of this one is.
        uses.try_send(used).ok();
    }
}

fn told_of(claims: &LegacyClaims, is_generated: bool) -> Identified {
    let mut user = UserInfo::service_account(&claims.namespace, &claims.account);
    user.uid = claims.uid.clone();
    let kind = if is_generated {
        "authentication.k8s.io/legacy-token-autogenerated-secret"
    } else {
        "authentication.k8s.io/legacy-token-manual-secret"
    };
    Identified {
        annotations: vec![
            ("authentication.k8s.io/legacy-token", user.name.clone()),
            (kind, claims.secret.clone()),
        ],
        warnings: is_generated.then(|| GENERATED.to_owned()).into_iter().collect(),
        user,
        ..Identified::default()
    }
}

/// The user that verified claims name.
fn user(claims: &Claims) -> UserInfo {
    const PREFIX: &str = "authentication.kubernetes.io";
    let bound = &claims.bound;
    let mut user = UserInfo::service_account(&bound.namespace, &bound.serviceaccount.name);
    user.uid = bound.serviceaccount.uid.clone();
    let mut add = |key: &str, value: String| user.extra.insert(format!("{PREFIX}/{key}"), vec![value]);
    add("credential-id", format!("JTI={}", claims.jti));
    if let Some(pod) = &bound.pod {
        add("pod-name", pod.name.clone());
        add("pod-uid", pod.uid.clone());
    }
    if let Some(node) = &bound.node {
        add("node-name", node.name.clone());
        add("node-uid", node.uid.clone());
    }
    user
}
