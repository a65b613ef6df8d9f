//! From credentials to a user.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, HeaderName, PROXY_AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use skiff_identity::{PeerIdentity, UserInfo};
use skiff_machinery::Namespace;
use thiserror::Error;

use super::live::{self, Live};
use super::token::{Claims, Reference, TokenError};
use super::{Auth, Refusal, front_proxy};

/// Why a request has no user.
#[derive(Debug, Error)]
pub enum AuthnError {
    /// 401: there are credentials, and they prove nothing. The reason is for the log, not for the caller.
    #[error("Unauthorized")]
    Unauthorized(#[source] CredentialError),
    /// The caller may not act as the user that it names, or the check itself failed.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What is wrong with credentials.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct CredentialError(pub(super) String);

impl From<TokenError> for CredentialError {
    fn from(error: TokenError) -> Self {
        Self(error.to_string())
    }
}

/// Browsers cannot set headers on a WebSocket: the token comes as a subprotocol of this prefix.
const SUBPROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

impl Auth {
    /// Whose credentials a request came with: those of the client certificate, or for whom the front proxy vouches whose it is, else
    /// of the bearer token, else `system:anonymous`.
    ///
    /// # Errors
    /// See [`AuthnError`]. No credentials at all are no error.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: Option<&PeerIdentity>,
    ) -> Result<UserInfo, AuthnError> {
        Ok(match (peer, bearer_token(headers)) {
            (Some(peer), token) if peer.is_front_proxy => match (front_proxy::user(peer, headers), token) {
                (Ok(user), _) => user,
                (Err(_), Some(token)) => self.bearer(&token).await?,
                (Err(error), None) => return Err(AuthnError::Unauthorized(error)),
            },
            (Some(peer), _) => peer.user(),
            (None, Some(token)) => self.bearer(&token).await?,
            (None, None) => UserInfo::anonymous(),
        })
    }

    async fn bearer(&self, token: &str) -> Result<UserInfo, AuthnError> {
        Ok(self.service_account(token, std::slice::from_ref(&self.0.issuer.url)).await?.0)
    }

    /// The ServiceAccount that a token stands for, and those of `audiences` that it is meant for.
    pub(super) async fn service_account(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<(UserInfo, Vec<String>), AuthnError> {
        let now = Timestamp::now();
        let unauthorized = |error: TokenError| AuthnError::Unauthorized(error.into());
        let claims = self.0.tokens.verify(self.0.pki.service_account_key(), token).map_err(unauthorized)?;
        let met = claims.check(&self.0.issuer.url, audiences, now).map_err(unauthorized)?;
        self.check_bindings(&claims, now).await?;
        Ok((user(&claims), met))
    }

    /// Whether the objects that a token is bound to are still those.
    async fn check_bindings(&self, claims: &Claims, now: Timestamp) -> Result<(), AuthnError> {
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
                    let text = format!("pod {:?} runs under another ServiceAccount", pod.name);
                    return Err(AuthnError::Unauthorized(CredentialError(text)));
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
    ) -> Result<Live, AuthnError> {
        let live = live::read(&*self.0.store, resource, namespace, &reference.name).await?;
        live.filter(|live| live.metadata.uid == reference.uid && !live.is_gone(now)).ok_or_else(|| {
            let text = format!("{resource} {:?}, which the token is bound to, is gone", reference.name);
            AuthnError::Unauthorized(CredentialError(text))
        })
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

/// The token of `Authorization: Bearer …` or of a WebSocket subprotocol.
#[cfg_attr(not(debug_assertions), expect(unreachable_pub, reason = "fuzz targets call it"))]
pub fn bearer_token(headers: &HeaderMap) -> Option<String> {
    let header = |name: HeaderName| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let bearer = header(AUTHORIZATION).find_map(|value| {
        let (scheme, token) = value.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    let subprotocols = || header(SEC_WEBSOCKET_PROTOCOL).flat_map(|value| value.split(',')).map(str::trim);
    let offered = || {
        let encoded = subprotocols().find_map(|protocol| protocol.strip_prefix(SUBPROTOCOL))?;
        String::from_utf8(URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?).ok()
    };
    bearer.or_else(offered).filter(|token| !token.is_empty())
}

/// Takes what proves who the caller is out of the headers of a request that goes on to somebody else: tokens, also
/// those in subprotocols, and what says on whose behalf.
pub fn strip_credentials(headers: &mut HeaderMap) {
    let ours = |name: &&HeaderName| {
        **name == AUTHORIZATION
            || **name == PROXY_AUTHORIZATION
            || ["impersonate-", "x-remote-"].iter().any(|prefix| name.as_str().starts_with(prefix))
    };
    let names: Vec<HeaderName> = headers.keys().filter(ours).cloned().collect();
    names.into_iter().for_each(|name| drop(headers.remove(name)));
    let offered: Vec<HeaderValue> = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().cloned().collect();
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    let kept = offered.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let kept: Vec<&str> = kept
        .map(str::trim)
        .filter(|protocol| !protocol.is_empty() && !protocol.starts_with(SUBPROTOCOL))
        .collect();
    if let Some(kept) = HeaderValue::from_str(&kept.join(", ")).ok().filter(|kept| !kept.is_empty()) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_no_further() {
        let mut headers = HeaderMap::new();
        let token = format!("{SUBPROTOCOL}{}", URL_SAFE_NO_PAD.encode("abc"));
        for (name, value) in [
            ("authorization", "Bearer abc"),
            ("proxy-authorization", "Basic abc"),
            ("impersonate-user", "admin"),
            ("impersonate-extra-a", "b"),
            ("x-remote-user", "admin"),
            ("cookie", "a=b"),
            ("sec-websocket-protocol", &format!("{token}, chat")),
            ("sec-websocket-protocol", &format!("more,{token}")),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        strip_credentials(&mut headers);
        let mut left: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(left, ["cookie: a=b", "sec-websocket-protocol: chat, more"]);
        let mut alone = HeaderMap::new();
        alone.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(&token).unwrap());
        strip_credentials(&mut alone);
        assert!(alone.is_empty());
    }

    #[test]
    fn tokens_are_found() {
        let check = |name: HeaderName, value: &str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            assert_eq!(bearer_token(&headers).as_deref(), expected, "{value}");
        };
        check(AUTHORIZATION, "Bearer abc", Some("abc"));
        check(AUTHORIZATION, "bearer  abc ", Some("abc"));
        check(AUTHORIZATION, "Bearer ", None);
        check(AUTHORIZATION, "Basic abc", None);
        let offered = format!("v4.channel.k8s.io, {SUBPROTOCOL}{}", URL_SAFE_NO_PAD.encode("abc"));
        check(SEC_WEBSOCKET_PROTOCOL, &offered, Some("abc"));
        check(SEC_WEBSOCKET_PROTOCOL, "v4.channel.k8s.io", None);
    }
}
