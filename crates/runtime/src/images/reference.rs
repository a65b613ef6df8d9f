//! Names of images, normalised as docker does: `nginx` is `docker.io/library/nginx:latest`.

use super::ImageError;
use std::fmt;

/// Registry that is meant when none is written.
const DEFAULT_REGISTRY: &str = "docker.io";

/// A complete name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// Host and port.
    pub(super) registry: String,
    /// Path within the registry.
    pub(super) repository: String,
    /// What exactly.
    pub(super) version: Version,
}

/// Which of the images of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Movable name.
    Tag(String),
    /// Digest of a manifest; a tag beside it says nothing.
    Digest(String),
}

impl Reference {
    /// Reads a name as a user writes it.
    pub(super) fn parse(text: &str) -> Result<Self, ImageError> {
        let invalid =
            |reason: &str| ImageError::InvalidReference { reference: text.into(), reason: reason.into() };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest),
            _ => (DEFAULT_REGISTRY, name),
        };
        let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
        if !path.split('/').all(is_component) {
            let upper = path.bytes().any(|b| b.is_ascii_uppercase());
            return Err(invalid(if upper {
                "repository name must be lowercase"
            } else {
                "invalid reference format"
            }));
        }
        let official = registry == DEFAULT_REGISTRY && !path.contains('/');
        let repository = if official { format!("library/{path}") } else { path.to_owned() };
        if repository.len() > 255 {
            return Err(invalid("repository name is longer than 255 characters"));
        }
        let version = match (digest, tag) {
            (Some(digest), _) if is_digest(digest) => Version::Digest(digest.into()),
            (None, Some(tag)) if is_tag(tag) => Version::Tag(tag.into()),
            (None, None) => Version::Tag("latest".into()),
            _ => return Err(invalid("invalid reference format")),
        };
        Ok(Self { registry: registry.into(), repository, version })
    }

    /// The same repository by the digest of a manifest.
    pub(super) fn with_digest(&self, digest: &str) -> String {
        format!("{}/{}@{digest}", self.registry, self.repository)
    }

    /// Whether the registry is on this machine, where plain HTTP is fine.
    pub(super) fn is_local(&self) -> bool {
        let host = self.registry.rsplit_once(':').map_or(self.registry.as_str(), |(host, _)| host);
        host == "localhost" || host.starts_with("127.") || host == "[::1]"
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (separator, version) = match &self.version {
            Version::Tag(tag) => (':', tag),
            Version::Digest(digest) => ('@', digest),
        };
        write!(f, "{}/{}{separator}{version}", self.registry, self.repository)
    }
}

fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|b| b.is_ascii_uppercase())
}

/// Lower-case letters and digits, joined by `.`, `_`, `__` or dashes.
fn is_component(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = text.bytes().next().is_some_and(plain) && text.bytes().last().is_some_and(plain);
    let separated = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let mut separators = separated.filter(|s| !s.is_empty());
    ends && separators.all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|h| h.len() == 64 && h.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        let check =
            |text: &str, expected: &str| assert_eq!(Reference::parse(text).unwrap().to_string(), expected);
        check("nginx", "docker.io/library/nginx:latest");
        check("luksa/kubia", "docker.io/luksa/kubia:latest");
        check("index.docker.io/nginx:1", "docker.io/library/nginx:1");
        check("localhost/x", "localhost/x:latest");
        check("localhost:5000/a/b:v1", "localhost:5000/a/b:v1");
        check("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10");
        let digest = format!("sha256:{}", "a".repeat(64));
        check(&format!("nginx:1@{digest}"), &format!("docker.io/library/nginx@{digest}"));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "Nginx", "a//b", "nginx:", "nginx:a b", "-x", "x@sha256:1", "x y", "a..b"] {
            assert!(Reference::parse(bad).is_err(), "{bad:?}");
        }
    }
}
