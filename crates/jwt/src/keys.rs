//! The keys with which an issuer signs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p521::ecdsa::signature::Verifier as _;
use ring::signature::{
    self, EcdsaVerificationAlgorithm, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

use crate::token::Token;

/// The algorithms that may be asked for, as Kubernetes has them.
pub const ALGORITHMS: [&str; 9] =
    ["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

/// Public keys, as `jwks_uri` serves them.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: String,
    public: Public,
}

#[derive(Clone, Debug)]
enum Public {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    P521(Box<p521::ecdsa::VerifyingKey>),
}

#[derive(Deserialize)]
struct Served {
    keys: Vec<Jwk>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Jwk {
    kty: String,
    kid: String,
    #[serde(rename = "use")]
    purpose: String,
    crv: String,
    n: String,
    e: String,
    x: String,
    y: String,
}

impl Keys {
    /// Reads a set of keys. Keys of kinds that are not known, or not for signatures, are left out.
    ///
    /// # Errors
    /// When it is no such set.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let served: Served = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        Ok(Self(served.keys.into_iter().filter_map(Key::of).collect()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them has signed a token.
    pub fn have_signed(&self, token: &Token) -> bool {
        let named = |key: &&Key| token.key_id.is_empty() || key.id == token.key_id;
        self.0.iter().filter(named).any(|key| key.public.has_signed(token))
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        if !matches!(&*jwk.purpose, "" | "sig") {
            return None;
        }
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        let public = match (&*jwk.kty, &*jwk.crv) {
            ("RSA", _) => {
                let without_zeros =
                    |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
                Public::Rsa {
                    modulus: without_zeros(bytes(&jwk.n)?),
                    exponent: without_zeros(bytes(&jwk.e)?),
                }
            }
            ("EC", "P-256") => Public::P256(point(&bytes(&jwk.x)?, &bytes(&jwk.y)?, 32)?),
            ("EC", "P-384") => Public::P384(point(&bytes(&jwk.x)?, &bytes(&jwk.y)?, 48)?),
            ("EC", "P-521") => {
                let point = point(&bytes(&jwk.x)?, &bytes(&jwk.y)?, 66)?;
                Public::P521(Box::new(p521::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok()?))
            }
            _ => return None,
        };
        Some(Self { id: jwk.kid, public })
    }
}

/// A point of a curve, uncompressed.
fn point(x: &[u8], y: &[u8], length: usize) -> Option<Vec<u8>> {
    (x.len() == length && y.len() == length).then(|| [&[4][..], x, y].concat())
}

impl Public {
    fn has_signed(&self, token: &Token) -> bool {
        let (message, signed) = (token.message.as_bytes(), &*token.signature);
        match self {
            Self::Rsa { modulus, exponent } => rsa(&token.algorithm).is_some_and(|parameters| {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, message, signed).is_ok()
            }),
            Self::P256(point) | Self::P384(point) => self.ecdsa(&token.algorithm).is_some_and(|algorithm| {
                UnparsedPublicKey::new(algorithm, point).verify(message, signed).is_ok()
            }),
            Self::P521(key) => {
                let signature = p521::ecdsa::Signature::from_slice(signed);
                token.algorithm == "ES512"
                    && signature.is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
        }
    }

    fn ecdsa(&self, algorithm: &str) -> Option<&'static EcdsaVerificationAlgorithm> {
        match (self, algorithm) {
            (Self::P256(_), "ES256") => Some(&signature::ECDSA_P256_SHA256_FIXED),
            (Self::P384(_), "ES384") => Some(&signature::ECDSA_P384_SHA384_FIXED),
            _ => None,
        }
    }
}

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_other_kinds_are_left_out() {
        let x = URL_SAFE_NO_PAD.encode([1; 32]);
        let served = format!(
            r#"{{"keys": [
                {{"kty": "EC", "crv": "P-256", "kid": "a", "x": "{x}", "y": "{x}", "use": "sig"}},
                {{"kty": "EC", "crv": "P-256", "kid": "b", "x": "AQ", "y": "{x}"}},
                {{"kty": "EC", "crv": "P-521", "kid": "c", "x": "{x}", "y": "{x}"}},
                {{"kty": "RSA", "kid": "d", "n": "AAEC", "e": "AQAB", "use": "enc"}},
                {{"kty": "RSA", "kid": "e", "n": "AAEC", "e": "AQAB"}},
                {{"kty": "oct", "kid": "f", "k": "AQ"}}
            ]}}"#
        );
        let keys = Keys::read(served.as_bytes()).unwrap();
        let ids: Vec<&str> = keys.0.iter().map(|key| &*key.id).collect();
        assert_eq!(ids, ["a", "e"]);
        assert!(Keys::read(b"[]").is_err());
    }

    /// The example of RFC 7515, A.4, whose payload is no claims.
    #[test]
    fn signatures_of_the_largest_curve_are_known() {
        let keys = r#"{"keys": [{"kty": "EC", "crv": "P-521", "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk", "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}]}"#;
        let signature = "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
        let keys = Keys::read(keys.as_bytes()).unwrap();
        let token = |algorithm: &str, message: &str| Token {
            algorithm: algorithm.to_owned(),
            key_id: String::new(),
            message: message.to_owned(),
            signature: URL_SAFE_NO_PAD.decode(signature).unwrap(),
            claims: serde_json::Map::new(),
        };
        let message = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA";
        assert!(keys.have_signed(&token("ES512", message)));
        assert!(!keys.have_signed(&token("ES512", "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZB")));
        assert!(!keys.have_signed(&token("ES384", message)));
        let short = Token { signature: vec![1; 96], ..token("ES512", message) };
        assert!(!keys.have_signed(&short));
        let nowhere = keys_of_p521(&[1; 66]);
        assert!(nowhere.is_empty(), "what is no point of the curve is no key");
    }

    fn keys_of_p521(coordinate: &[u8]) -> Keys {
        let text = URL_SAFE_NO_PAD.encode(coordinate);
        let served =
            format!(r#"{{"keys": [{{"kty": "EC", "crv": "P-521", "x": "{text}", "y": "{text}"}}]}}"#);
        Keys::read(served.as_bytes()).unwrap()
    }

    /// The example of RFC 7515, A.2.
    #[test]
    fn signatures_of_rsa_are_known() {
        let keys = r#"{"keys": [{"kty": "RSA", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ", "e": "AQAB"}]}"#;
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let keys = Keys::read(keys.as_bytes()).unwrap();
        let read = |text: &str| Token::read(text).unwrap();
        assert!(keys.have_signed(&read(token)));
        let other = token.replace("eyJhbGciOiJSUzI1NiJ9", "eyJhbGciOiJSUzM4NCJ9");
        assert!(!keys.have_signed(&read(&other)));
    }
}
