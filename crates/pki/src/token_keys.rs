//! Which keys ServiceAccount tokens are signed with and verified by, and how the one that signs is replaced by another.
//!
//! ```text
//! sa.key          the private key that signs
//! sa-earlier.pub  public halves of keys that signed before it, the newest first: what they have signed is still believed
//! ```
//!
//! As with kube-apiserver's `--service-account-signing-key-file` and its list of `--service-account-key-file`, whoever replaces
//! keys says until when the old ones count: tokens in Secrets have no end.

use std::path::Path;

use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;

use super::files::{self, Durability};
use super::signing::{self, SigningKey, VerifyingKey};
use super::{Pki, PkiError};

/// The private key's file.
pub const SIGNING_KEY_FILE: &str = "sa.key";
/// The file of the public keys.
const EARLIER_KEYS_FILE: &str = "sa-earlier.pub";

/// What becomes of the keys that signed before a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// What they have signed is believed until it ends.
    Believed,
    /// Nothing that they have signed is believed any more.
    Revoked,
}

/// The keys of ServiceAccount tokens, at one time.
pub struct TokenKeys {
    signing: SigningKey,
    earlier: Vec<VerifyingKey>,
}

impl TokenKeys {
    /// Reads the keys; makes the first one. The caller holds the directory's lock.
    pub(super) fn open_or_create(dir: &Path) -> Result<Self, PkiError> {
        let path = dir.join(SIGNING_KEY_FILE);
        let pem = match files::read(&path)? {
            Some(pem) => pem,
            None => create(&path)?,
        };
        let signing = SigningKey::from_pem(&pem).map_err(|reason| PkiError::Damaged { path, reason })?;
        let mut earlier = read_earlier(&dir.join(EARLIER_KEYS_FILE))?;
        // Whoever was interrupted has written down the old key, and no new one yet.
        earlier.retain(|key| key != signing.public());
        Ok(Self { signing, earlier })
    }

    /// A key that is kept nowhere, alone.
    ///
    /// # Panics
    ///
    /// When the machine gives no random numbers.
    #[cfg(any(test, feature = "testing"))]
    pub fn ephemeral() -> Self {
        Self { signing: SigningKey::ephemeral(), earlier: Vec::new() }
    }

    /// Another key that is kept nowhere, behind which these are still believed.
    ///
    /// # Panics
    ///
    /// When the machine gives no random numbers.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn succeeded(&self) -> Self {
        Self { signing: SigningKey::ephemeral(), earlier: self.verifying().cloned().collect() }
    }

    /// The key that signs.
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// All keys whose signatures are believed, the one that signs first.
    pub fn verifying(&self) -> impl Iterator<Item = &VerifyingKey> {
        std::iter::once(self.signing.public()).chain(&self.earlier)
    }

    /// The key with this identifier whose signatures are believed.
    pub fn find(&self, id: &str) -> Option<&VerifyingKey> {
        self.verifying().find(|key| key.id() == id)
    }

    fn ids(&self) -> Vec<&str> {
        self.verifying().map(VerifyingKey::id).collect()
    }
}

/// Has tokens signed with a new key from now on, by whichever server has these files; it sees that they have changed. Returns the new
/// key's identifier.
///
/// # Errors
/// When the directory is no cluster's, or cannot be written to.
pub fn rotate_token_key(dir: &Path, earlier: Earlier) -> Result<String, PkiError> {
    let _lock = files::lock(dir)?;
    let keys = TokenKeys::open_or_create(dir)?;
    let believed: String = match earlier {
        Earlier::Believed => keys.verifying().map(VerifyingKey::pem).collect(),
        Earlier::Revoked => String::new(),
    };
    // Before the new key: an interruption leaves the old one signing, and loses none that is to be believed.
    files::write(&dir.join(EARLIER_KEYS_FILE), &believed, Durability::Kept)?;
    create(&dir.join(SIGNING_KEY_FILE))?;
    Ok(TokenKeys::open_or_create(dir)?.signing.id().to_owned())
}

fn create(path: &Path) -> Result<String, PkiError> {
    let pem = signing::generate().map_err(|source| PkiError::Issue { name: "sa".to_owned(), source })?;
    files::write(path, &pem, Durability::Kept)?;
    Ok(pem)
}

fn read_earlier(path: &Path) -> Result<Vec<VerifyingKey>, PkiError> {
    let damaged = |reason: String| PkiError::Damaged { path: path.to_owned(), reason };
    let text = files::read(path)?.unwrap_or_default();
    SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes())
        .map(|key| {
            let key = key.map_err(|error| damaged(error.to_string()))?;
            VerifyingKey::from_der(&key).map_err(damaged)
        })
        .collect()
}

impl Pki {
    /// Takes the keys of ServiceAccount tokens as the files have them now; whether they are others than before.
    ///
    /// # Errors
    /// When the files cannot be used; the keys stay as they were.
    pub fn reload_token_keys(&self) -> Result<bool, PkiError> {
        let _lock = files::lock(&self.dir)?;
        let keys = TokenKeys::open_or_create(&self.dir)?;
        if keys.ids() == self.token_keys.load().ids() {
            return Ok(false);
        }
        tracing::info!(
            signing = keys.signing.id(),
            earlier = keys.earlier.len(),
            "the keys of tokens have changed"
        );
        self.token_keys.store(keys.into());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> TokenKeys {
        TokenKeys::open_or_create(dir).unwrap()
    }

    #[test]
    fn a_new_key_signs_and_the_earlier_ones_are_believed() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path());
        let old = first.signing().sign(b"text").unwrap();
        let second = rotate_token_key(dir.path(), Earlier::Believed).unwrap();
        let third = rotate_token_key(dir.path(), Earlier::Believed).unwrap();
        let now = open(dir.path());
        assert_eq!(now.ids(), [third.as_str(), second.as_str(), first.signing().id()]);
        assert_eq!(now.signing().id(), third);
        assert!(now.find(first.signing().id()).unwrap().verify(b"text", &old));
        assert!(!now.find(&third).unwrap().verify(b"text", &old));
    }

    #[test]
    fn revoked_keys_are_believed_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path());
        rotate_token_key(dir.path(), Earlier::Believed).unwrap();
        let last = rotate_token_key(dir.path(), Earlier::Revoked).unwrap();
        let now = open(dir.path());
        assert_eq!(now.ids(), [last.as_str()]);
        assert!(now.find(first.signing().id()).is_none());
    }

    #[test]
    fn an_interrupted_rotation_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let before = open(dir.path());
        let list = dir.path().join(EARLIER_KEYS_FILE);
        files::write(&list, &before.signing().public().pem(), Durability::Kept).unwrap();
        assert_eq!(open(dir.path()).ids(), [before.signing().id()]);
    }

    #[test]
    fn other_keys_in_the_list_are_named_as_damage() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path());
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        std::fs::write(dir.path().join(EARLIER_KEYS_FILE), other.public_key_pem()).unwrap();
        let error = TokenKeys::open_or_create(dir.path()).err().unwrap().to_string();
        assert!(error.contains(EARLIER_KEYS_FILE) && error.contains("P-256"), "{error}");
    }
}
