//! Credentials for registries out of the Secrets that a pod names, matched to images as the kubelet matches them
//! (`pkg/credentialprovider`, "Pull an Image from a Private Registry"). Pure.

use base64::Engine;
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;
use skiff_runtime::PullCredentials;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Credentials, each for a part of the world's registries: the most exact first.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    entries: Vec<(Pattern, PullCredentials)>,
}

/// A Secret whose credentials cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the image pull secret {secret:?} cannot be read: {reason}")]
pub(crate) struct BadPullSecret {
    secret: String,
    reason: String,
}

/// Which images an entry is for: a host (its labels with `*`, `?` and `[…]`), a port and the start of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pattern {
    /// As the entry's key has it, without scheme and version.
    text: String,
    host: String,
    port: String,
    path: String,
}

/// What docker's configuration has for a registry.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    /// `user:password` in base 64; wins over the two.
    auth: Option<String>,
    /// What `docker login` keeps where a registry gives such a thing; wins over all others, as with docker. (The kubelet takes
    /// no notice of it.)
    #[serde(default)]
    identitytoken: String,
}

type Entries = BTreeMap<String, Entry>;

impl Keyring {
    /// Takes the credentials of all Secrets that have some; others are passed over.
    pub(crate) fn of<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Result<Self, BadPullSecret> {
        let mut entries = Vec::new();
        for secret in secrets {
            let bad = |reason: String| BadPullSecret {
                secret: secret.metadata.name.clone().unwrap_or_default(),
                reason,
            };
            for (key, entry) in read(secret).map_err(|error| bad(error.to_string()))? {
                let credentials = entry.credentials().map_err(|reason| bad(format!("{key}: {reason}")))?;
                entries.extend(Pattern::parse(&key).map(|pattern| (pattern, credentials)));
            }
        }
        // The kubelet's order: keys backwards, so that a longer path comes before its start.
        skiff_ordered::sort_by(&mut entries, |a, b| Reverse(&a.0).cmp(&Reverse(&b.0)));
        Ok(Self { entries })
    }

    /// The credentials to try for a repository such as `docker.io/library/nginx`, in this order.
    pub(crate) fn lookup(&self, repository: &str) -> Vec<PullCredentials> {
        let matching = |wanted: &dyn Fn(&Pattern) -> bool| -> Vec<PullCredentials> {
            let found = self.entries.iter().filter(|(pattern, _)| wanted(pattern));
            found.map(|(_, credentials)| credentials.clone()).collect()
        };
        let found = matching(&|pattern| pattern.matches(repository));
        if found.is_empty() && repository.starts_with("docker.io/") {
            return matching(&|pattern| pattern.text == "index.docker.io");
        }
        found
    }
}

fn read(secret: &Secret) -> serde_json::Result<Entries> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        auths: Entries,
    }
    let data = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| &bytes.0[..]);
    match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => match data(".dockerconfigjson") {
            Some(bytes) => Ok(serde_json::from_slice::<Document>(bytes).map_err(hide)?.auths),
            None => Ok(Entries::new()),
        },
        Some("kubernetes.io/dockercfg") => match data(".dockercfg") {
            Some(bytes) => serde_json::from_slice(bytes).map_err(hide),
            None => Ok(Entries::new()),
        },
        _ => Ok(Entries::new()),
    }
}

/// Only where the text is wrong: its words may be somebody's password.
fn hide(error: serde_json::Error) -> serde_json::Error {
    let (line, column) = (error.line(), error.column());
    serde::de::Error::custom(format!("it is not in docker's format, at line {line} column {column}"))
}

