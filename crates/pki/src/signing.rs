//! The key that signs ServiceAccount tokens, and the public half in the forms that verifiers read.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::PkiError;
use super::files::{self, Durability};

/// An ECDSA P-256 key (JWS algorithm `ES256`).
pub struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    /// Uncompressed point: 0x04, x, y.
    public: Vec<u8>,
    id: String,
}

/// The system's random numbers, which each signature needs, were not available.
#[derive(Debug, thiserror::Error)]
#[error("the token cannot be signed")]
pub struct SignError;

impl SigningKey {
    /// Reads the key, or makes one.
    pub(super) fn open_or_create(path: &Path) -> Result<Self, PkiError> {
        let damaged = |reason: String| PkiError::Damaged { path: path.to_owned(), reason };
        let pem = match files::read(path)? {
            Some(pem) => pem,
            None => {
                let pem = generate().map_err(|source| PkiError::Issue { name: "sa".to_owned(), source })?;
                files::write(path, &pem, Durability::Kept)?;
                pem
            }
        };
        Self::from_pem(&pem).map_err(damaged)
    }

    fn from_pem(pem: &str) -> Result<Self, String> {
        let key = KeyPair::from_pem(pem).map_err(|error| error.to_string())?;
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der(), &random)
            .map_err(|error| error.to_string())?;
        let digest = Sha256::digest(key.subject_public_key_info());
        let id = URL_SAFE_NO_PAD.encode(digest);
        Ok(Self { pair, random, public: key.public_key_raw().to_vec(), id })
    }

    /// A key that is kept nowhere.
    ///
    /// # Panics
    ///
    /// When the machine gives no random numbers.
    #[cfg(any(test, feature = "testing"))]
    pub fn ephemeral() -> Self {
        Self::from_pem(&generate().expect("a key is made")).expect("a fresh key is sound")
    }

    /// The key's identifier (`kid`): a digest of the public key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Signs; the result is `r` and `s`, 32 bytes each, as ES256 has it.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.pair.sign(&self.random, message).map_err(|_| SignError)?;
        Ok(signature.as_ref().to_vec())
    }

    /// Whether the signature is this key's.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.public).verify(message, signature).is_ok()
    }

    /// The public key as a JSON Web Key.
    pub fn jwk(&self) -> Value {
        let (x, y) = self.public[1..].split_at(32);
        json!({
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }
}

fn generate() -> Result<String, rcgen::Error> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?.serialize_pem())
}
