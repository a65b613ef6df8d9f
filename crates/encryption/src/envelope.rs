//! Values under keys that a key management service opens: the value lies beside what the service made of its key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prost::Message;
use ring::hkdf::{HKDF_SHA256, KeyType, Prk};
use zeroize::Zeroizing;

use crate::cipher::{Algorithm, Cipher, random};

/// How long a seed is, what is mixed into it for each value, and the key that comes of both.
const SEED: usize = 32;

/// The most bytes of what a service gives.
const MOST_SOURCE: usize = 1024;
const MOST_KEY_ID: usize = 1024;
const MOST_ANNOTATIONS: usize = 32 * 1024;

/// A value as it lies behind the prefix of its provider.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(crate) struct EncryptedObject {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) encrypted_data: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(crate) key_id: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) encrypted_dek_source: Vec<u8>,
    #[prost(btree_map = "string, bytes", tag = "4")]
    pub(crate) annotations: BTreeMap<String, Vec<u8>>,
    /// 0: the key itself, as long ago; 1: a seed of which each value's key is derived.
    #[prost(int32, tag = "5")]
    pub(crate) encrypted_dek_source_type: i32,
}

/// What the service opens is a seed.
pub(crate) const SEED_SOURCE: i32 = 1;

impl EncryptedObject {
    /// Reads what lies on disk.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let object = Self::decode(bytes).map_err(|error| error.to_string())?;
        if object.encrypted_data.is_empty() {
            return Err("encrypted data is empty".to_owned());
        }
        object.check()?;
        Ok(object)
    }

    /// Whether what the service gave can be kept.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (source, id) = (self.encrypted_dek_source.len(), self.key_id.len());
        let annotations: usize = self.annotations.iter().map(|(name, value)| name.len() + value.len()).sum();
        let exceeds = |what: &str, size: usize, most: usize| {
            format!("{what} is {size} bytes, which exceeds the max size of {most}")
        };
        let why = match self.encrypted_dek_source_type {
            0 | SEED_SOURCE if source == 0 => {
                "failed to validate encrypted DEK source: encrypted DEK source is empty".to_owned()
            }
            0 | SEED_SOURCE if source > MOST_SOURCE => format!(
                "failed to validate encrypted DEK source: {}",
                exceeds("encrypted DEK source", source, MOST_SOURCE)
            ),
            0 | SEED_SOURCE if id == 0 => "failed to validate key id: keyID is empty".to_owned(),
            0 | SEED_SOURCE if id > MOST_KEY_ID => {
                format!("failed to validate key id: {}", exceeds("keyID", id, MOST_KEY_ID))
            }
            0 | SEED_SOURCE if annotations > MOST_ANNOTATIONS => format!(
                "failed to validate annotations: {}",
                exceeds("total size of annotations", annotations, MOST_ANNOTATIONS)
            ),
            0 | SEED_SOURCE => return Ok(()),
            other => format!("unknown encryptedDEKSourceType: {other}"),
        };
        Err(why)
    }
}

/// What a service opened: where the keys of values come from.
pub(crate) struct Source {
    key: Zeroizing<Vec<u8>>,
    is_seed: bool,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

impl Source {
    /// A new seed.
    pub(crate) fn generate() -> Self {
        Self { key: Zeroizing::new(random::<SEED>().to_vec()), is_seed: true }
    }

    /// What the service opened, of this type.
    pub(crate) fn new(key: Vec<u8>, source_type: i32) -> Result<Self, String> {
        let (key, is_seed) = (Zeroizing::new(key), source_type == SEED_SOURCE);
        match key.len() {
            length if is_seed && length < SEED => {
                Err(format!("invalid seed length {length} used for key generation"))
            }
            length if !is_seed && ![16, 24, 32].contains(&length) => {
                Err(format!("crypto/aes: invalid key size {length}"))
            }
            _ => Ok(Self { key, is_seed }),
        }
    }

    /// What the service is to close.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.key
    }

    fn cipher(&self, info: &[u8]) -> Cipher {
        let key = if self.is_seed { derive(&self.key, info) } else { self.key.clone() };
        Cipher::new(Algorithm::AesGcm, key).expect("keys of this length are taken")
    }

    fn seal(&self, bound: &[u8], value: &[u8]) -> Vec<u8> {
        let info: [u8; SEED] = random();
        let info = if self.is_seed { &info[..] } else { &[] };
        let mut sealed = info.to_vec();
        self.cipher(info).seal(bound, value, &mut sealed);
        sealed
    }