impl Entry {
    fn credentials(self) -> Result<PullCredentials, &'static str> {
        if !self.identitytoken.is_empty() {
            return Ok(PullCredentials::IdentityToken(self.identitytoken));
        }
        let Some(auth) = self.auth.filter(|auth| !auth.is_empty()) else {
            return Ok(PullCredentials::Password { username: self.username, password: self.password });
        };
        // Some write it without padding.
        let engine = base64::engine::GeneralPurpose::new(
            &base64::alphabet::STANDARD,
            base64::engine::GeneralPurposeConfig::new()
                .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
        );
        let bytes = engine.decode(auth.trim()).map_err(|_| "its field auth is not base 64")?;
        let text = String::from_utf8(bytes).map_err(|_| "its field auth is not text")?;
        let (username, password) = text.split_once(':').ok_or("its field auth is not user:password")?;
        Ok(PullCredentials::Password { username: username.into(), password: password.into() })
    }
}

impl Pattern {
    /// Reads a key such as `https://registry.example:5000/v1/team` or `*.example/path`; `None` when nothing can match.
    fn parse(key: &str) -> Option<Self> {
        let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        let (place, path) = bare.split_once('/').unwrap_or((bare, ""));
        // The addresses of an API's versions, which docker writes, are no part of a repository's name.
        let whole = format!("/{path}");
        let version = ["/v1/", "/v2/"].iter().find_map(|version| whole.strip_prefix(version));
        let path = version.unwrap_or(path).trim_end_matches('/');
        let path = if matches!(path, "v1" | "v2") { "" } else { path };
        if place.is_empty() {
            return None;
        }
        let (host, port) = split_port(place);
        let text = if path.is_empty() { place.to_owned() } else { format!("{place}/{path}") };
        Some(Self { text, host: host.into(), port: port.into(), path: path.into() })
    }

    fn matches(&self, repository: &str) -> bool {
        let (place, path) = repository.split_once('/').unwrap_or((repository, ""));
        let (host, port) = split_port(place);
        let (mine, theirs): (Vec<&str>, Vec<&str>) =
            (self.host.split('.').collect(), host.split('.').collect());
        self.port == port
            && path.starts_with(&self.path)
            && mine.len() == theirs.len()
            && mine.iter().zip(theirs).all(|(pattern, label)| {
                let (pattern, label): (Vec<char>, Vec<char>) =
                    (pattern.chars().collect(), label.chars().collect());
                glob(&pattern, &label)
            })
    }
}

fn split_port(place: &str) -> (&str, &str) {
    match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (place, ""),
    }
}

/// Shell patterns within one label, as Go's `path.Match` has them; a damaged pattern matches nothing.
fn glob(pattern: &[char], text: &[char]) -> bool {
    // The last `*`: where it was, and how far the text it stands for goes so far.
    let (mut at, mut position, mut star) = (0, 0, None);
    loop {
        if at < pattern.len() && pattern[at] == '*' {
            star = Some((at + 1, position));
            at += 1;
        } else if position < text.len()
            && let Some(after) = one(&pattern[at..], text[position])
        {
            at += after;
            position += 1;
        } else if position == text.len() && at == pattern.len() {
            return true;
        } else if let Some((after, covered)) = star
            && covered < text.len()
        {
            star = Some((after, covered + 1));
            (at, position) = (after, covered + 1);
        } else {
            return false;
        }
    }
}

