//! The keys of ServiceAccount tokens: the one that signs, and the public halves in the forms that verifiers read.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::der;

/// What stands before the point in a P-256 key's SubjectPublicKeyInfo (RFC 5480): `id-ecPublicKey` on `prime256v1`, and the
/// head of a string of 65 bytes.
const SPKI_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// How an uncompressed point begins: 0x04, x, y.
const UNCOMPRESSED: u8 = 0x04;
const POINT_LENGTH: usize = 65;

/// The public half of an ECDSA P-256 key, by which signatures (JWS algorithm `ES256`) are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    /// Uncompressed.
    point: Vec<u8>,
    id: String,
}

impl VerifyingKey {
    /// Reads a key's SubjectPublicKeyInfo, in DER.
    pub(super) fn from_der(spki: &[u8]) -> Result<Self, String> {
        let point = spki
            .strip_prefix(&SPKI_HEAD)
            .filter(|point| point.len() == POINT_LENGTH && point[0] == UNCOMPRESSED)
            .ok_or("it is no public key of ECDSA with the curve P-256")?;
        Ok(Self { point: point.to_vec(), id: URL_SAFE_NO_PAD.encode(Sha256::digest(spki)) })
    }

    /// The key as PEM.
    pub(super) fn pem(&self) -> String {
        der::pem("PUBLIC KEY", &[SPKI_HEAD.as_slice(), &self.point].concat())
    }

    /// The key's identifier (`kid`): a digest of the public key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the signature (`r` and `s`) is this key's.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.point).verify(message, signature).is_ok()
    }

    /// The key as a JSON Web Key.
    pub fn jwk(&self) -> Value {
        let (x, y) = self.point[1..].split_at(32);
        json!({
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }
}

/// An ECDSA P-256 key that signs (JWS algorithm `ES256`).
pub struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    public: VerifyingKey,
}

/// The system's random numbers, which each signature needs, were not available.
#[derive(Debug, thiserror::Error)]
#[error("the token cannot be signed")]
pub struct SignError;

impl SigningKey {
    pub(super) fn from_pem(pem: &str) -> Result<Self, String> {
        let key = KeyPair::from_pem(pem).map_err(|error| error.to_string())?;
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der(), &random)
            .map_err(|error| error.to_string())?;
        let public = VerifyingKey::from_der(&key.subject_public_key_info())?;
        Ok(Self { pair, random, public })
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

    /// By which its signatures are verified.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// The key's identifier (`kid`): a digest of the public key.
    pub fn id(&self) -> &str {
        &self.public.id
    }

    /// Signs; the result is `r` and `s`, 32 bytes each, as ES256 has it.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.pair.sign(&self.random, message).map_err(|_| SignError)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// A new key, as PEM.
pub(super) fn generate() -> Result<String, rcgen::Error> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?.serialize_pem())
}
