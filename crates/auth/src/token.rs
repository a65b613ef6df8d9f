//! ServiceAccount tokens: JSON Web Tokens signed with ES256. No I/O.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use skiff_identity::UserInfo;
use skiff_pki::{SignError, SigningKey, TokenKeys};
use skiff_recent::Recent;
use thiserror::Error;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) aud: Vec<String>,
    /// Seconds since 1970, as all times here.
    pub(super) exp: i64,
    pub(super) iat: i64,
    pub(super) iss: String,
    /// Identifies the token itself.
    pub(super) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(super) bound: Bound,
    pub(super) nbf: i64,
    pub(super) sub: String,
}

/// `iss` of tokens that are kept in Secrets.
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// What a token says that is kept in a Secret: it names neither an end nor audiences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LegacyClaims {
    iss: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub(super) namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub(super) secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub(super) account: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub(super) uid: String,
    pub(super) sub: String,
}

impl LegacyClaims {
    /// Of the token in a Secret of an account.
    pub(super) fn new(namespace: &str, account: &str, uid: &str, secret: &str) -> Self {
        Self {
            iss: LEGACY_ISSUER.to_owned(),
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            account: account.to_owned(),
            uid: uid.to_owned(),
            sub: UserInfo::service_account(namespace, account).name,
        }
    }

    /// Whether it is a token in a Secret, and says of one account alone.
    pub(super) fn check(&self) -> Result<(), TokenError> {
        if self.iss != LEGACY_ISSUER {
            return Err(TokenError::Issuer(self.iss.clone()));
        }
        let user = UserInfo::service_account(&self.namespace, &self.account);
        if self.sub == user.name { Ok(()) } else { Err(TokenError::Subject) }
    }
}

/// What a token of this cluster's says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Said {
    /// By a token from a TokenRequest.
    Bound(Claims),
    /// By one in a Secret.
    Legacy(LegacyClaims),
}

/// The objects whose life a token shares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bound {
    pub(super) namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<Reference>,
    pub(super) serviceaccount: Reference,
}

/// An object by name and UID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) uid: String,
}

/// Why a token proves nothing.
#[derive(Debug, Error)]
pub(super) enum TokenError {
    #[error("invalid bearer token")]
    Form,
    #[error("the token is not signed by this cluster")]
    Signature,
    #[error("the token is from {0:?}, another issuer")]
    Issuer(String),
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    Early,
    #[error("the token is for other audiences: {0:?}")]
    Audience(Vec<String>),
    #[error("sub claim is invalid")]
    Subject,
}

impl TokenError {
    /// Whether it is no token of this cluster's at all.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self, Self::Form | Self::Signature | Self::Issuer(_))
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

/// The token that says this.
pub(super) fn sign(key: &SigningKey, claims: &impl Serialize) -> Result<String, SignError> {
    let part = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
    let header = Header { alg: "ES256".to_owned(), kid: key.id().to_owned() };
    let header = serde_json::to_vec(&header).map_err(|_| SignError)?;
    let claims = serde_json::to_vec(claims).map_err(|_| SignError)?;
    let message = format!("{}.{}", part(header), part(claims));
    let signature = part(key.sign(message.as_bytes())?);
    Ok(format!("{message}.{signature}"))
}

/// What a token says, if one of the keys signed it. Says nothing about whether it still holds: see
/// [`Claims::check`].
pub(super) fn verify(keys: &TokenKeys, token: &str) -> Result<Verified, TokenError> {
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Form);
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
    let (header, claims) = message.split_once('.').ok_or(TokenError::Form)?;
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Form)?;
    // The key decides the algorithm; a token that claims another one is not ours.
    let key = keys.find(&header.kid).filter(|_| header.alg == "ES256").ok_or(TokenError::Signature)?;
    if !key.verify(message.as_bytes(), &decode(signature)?) {
        return Err(TokenError::Signature);
    }
    let said = serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::Form)?;
    Ok(Verified { said, key: header.kid })
}

/// What a token says, and by whose word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) said: Said,
    /// Identifies the key that signed it.
    key: String,
}