/// Whether the start of a pattern fits one character, and how many characters of the pattern that were.
fn one(pattern: &[char], character: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['\\', literal, ..] => (*literal == character).then_some(2),
        ['[', rest @ ..] => {
            let end = rest.iter().position(|c| *c == ']').filter(|end| *end > 0)?;
            let (negated, set) = match &rest[..end] {
                ['^', set @ ..] => (true, set),
                set => (false, set),
            };
            let mut found = false;
            let mut set = set;
            while !set.is_empty() {
                let (low, high, rest) = match set {
                    [low, '-', high, rest @ ..] => (low, high, rest),
                    [one, rest @ ..] => (one, one, rest),
                    [] => break,
                };
                found |= (low..=high).contains(&&character);
                set = rest;
            }
            (found != negated).then_some(end + 2)
        }
        [literal, ..] => (*literal == character).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    fn secret(kind: &str, key: &str, text: &str) -> Secret {
        Secret {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                name: Some("s".into()),
                ..Default::default()
            },
            type_: Some(kind.into()),
            data: Some(BTreeMap::from([(key.into(), ByteString(text.as_bytes().to_vec()))])),
            ..Secret::default()
        }
    }

    /// A keyring whose users are called like their keys.
    fn keyring(keys: &[&str]) -> Keyring {
        let auths: serde_json::Map<String, serde_json::Value> = keys
            .iter()
            .map(|key| ((*key).to_owned(), serde_json::json!({"username": key, "password": "p"})))
            .collect();
        let text = serde_json::json!({"auths": auths}).to_string();
        let secret = secret("kubernetes.io/dockerconfigjson", ".dockerconfigjson", &text);
        Keyring::of(std::iter::once(&secret)).unwrap()
    }

    #[test]
    fn images_are_matched_as_the_kubelet_does() {
        let check = |keys: &[&str], image: &str, expected: &[&str]| {
            let user = |credentials| match credentials {
                PullCredentials::Password { username, .. } => username,
                PullCredentials::IdentityToken(token) => token,
            };
            let found: Vec<String> = keyring(keys).lookup(image).into_iter().map(user).collect();
            assert_eq!(found, expected, "{keys:?} for {image}");
        };
        check(&["localhost:5000"], "localhost:5000/private/app", &["localhost:5000"]);
        check(&["localhost:5001", "localhost"], "localhost:5000/private/app", &[]);
        check(&["https://r.example/v1/", "http://other.example"], "r.example/a", &["https://r.example/v1/"]);
        check(
            &["r.example", "r.example/team", "r.example/team/x"],
            "r.example/team/y",
            &["r.example/team", "r.example"],
        );
        check(
            &["*.example", "a.*", "?.example", "[a-c].example", "[^a].example"],
            "a.example/x",
            &["a.*", "[a-c].example", "?.example", "*.example"],
        );
        check(&["*.example"], "a.b.example/x", &[]);
        check(
            &["*.*.example", "*b*.*.example", "a*c.b.example"],
            "abc.b.example/x",
            &["a*c.b.example", "*b*.*.example", "*.*.example"],
        );
        check(&["https://index.docker.io/v1/"], "docker.io/library/nginx", &["https://index.docker.io/v1/"]);
        check(&["docker.io"], "docker.io/library/nginx", &["docker.io"]);
        check(&["https://index.docker.io/v1/"], "quay.io/x/y", &[]);
        check(&["", "https:///x", "[.example"], "a.example/x", &[]);
    }

    #[test]
    fn both_kinds_of_secrets_are_read() {
        let one = secret("kubernetes.io/dockercfg", ".dockercfg", r#"{"r.example": {"auth": "dTpwOnc="}}"#);
        let other = secret("Opaque", ".dockercfg", "nonsense");
        let found = Keyring::of([&one, &other].into_iter()).unwrap().lookup("r.example/x");
        assert_eq!(found, [PullCredentials::Password { username: "u".into(), password: "p:w".into() }]);
        let text = r#"{"r.example": {"auth": "dTpwOnc=", "identitytoken": "t"}}"#;
        let token = secret("kubernetes.io/dockercfg", ".dockercfg", text);
        let found = Keyring::of(std::iter::once(&token)).unwrap().lookup("r.example/x");
        assert_eq!(found, [PullCredentials::IdentityToken("t".into())]);
        assert!(!format!("{found:?}").contains("\"t\""), "{found:?}");
        for (text, expected) in [
            (r#"{"auths": {"r": {"auth": "dXNlcg=="}}}"#, "user:password"),
            (r#"{"auths": {"r": {"auth": "!"}}}"#, "base 64"),
            (r#"{"auths": {"r": {"password": ["hidden"]}}}"#, "not in docker's format"),
        ] {
            let bad = secret("kubernetes.io/dockerconfigjson", ".dockerconfigjson", text);
            let error = Keyring::of(std::iter::once(&bad)).unwrap_err().to_string();
            assert!(
                error.contains(expected) && error.contains("\"s\"") && !error.contains("hidden"),
                "{error}"
            );
        }
    }
}
