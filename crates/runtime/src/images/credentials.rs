//! What proves to a registry who asks.

use super::digest::Digest;
use reqwest::header::HeaderValue;
use std::fmt;

/// What is shown to a registry, or to the server that gives tokens for it. Never shown to anybody else.
#[derive(Clone, PartialEq, Eq)]
pub enum PullCredentials {
    /// A user and password.
    Password {
        /// The user's name.
        username: String,
        /// The password, or a token used as one.
        password: String,
    },
    /// What docker calls an identity token: a refresh token of OAuth 2, good for tokens only.
    IdentityToken(String),
}

impl fmt::Debug for PullCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => {
                f.debug_struct("Password").field("username", username).finish_non_exhaustive()
            }
            Self::IdentityToken(_) => f.debug_struct("IdentityToken").finish_non_exhaustive(),
        }
    }
}

impl PullCredentials {
    /// For the `Authorization` header (RFC 7617); a token has no such form.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        use base64::Engine;
        let Self::Password { username, password } = self else { return None };
        let text = format!("{username}:{password}");
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
            .unwrap_or_else(|_| unreachable!("base 64 is made of visible characters"));
        value.set_sensitive(true);
        Some(value)
    }

    /// Names these credentials for a repository without telling them.
    pub(super) fn proof(&self, repository: &str) -> Digest {
        let names = repository.len();
        match self {
            // Lengths keep the parts apart.
            Self::Password { username, password } => {
                let users = username.len();
                Digest::of(format!("pull {names} {repository} {users} {username} {password}"))
            }
            Self::IdentityToken(token) => Digest::of(format!("pull {names} {repository} token {token}")),
        }
    }
}