    /// The value of what lies on disk.
    pub(crate) fn open(&self, bound: &[u8], sealed: &[u8]) -> Result<Vec<u8>, &'static str> {
        let (info, sealed) = match (self.is_seed, sealed.split_at_checked(SEED)) {
            (true, None) => return Err("the stored data was shorter than the required size"),
            (true, Some(parts)) => parts,
            (false, _) => (&[][..], sealed),
        };
        self.cipher(info).open(bound, sealed)
    }
}

/// The key of one value.
fn derive(seed: &[u8], info: &[u8]) -> Zeroizing<Vec<u8>> {
    struct Length;
    impl KeyType for Length {
        fn len(&self) -> usize {
            SEED
        }
    }
    let mut key = Zeroizing::new(vec![0; SEED]);
    let (prk, info) = (Prk::new_less_safe(HKDF_SHA256, seed), [info]);
    let expanded = prk.expand(&info, Length);
    expanded.and_then(|output| output.fill(&mut key)).expect("a key is not too long");
    key
}

/// A seed that values are sealed with, and what the service made of it.
#[derive(Clone, Debug)]
pub(crate) struct Sealer {
    pub(crate) source: Arc<Source>,
    /// Without a value.
    pub(crate) object: EncryptedObject,
}

impl Sealer {
    /// By how many bytes a value grows at most.
    pub(crate) fn growth(&self) -> usize {
        /// The field of the value, and its length.
        const FIELD: usize = 16;
        self.object.encoded_len() + SEED + crate::cipher::GROWTH + FIELD
    }

    /// Appends a value as it lies behind the prefix.
    pub(crate) fn seal(&self, bound: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let encrypted_data = self.source.seal(bound, value);
        let object = EncryptedObject { encrypted_data, ..self.object.clone() };
        out.extend(object.encode_to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer() -> Sealer {
        let object = EncryptedObject {
            key_id: "key".to_owned(),
            encrypted_dek_source: vec![1; 48],
            annotations: BTreeMap::from([("a.example.com".to_owned(), vec![2; 9])]),
            encrypted_dek_source_type: SEED_SOURCE,
            encrypted_data: Vec::new(),
        };
        Sealer { source: Arc::new(Source::generate()), object }
    }

    #[test]
    fn a_value_is_sealed_with_a_key_of_its_own() {
        let sealer = sealer();
        let seal = |value: &[u8]| {
            let mut sealed = Vec::new();
            sealer.seal(b"/registry/a", value, &mut sealed);
            assert!(sealed.len() <= value.len() + sealer.growth());
            EncryptedObject::read(&sealed).unwrap()
        };
        let (first, second) = (seal(b"value"), seal(b"value"));
        assert_ne!(first.encrypted_data[..SEED], second.encrypted_data[..SEED]);
        let source = Source::new(sealer.source.bytes().to_vec(), SEED_SOURCE).unwrap();
        assert_eq!(source.open(b"/registry/a", &first.encrypted_data).unwrap(), b"value");
        assert!(source.open(b"/registry/b", &first.encrypted_data).is_err());
        assert_eq!(
            source.open(b"/registry/a", &[0; 31]),
            Err("the stored data was shorter than the required size")
        );
        assert_eq!(seal(&vec![7; 100_000]).annotations, sealer.object.annotations);
    }

    /// RFC 5869, case 1: the second step alone.
    #[test]
    fn derives_as_the_rfc_does() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let prk = hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
        let expected = hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
        assert_eq!(*derive(&prk, &hex("f0f1f2f3f4f5f6f7f8f9")), expected);
    }

    #[test]
    fn what_a_service_gives_is_bounded() {
        let check = |change: &dyn Fn(&mut EncryptedObject), expected: &str| {
            let mut object = EncryptedObject { encrypted_data: vec![1], ..sealer().object };
            change(&mut object);
            let read = EncryptedObject::read(&object.encode_to_vec());
            assert_eq!(read.map(|_| ()).err().unwrap_or_default(), expected);
        };
        check(&|_| (), "");
        check(&|object| object.encrypted_data.clear(), "encrypted data is empty");
        check(&|object| object.key_id.clear(), "failed to validate key id: keyID is empty");
        check(
            &|object| object.encrypted_dek_source = vec![0; 1025],
            "failed to validate encrypted DEK source: encrypted DEK source is 1025 bytes, which exceeds the max size of 1024",
        );
        check(&|object| object.encrypted_dek_source_type = 2, "unknown encryptedDEKSourceType: 2");
        assert!(EncryptedObject::read(b"\xff\xff").is_err());
        assert!(Source::new(vec![0; 16], SEED_SOURCE).is_err());
        assert!(Source::new(vec![0; 16], 0).is_ok() && Source::new(vec![0; 17], 0).is_err());
    }
}
