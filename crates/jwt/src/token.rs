//! A token taken apart.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

/// So far clocks may be apart where a token is not valid yet.
const LEEWAY: SignedDuration = SignedDuration::from_mins(1);

/// A token; nothing that it says is proved.
#[derive(Clone, Debug)]
pub struct Token {
    /// `alg`
    pub algorithm: String,
    /// `kid`; empty if it is not said.
    pub key_id: String,
    /// What is signed.
    pub(crate) message: String,
    pub(crate) signature: Vec<u8>,
    /// What it says.
    pub(crate) claims: Map<String, Value>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
    /// Extensions that must be understood; none is.
    #[serde(default)]
    crit: Vec<String>,
}

/// Who says to have issued a token; none if it is no such token.
pub fn issuer_of(token: &str) -> Option<String> {
    let claims = token.split('.').nth(1).filter(|_| token.split('.').count() == 3)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    // What Google writes.
    let issuer = claims["iss"].as_str()?;
    Some(if issuer == "accounts.google.com" { format!("https://{issuer}") } else { issuer.to_owned() })
}

impl Token {
    /// Takes a token apart.
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(text: &str) -> Result<Self, String> {
        let malformed = |why: &dyn std::fmt::Display| format!("oidc: malformed jwt: {why}");
        let parts: Vec<&str> = text.split('.').collect();
        let [header, claims, signature] = parts[..] else {
            return Err(malformed(&format!("expected 3 parts got {}", parts.len())));
        };
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|error| malformed(&error));
        let read: Header = serde_json::from_slice(&bytes(header)?).map_err(|error| malformed(&error))?;
        if !read.crit.is_empty() {
            return Err(malformed(&format!("unsupported critical header {:?}", read.crit)));
        }
        let wrong = |error: serde_json::Error| format!("oidc: failed to unmarshal claims: {error}");
        Ok(Self {
            algorithm: read.alg,
            key_id: read.kid,
            message: format!("{header}.{claims}"),
            signature: bytes(signature)?,
            claims: serde_json::from_slice(&bytes(claims)?).map_err(wrong)?,
        })
    }

    /// Whether it is for one of `audiences` and holds now.
    pub(crate) fn check(&self, audiences: &[String], now: Timestamp) -> Result<(), String> {
        let given = match self.claims.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        if !given.iter().any(|audience| audiences.contains(audience)) {
            return Err(match audiences {
                [one] => format!("oidc: expected audience {one:?} got {given:?}"),
                many => format!("oidc: expected audience in {many:?} got {given:?}"),
            });
        }
        let expires = self.time("exp")?.unwrap_or(Timestamp::UNIX_EPOCH);
        if expires < now {
            return Err(format!("oidc: token is expired (Token Expiry: {expires})"));
        }
        match self.time("nbf")? {
            Some(begins) if now.checked_add(LEEWAY).is_ok_and(|now| now < begins) => {
                Err(format!("oidc: current time {now} before the nbf (not before) time: {begins}"))
            }
            _ => Ok(()),
        }
    }

    /// A time in seconds, fractions left out.
    fn time(&self, claim: &str) -> Result<Option<Timestamp>, String> {
        let Some(value) = self.claims.get(claim).filter(|value| !value.is_null()) else { return Ok(None) };
        let wrong = || format!("oidc: failed to unmarshal claims: {claim} is no time");
        #[expect(clippy::cast_possible_truncation, reason = "what is too large is no time")]
        let seconds =
            value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64)).ok_or_else(wrong)?;
        Timestamp::from_second(seconds).map(Some).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn token(claims: &Value) -> Token {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"k"}"#);
        Token::read(&format!("{header}.{}.AA", URL_SAFE_NO_PAD.encode(claims.to_string()))).unwrap()
    }

    #[test]
    fn tokens_are_for_somebody_and_for_a_time() {
        let now = Timestamp::from_second(1000).unwrap();
        let check = |claims: Value, audiences: &[&str], expected: Result<(), &str>| {
            let audiences: Vec<String> = audiences.iter().map(|audience| (*audience).to_owned()).collect();
            assert_eq!(token(&claims).check(&audiences, now), expected.map_err(str::to_owned), "{claims}");
        };
        check(json!({"aud": "a", "exp": 1001}), &["a"], Ok(()));
        check(json!({"aud": ["x", "b"], "exp": 1001.9, "nbf": 1060}), &["a", "b"], Ok(()));
        check(json!({"aud": "x", "exp": 1001}), &["a"], Err(r#"oidc: expected audience "a" got ["x"]"#));
        check(json!({"exp": 1001}), &["a", "b"], Err(r#"oidc: expected audience in ["a", "b"] got []"#));
        check(
            json!({"aud": "a", "exp": 999}),
            &["a"],
            Err("oidc: token is expired (Token Expiry: 1970-01-01T00:16:39Z)"),
        );
        check(
            json!({"aud": "a"}),
            &["a"],
            Err("oidc: token is expired (Token Expiry: 1970-01-01T00:00:00Z)"),
        );
        check(
            json!({"aud": "a", "exp": 2000, "nbf": 1061}),
            &["a"],
            Err(
                "oidc: current time 1970-01-01T00:16:40Z before the nbf (not before) time: 1970-01-01T00:17:41Z",
            ),
        );
    }

    #[test]
    fn whoever_issued_it_is_asked() {
        let text = |claims: &str| format!("AA.{}.AA", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(issuer_of(&text(r#"{"iss": "https://a"}"#)).as_deref(), Some("https://a"));
        let google = issuer_of(&text(r#"{"iss": "accounts.google.com"}"#));
        assert_eq!(google.as_deref(), Some("https://accounts.google.com"));
        for none in ["", "a.b", "a.b.c", &text("{}"), &text("[]")] {
            assert_eq!(issuer_of(none), None, "{none}");
        }
    }
}
