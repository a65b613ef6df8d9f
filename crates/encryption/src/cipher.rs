//! Values under keys that the configuration names. Pure but for chance.

use std::fmt;

use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit};
use poly1305::Poly1305;
use ring::rand::{SecureRandom as _, SystemRandom};
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

const GCM_NONCE: usize = 12;
const CBC_BLOCK: usize = 16;
const BOX_NONCE: usize = 24;
const TAG: usize = 16;

/// By how many bytes a value grows at most in any of the ciphers.
pub(crate) const GROWTH: usize = BOX_NONCE + TAG;

/// How values are encrypted under keys of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Algorithm {
    /// AES in Galois/Counter Mode; bound to the key of the store.
    AesGcm,
    /// AES with Cipher Block Chaining.
    AesCbc,
    /// XSalsa20 and Poly1305, as NaCl has it.
    Secretbox,
}

impl Algorithm {
    /// How many bytes a key may have.
    pub(crate) const fn key_sizes(self) -> &'static [usize] {
        match self {
            Self::AesGcm | Self::AesCbc => &[16, 24, 32],
            Self::Secretbox => &[32],
        }
    }

    /// What values begin with.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::AesGcm => "k8s:enc:aesgcm:v1:",
            Self::AesCbc => "k8s:enc:aescbc:v1:",
            Self::Secretbox => "k8s:enc:secretbox:v1:",
        }
    }

    /// What is said of a value under a key that is not there.
    pub(crate) const fn no_key(self) -> &'static str {
        match self {
            Self::AesGcm | Self::AesCbc => "no matching key was found for the provided AES transformer",
            Self::Secretbox => "no matching key was found for the provided Secretbox transformer",
        }
    }
}

/// A key and what it is for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Cipher {
    pub(crate) algorithm: Algorithm,
    /// As long as the algorithm wants it.
    key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.algorithm)
    }
}

impl Cipher {
    /// A key of a length that the algorithm has.
    pub(crate) fn new(algorithm: Algorithm, key: Zeroizing<Vec<u8>>) -> Option<Self> {
        algorithm.key_sizes().contains(&key.len()).then_some(Self { algorithm, key })
    }

    /// The key's bytes.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Appends what becomes of a value that belongs to `bound`.
    pub(crate) fn seal(&self, bound: &[u8], value: &[u8], out: &mut Vec<u8>) {
        match self.algorithm {
            Algorithm::AesGcm => {
                let nonce: [u8; GCM_NONCE] = random();
                out.extend_from_slice(&nonce);
                let payload = Payload { msg: value, aad: bound };
                let sealed = match self.key.len() {
                    16 => gcm::<Aes128Gcm>(&self.key).encrypt(&nonce.into(), payload),
                    24 => gcm::<AesGcm<Aes192, U12>>(&self.key).encrypt(&nonce.into(), payload),
                    _ => gcm::<Aes256Gcm>(&self.key).encrypt(&nonce.into(), payload),
                };
                out.extend(sealed.expect("a value is shorter than the 64 GiB that AES-GCM takes"));
            }
            Algorithm::AesCbc => match self.key.len() {
                16 => cbc_seal::<Aes128>(&self.key, value, out),
                24 => cbc_seal::<Aes192>(&self.key, value, out),
                _ => cbc_seal::<Aes256>(&self.key, value, out),
            },
            Algorithm::Secretbox => box_seal(&self.key, value, out),
        }
    }

