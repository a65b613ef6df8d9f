//! Names of images, normalised as docker does: `nginx` is `docker.io/library/nginx:latest`.

use super::ImageError;
use super::digest::Digest;
use std::fmt;
use std::net::IpAddr;

/// Registry that is meant when none is written.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Host that answers for it.
const DEFAULT_HOST: &str = "registry-1.docker.io";

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
    Digest(Digest),
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
        if !is_host(registry) {
            return Err(invalid("invalid reference format"));
        }
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
            (Some(digest), _) => match Digest::parse(digest) {
                Ok(digest) => Version::Digest(digest),
                Err(_) => return Err(invalid("invalid reference format")),
            },
            (None, Some(tag)) if is_tag(tag) => Version::Tag(tag.into()),
            (None, None) => Version::Tag("latest".into()),
            _ => return Err(invalid("invalid reference format")),
        };
        Ok(Self { registry: registry.into(), repository, version })
    }

    /// The same repository by the digest of a manifest.
    pub(super) fn with_digest(&self, digest: Digest) -> String {
        format!("{}@{digest}", self.name())
    }

    /// Registry and repository: what credentials are for.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Host and port that answer for the registry.
    pub(super) fn host(&self) -> &str {
        if self.registry == DEFAULT_REGISTRY { DEFAULT_HOST } else { &self.registry }
    }

    /// Whether the registry is on this machine, where plain HTTP is fine.
    pub(super) fn is_local(&self) -> bool {
        let registry = self.registry.as_str();
        let port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
        is_local_host(registry.rsplit_once(':').filter(|(_, p)| port(p)).map_or(registry, |(host, _)| host))
    }
}

/// Whether a host name or address means this machine.
pub(super) fn is_local_host(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if matches!(self.version, Version::Tag(_)) { ':' } else { '@' };
        write!(f, "{}{separator}{}", self.name(), self.version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A host and perhaps a port, of nothing but what such are made of: it becomes part of an address.
fn is_host(registry: &str) -> bool {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (registry, "1"),
    };
    let label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        !label.is_empty() && plain && !label.starts_with('-') && !label.ends_with('-')
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let known = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.len() <= 253 && host.split('.').all(label),
    };
    known && port.parse::<u16>().is_ok_and(|port| port > 0)
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
        let hosts = [
            "a.b?c/x",
            "a.b#/x",
            "u:p.x/y",
            "a.b:99999/x",
            "a.b:/x",
            "-a.b/x",
            "[::1/x",
            "a.b:0/x",
            "a%2f.b/x",
        ];
        let names = ["", "Nginx", "a//b", "nginx:", "nginx:a b", "-x", "x@sha256:1", "x y", "a..b"];
        for bad in hosts.into_iter().chain(names) {
            assert!(Reference::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_this_machine_is_asked_without_tls() {
        let local = |text: &str| Reference::parse(text).unwrap().is_local();
        for text in ["localhost/x", "localhost:5000/x", "127.0.0.1:5000/x", "127.1.2.3:1/x", "[::1]:5000/x"] {
            assert!(local(text), "{text}");
        }
        for text in ["127.evil.example/x", "localhost.example/x", "192.0.2.1:5000/x", "nginx"] {
            assert!(!local(text), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            // What was understood once is understood again, and means the same.
            if let Ok(reference) = Reference::parse(&text) {
                assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
            }
        }
    }
}
