//! Content digests, parsed once: what is not a whole digest gets no further, least of all into a path.

use crate::ids::ImageId;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use std::fmt;

/// What every digest starts with; other algorithms are not in use for images.
const ALGORITHM: &str = "sha256:";

/// A SHA-256 digest. As text: `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Digest([u8; 32]);

/// A text that is no digest.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a digest: `sha256:` and 64 lower-case hexadecimal digits")]
pub(super) struct InvalidDigest {
    /// Its start.
    text: String,
}

impl Digest {
    /// Reads a digest as documents and references write it.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidDigest> {
        let digits = text.strip_prefix(ALGORITHM).unwrap_or_default().as_bytes();
        let invalid = || InvalidDigest { text: text.chars().take(100).collect() };
        let digits: &[u8; 64] = digits.try_into().map_err(|_| invalid())?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else { return Err(invalid()) };
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }

    /// The digest of some bytes.
    pub(super) fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Its 64 digits, without the algorithm: safe as a name in a directory.
    pub(super) fn hex(&self) -> String {
        use std::fmt::Write;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to memory cannot fail.
            let _infallible = write!(text, "{byte:02x}");
            text
        })
    }

    /// The digest of a configuration, as the identity of its image.
    pub(super) fn image_id(&self) -> ImageId {
        let id = ImageId::new(self.to_string());
        id.unwrap_or_else(|_| unreachable!("a SHA-256 digest has 64 hexadecimal digits"))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;
    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// Digest of one layer's uncompressed archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct DiffId(pub(super) Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a layer together with all below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChainId(pub(super) Digest);

/// The chain up to each layer, bottom first (OCI image specification, "Layer ChainID").
pub(super) fn chain_ids(diff_ids: &[DiffId]) -> Vec<ChainId> {
    let mut last: Option<Digest> = None;
    let link = |diff_id: &DiffId| {
        let chain = last.map_or(diff_id.0, |below| Digest::of(format!("{below} {diff_id}")));
        last = Some(chain);
        ChainId(chain)
    };
    diff_ids.iter().map(link).collect()
}

/// Digests what passes by.
#[derive(Default)]
pub(super) struct Hasher(sha2::Sha256);

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_digests_are_digests() {
        let hex = "0123456789abcdef".repeat(4);
        let digest = Digest::parse(&format!("sha256:{hex}")).unwrap();
        assert_eq!((digest.hex(), digest.to_string()), (hex.clone(), format!("sha256:{hex}")));
        let long = format!("sha256:{hex}0");
        let upper = format!("sha256:{}", hex.to_uppercase());
        let path = format!("sha256:{}", "../".repeat(21) + "x");
        for bad in ["", "sha256:", "/proc/1/root", &hex, &long, &upper, &path, "sha512:00", "sha256:é"] {
            let error = Digest::parse(bad).unwrap_err().to_string();
            assert!(error.contains("is not a digest"), "{error}");
            assert!(serde_json::from_value::<DiffId>(bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn chains_follow_the_specification() {
        let ids = [DiffId(Digest::of("a")), DiffId(Digest::of("b"))];
        let chain = chain_ids(&ids);
        assert_eq!(chain[0].0, ids[0].0);
        assert_eq!(chain[1].0, Digest::of(format!("{} {}", ids[0], ids[1])));
        assert_eq!(chain_ids(&[]), []);
    }
}