    /// The value that belongs to `bound`.
    pub(crate) fn open(&self, bound: &[u8], sealed: &[u8]) -> Result<Vec<u8>, &'static str> {
        const SHORT: &str = "the stored data was shorter than the required size";
        match self.algorithm {
            Algorithm::AesGcm => {
                let (nonce, msg) = sealed.split_first_chunk::<GCM_NONCE>().ok_or(SHORT)?;
                let (nonce, payload) = ((*nonce).into(), Payload { msg, aad: bound });
                let opened = match self.key.len() {
                    16 => gcm::<Aes128Gcm>(&self.key).decrypt(&nonce, payload),
                    24 => gcm::<AesGcm<Aes192, U12>>(&self.key).decrypt(&nonce, payload),
                    _ => gcm::<Aes256Gcm>(&self.key).decrypt(&nonce, payload),
                };
                opened.map_err(|_| "cipher: message authentication failed")
            }
            Algorithm::AesCbc => {
                let (iv, blocks) = sealed.split_first_chunk::<CBC_BLOCK>().ok_or(SHORT)?;
                if blocks.len() % CBC_BLOCK != 0 {
                    return Err("the stored data is not a multiple of the block size");
                }
                let opened = match self.key.len() {
                    16 => cbc_open::<Aes128>(&self.key, iv, blocks),
                    24 => cbc_open::<Aes192>(&self.key, iv, blocks),
                    _ => cbc_open::<Aes256>(&self.key, iv, blocks),
                };
                opened.ok_or("invalid padding on input")
            }
            Algorithm::Secretbox => {
                let (nonce, rest) = sealed.split_first_chunk::<BOX_NONCE>().ok_or(SHORT)?;
                let (tag, text) = rest.split_first_chunk::<TAG>().ok_or(SHORT)?;
                // Whoever reads this in Kubernetes finds the same words.
                box_open(&self.key, nonce, tag, text)
                    .ok_or("output array was not large enough for encryption")
            }
        }
    }
}

/// Bytes by chance.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the kernel gives random bytes");
    bytes
}

fn gcm<C: KeyInit>(key: &[u8]) -> C {
    C::new_from_slice(key).expect("the key's length was matched")
}

fn cbc_seal<C: BlockCipherEncrypt<BlockSize = salsa20::cipher::consts::U16> + KeyInit>(
    key: &[u8],
    value: &[u8],
    out: &mut Vec<u8>,
) {
    let iv: [u8; CBC_BLOCK] = random();
    out.extend_from_slice(&iv);
    let mode = cbc::Encryptor::inner_iv_init(gcm::<C>(key), &iv.into());
    out.extend(mode.encrypt_padded_vec::<Pkcs7>(value));
}

fn cbc_open<C: BlockCipherDecrypt<BlockSize = salsa20::cipher::consts::U16> + KeyInit>(
    key: &[u8],
    iv: &[u8; CBC_BLOCK],
    blocks: &[u8],
) -> Option<Vec<u8>> {
    let mode = cbc::Decryptor::inner_iv_init(gcm::<C>(key), &(*iv).into());
    mode.decrypt_padded_vec::<Pkcs7>(blocks).ok()
}

/// The stream of a box, and the authenticator whose key its first 32 bytes are.
fn box_parts(key: &[u8], nonce: &[u8; BOX_NONCE]) -> (XSalsa20, Poly1305) {
    let key: [u8; 32] = key.try_into().expect("the key's length was checked");
    let mut stream = XSalsa20::new(&key.into(), &(*nonce).into());
    let mut first = Zeroizing::new([0; 32]);
    stream.apply_keystream(&mut *first);
    let authenticator = Poly1305::new(&(*first).into());
    (stream, authenticator)
}

fn box_seal(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let nonce = random();
    let (mut stream, authenticator) = box_parts(key, &nonce);
    let mut text = value.to_vec();
    stream.apply_keystream(&mut text);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&authenticator.compute_unpadded(&text));
    out.extend_from_slice(&text);
}