impl Claims {
    /// Whether the token holds now; returns those of `audiences` that it is for.
    pub(super) fn check(
        &self,
        issuer: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Result<Vec<String>, TokenError> {
        if self.iss != issuer {
            return Err(TokenError::Issuer(self.iss.clone()));
        }
        if now.as_second() >= self.exp {
            return Err(TokenError::Expired);
        }
        if now.as_second() < self.nbf {
            return Err(TokenError::Early);
        }
        let met: Vec<String> = audiences.iter().filter(|a| self.aud.contains(a)).cloned().collect();
        if met.is_empty() { Err(TokenError::Audience(self.aud.clone())) } else { Ok(met) }
    }
}

/// Tokens whose signature was found good, by digest, so that a client's requests cost one signature check
/// and not one each. Whether a token still holds is checked every time.
pub(super) struct TokenCache(Recent<[u8; 32], Arc<Verified>>);

/// So many are kept: some 2 MB.
const CACHED: usize = 2048;

impl Default for TokenCache {
    fn default() -> Self {
        Self(Recent::new(CACHED))
    }
}

impl TokenCache {
    /// As [`verify`].
    pub(super) fn verify(&self, keys: &TokenKeys, token: &str) -> Result<Arc<Verified>, TokenError> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        // A key may have been revoked since.
        if let Some(known) = self.0.get(&digest).filter(|known| keys.find(&known.key).is_some()) {
            return Ok(known);
        }
        let verified = Arc::new(verify(keys, token)?);
        self.0.insert(digest, Arc::clone(&verified));
        Ok(verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            aud: vec!["https://issuer".to_owned()],
            exp: 2000,
            iat: 1000,
            iss: "https://issuer".to_owned(),
            jti: "1".to_owned(),
            bound: Bound { namespace: "ns".to_owned(), ..Bound::default() },
            nbf: 1000,
            sub: "system:serviceaccount:ns:sa".to_owned(),
        }
    }

    #[test]
    fn tokens_survive_the_round_trip() {
        let keys = TokenKeys::ephemeral();
        let token = sign(keys.signing(), &claims()).unwrap();
        let said = Said::Bound(claims());
        assert_eq!(verify(&keys, &token).unwrap().said, said);
        let cache = TokenCache::default();
        assert_eq!(cache.verify(&keys, &token).unwrap().said, said);
        assert_eq!(cache.verify(&keys, &token).unwrap().said, said);
    }

    #[test]
    fn tokens_in_secrets_have_claims_of_their_own() {
        let keys = TokenKeys::ephemeral();
        let claims = LegacyClaims::new("ns", "sa", "u", "s");
        let token = sign(keys.signing(), &claims).unwrap();
        assert_eq!(verify(&keys, &token).unwrap().said, Said::Legacy(claims.clone()));
        assert!(claims.check().is_ok());
        assert!(
            LegacyClaims { sub: "system:serviceaccount:ns:b".to_owned(), ..claims.clone() }.check().is_err()
        );
        assert!(LegacyClaims { iss: "https://issuer".to_owned(), ..claims }.check().is_err());
    }

    #[test]
    fn tokens_are_believed_for_as_long_as_their_key_is() {
        let (first, cache) = (TokenKeys::ephemeral(), TokenCache::default());
        let second = first.succeeded();
        let old = sign(first.signing(), &claims()).unwrap();
        let new = sign(second.signing(), &claims()).unwrap();
        for token in [&old, &new] {
            assert_eq!(verify(&second, token).unwrap().said, Said::Bound(claims()));
            cache.verify(&second, token).expect("both keys are believed");
        }
        assert!(verify(&first, &new).is_err());
        // Whoever knew the old token does not believe it without its key.
        let alone = TokenKeys::ephemeral();
        assert!(cache.verify(&alone, &old).is_err());
    }

    #[test]
    fn tampering_is_noticed() {
        let keys = TokenKeys::ephemeral();
        let token = sign(keys.signing(), &claims()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let check = |token: String| assert!(verify(&keys, &token).is_err(), "{token}");
        let other =
            serde_json::to_string(&Claims { sub: "system:serviceaccount:ns:b".to_owned(), ..claims() });
        check(format!("{}.{}.{}", parts[0], encode(&other.unwrap()), parts[2]));
        let none = encode(&format!(r#"{{"alg":"none","kid":"{}"}}"#, keys.signing().id()));
        check(format!("{none}.{}.", parts[1]));
        check(format!("{none}.{}.{}", parts[1], parts[2]));
        check(format!("{}.{}.", parts[0], parts[1]));
        check(format!("{}.{}", parts[0], parts[1]));
        check(String::new());
        check(sign(&SigningKey::ephemeral(), &claims()).unwrap());
    }

    #[test]
    fn claims_hold_in_their_time_and_audience() {
        let issuer = "https://issuer".to_owned();
        let check = |issuer: &str, audience: &str, second: i64, expected: bool| {
            let now = Timestamp::from_second(second).unwrap();
            let result = claims().check(issuer, &[audience.to_owned()], now);
            assert_eq!(result.is_ok(), expected, "{issuer} {audience} {second}: {result:?}");
        };
        check(&issuer, &issuer, 1000, true);
        check(&issuer, &issuer, 1999, true);
        check(&issuer, &issuer, 2000, false);
        check(&issuer, &issuer, 999, false);
        check(&issuer, "other", 1500, false);
        check("https://other", &issuer, 1500, false);
    }
}
