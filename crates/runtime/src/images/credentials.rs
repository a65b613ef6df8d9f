//! What proves to a registry who asks.

use super::digest::Digest;
use reqwest::header::HeaderValue;
use std::fmt;

/// A user and password for a registry. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PullCredentials {
    /// The user's name.
    pub username: String,
    /// The password, or a token used as one.
    pub password: String,
}

impl fmt::Debug for PullCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullCredentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl PullCredentials {
    /// For the `Authorization` header (RFC 7617).
    pub(super) fn basic(&self) -> HeaderValue {
        use base64::Engine;
        let text = format!("{}:{}", self.username, self.password);
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
            .unwrap_or_else(|_| unreachable!("base 64 is made of visible characters"));
        value.set_sensitive(true);
        value
    }

    /// Names these credentials for a repository without telling them.
    pub(super) fn proof(&self, repository: &str) -> Digest {
        let Self { username, password } = self;
        // Lengths keep the parts apart.
        let (users, names) = (username.len(), repository.len());
        Digest::of(format!("pull {names} {repository} {users} {username} {password}"))
    }
}