fn box_open(key: &[u8], nonce: &[u8; BOX_NONCE], tag: &[u8; TAG], text: &[u8]) -> Option<Vec<u8>> {
    let (mut stream, authenticator) = box_parts(key, nonce);
    let found = authenticator.compute_unpadded(text);
    // All of it is compared, so that the time says nothing.
    let differences = found.iter().zip(tag).fold(0, |differences, (a, b)| differences | (a ^ b));
    if differences != 0 {
        return None;
    }
    let mut value = text.to_vec();
    stream.apply_keystream(&mut value);
    Some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cipher(algorithm: Algorithm, key: Vec<u8>) -> Cipher {
        Cipher::new(algorithm, Zeroizing::new(key)).unwrap()
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.split_whitespace().collect::<String>();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn what_is_sealed_opens_and_what_is_changed_does_not(
            value in prop::collection::vec(any::<u8>(), 0..300),
            key in prop::collection::vec(any::<u8>(), 32),
            flipped in any::<prop::sample::Index>(),
        ) {
            for algorithm in [Algorithm::AesGcm, Algorithm::AesCbc, Algorithm::Secretbox] {
                for size in algorithm.key_sizes() {
                    let cipher = cipher(algorithm, key[..*size].to_vec());
                    let mut sealed = Vec::new();
                    cipher.seal(b"/registry/a", &value, &mut sealed);
                    prop_assert!(sealed.len() <= value.len() + GROWTH);
                    prop_assert_eq!(cipher.open(b"/registry/a", &sealed), Ok(value.clone()));
                    let bound = cipher.open(b"/registry/b", &sealed).is_err();
                    prop_assert_eq!(bound, algorithm == Algorithm::AesGcm);
                    let at = flipped.index(sealed.len());
                    sealed[at] ^= 1;
                    prop_assert_ne!(cipher.open(b"/registry/a", &sealed), Ok(value.clone()));
                }
            }
        }
    }

    /// Of NaCl's own tests (`secretbox.c`): a box that others made.
    #[test]
    fn opens_a_box_of_nacl() {
        let key = hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
        let nonce = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        let tag = hex("f3ffc7703f9400e52a7dfb4b3d3305d9");
        let text = hex("8e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186a
             c0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738
             b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da
             99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74
             e355a5");
        let message = hex("be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffc
             e5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb31
             0e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde
             048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f93776384864
             5e0705");
        let cipher = cipher(Algorithm::Secretbox, key);
        assert_eq!(cipher.open(b"", &[nonce, tag, text].concat()), Ok(message));
    }

    /// NIST SP 800-38A, F.2.1, whose last block here is the padding.
    #[test]
    fn opens_cbc_of_the_standard() {
        let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
        let iv = hex("000102030405060708090a0b0c0d0e0f");
        let first = hex("7649abac8119b246cee98e9b12e9197d");
        let mode = cbc::Encryptor::<Aes128>::inner_iv_init(
            gcm(&key),
            &<[u8; 16]>::try_from(&iv[..]).unwrap().into(),
        );
        let sealed = mode.encrypt_padded_vec::<Pkcs7>(&hex("6bc1bee22e409f96e93d7e117393172a"));
        assert_eq!(sealed[..16], first[..]);
        let cipher = cipher(Algorithm::AesCbc, key);
        assert_eq!(
            cipher.open(b"", &[iv, sealed].concat()).unwrap(),
            hex("6bc1bee22e409f96e93d7e117393172a")
        );
    }

    #[test]
    fn what_is_cut_off_is_told_of() {
        let check = |algorithm, length: usize, expected| {
            assert_eq!(cipher(algorithm, vec![1; 32]).open(b"", &vec![0; length]), Err(expected), "{length}");
        };
        let short = "the stored data was shorter than the required size";
        check(Algorithm::AesGcm, 11, short);
        check(Algorithm::AesGcm, 12, "cipher: message authentication failed");
        check(Algorithm::AesCbc, 15, short);
        check(Algorithm::AesCbc, 16, "invalid padding on input");
        check(Algorithm::AesCbc, 33, "the stored data is not a multiple of the block size");
        check(Algorithm::Secretbox, 39, short);
        assert!(Cipher::new(Algorithm::Secretbox, Zeroizing::new(vec![0; 16])).is_none());
    }
}
