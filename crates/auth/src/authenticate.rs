//! From credentials to a user.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, HeaderName, PROXY_AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use skiff_identity::{PeerIdentity, UserInfo};
use thiserror::Error;

use super::access::{Identified, TokenUser};
use super::service_account::NotProved;
use super::token::TokenError;
use super::{Auth, Refusal, bootstrap, front_proxy};

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
    /// Whose credentials a request for a path came with: those of the client certificate, or for whom the front proxy vouches whose
    /// it is, else of the bearer token, else `system:anonymous`. A client certificate that has expired meanwhile proves nothing.
    ///
    /// # Errors
    /// See [`AuthnError`]. No credentials at all are no error, unless nobody may come without.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: Option<&PeerIdentity>,
        path: &str,
    ) -> Result<Identified, AuthnError> {
        // TLS verifies a certificate once for each connection, and not again for a session that is taken up again.
        if peer.is_some_and(|peer| peer.end < Timestamp::now().as_second()) {
            let text = "x509: certificate has expired".to_owned();
            return Err(AuthnError::Unauthorized(CredentialError(text)));
        }
        let own = std::slice::from_ref(&self.0.issuer.url);
        Ok(match (peer, bearer_token(headers)) {
            (Some(peer), token) if peer.is_front_proxy => match (front_proxy::user(peer, headers), token) {
                (Ok(user), _) => user.into(),
                (Err(_), Some(token)) => self.token_user(&token, own).await?,
                (Err(error), None) => return Err(AuthnError::Unauthorized(error)),
            },
            (Some(peer), _) => peer.user().into(),
            (None, Some(token)) => self.token_user(&token, own).await?,
            (None, None) if self.0.anonymous.read().allows(path) => UserInfo::anonymous().into(),
            (None, None) => {
                let text = "there are no credentials, and nobody may come without".to_owned();
                return Err(AuthnError::Unauthorized(CredentialError(text)));
            }
        })
    }

    /// Whose a token is, and those of `audiences` that it is meant for.
    pub(super) async fn token_user(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Identified, AuthnError> {
        let foreign = match self.service_account(token, audiences).await {
            Ok(found) => return Ok(found),
            Err(NotProved::Foreign(error)) => error,
            Err(NotProved::Wrong(error)) => return Err(AuthnError::Unauthorized(error)),
            Err(NotProved::Unknown(refusal)) => return Err(refusal.into()),
        };
        if self.0.access.bootstrap_tokens
            && let Some(user) = bootstrap::user(&*self.0.store, token).await?
        {
            return self.for_own_audience(user, audiences);
        }
        let mut reasons = Vec::new();
        for other in &self.0.access.tokens {
            match other.user(token, audiences).await {
                Ok(Some(TokenUser { user, audiences: Some(met) })) => {
                    return Ok(Identified { audiences: met, ..Identified::from(user) });
                }
                Ok(Some(TokenUser { user, audiences: None })) => {
                    return self.for_own_audience(user, audiences);
                }
                Ok(None) => {}
                Err(why) => reasons.push(why),
            }
        }
        Err(AuthnError::Unauthorized(match reasons.as_slice() {
            [] => foreign,
            [one] => CredentialError(one.clone()),
            many => CredentialError(format!("[{}]", many.join(", "))),
        }))
    }

    /// Whoever knows nothing of audiences vouches for users of this server alone.
    fn for_own_audience(&self, user: UserInfo, audiences: &[String]) -> Result<Identified, AuthnError> {
        let own = &self.0.issuer.url;
        if !audiences.contains(own) {
            let text =
                format!("unable to validate the token for the audiences {audiences:?}: it is for {own:?}");
            return Err(AuthnError::Unauthorized(CredentialError(text)));
        }
        Ok(Identified { audiences: vec![own.clone()], ..Identified::from(user) })
    }
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
