//! References of images, as far as Kubernetes reads them: for what is to be pulled anew each time.

/// What a reference is called without: a registry's rules for names apply to it.
const LONGEST: usize = 255;
const LONGEST_TAG: usize = 128;

/// The tag that a reference names, `latest` where it names nothing; `None` for what is no reference.
pub(super) fn tag(reference: &str) -> Option<&str> {
    let (named, digest) = match reference.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (reference, None),
    };
    let is_id =
        reference.len() == 64 && reference.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_id || digest.is_some_and(|digest| !is_digest(digest)) {
        return None;
    }
    let (host, rest) = host(named);
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    let length = host.map_or("docker.io/library/".len(), str::len) + path.len();
    let fits = host.is_none_or(is_host) && path.split('/').all(is_component) && length <= LONGEST;
    if !fits || tag.is_some_and(|tag| !is_tag(tag)) {
        return None;
    }
    Some(tag.unwrap_or(if digest.is_some() { "" } else { "latest" }))
}

/// Its registry, if the first part is one, and the rest.
fn host(named: &str) -> (Option<&str>, &str) {
    match named.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first =>
        {
            (Some(first), rest)
        }
        _ => (None, named),
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_word = |word: &str| {
        let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        is_end(word.bytes().next())
            && is_end(word.bytes().last())
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_name = match inner {
        Some(address) => {
            address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':') && !address.is_empty()
        }
        None => name.split('.').all(is_word),
    };
    is_name && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Small letters and digits, with `.`, `_`, `__` or dashes between.
fn is_component(component: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators = component.split(|one: char| one.is_ascii_lowercase() || one.is_ascii_digit());
    let is_separator =
        |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    component.bytes().next().is_some_and(is_letter)
        && component.bytes().last().is_some_and(is_letter)
        && separators.into_iter().all(is_separator)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=LONGEST_TAG).contains(&tag.len())
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

/// `ALGORITHM:HEX`.
fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let is_part = |part: &str| {
        part.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let lengths = match algorithm {
        "sha256" => 64..=64,
        "sha384" => 96..=96,
        "sha512" => 128..=128,
        _ => 32..=usize::MAX,
    };
    algorithm.split(['-', '_', '+', '.']).all(is_part)
        && lengths.contains(&hex.len())
        && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_a_tag_or_are_none() {
        let hex = "0123456789abcdef".repeat(4);
        let check =
            |reference: &str, expected: Option<&str>| assert_eq!(tag(reference), expected, "{reference}");
        check("kubia", Some("latest"));
        check("kubia:v1", Some("v1"));
        check("a/b_c/d--e.f__g:V_1.2-x", Some("V_1.2-x"));
        check("localhost:5000/kubia", Some("latest"));
        check("[::1]:5000/kubia:v1", Some("v1"));
        check("Example.com/kubia", Some("latest"));
        check(&format!("kubia@sha256:{hex}"), Some(""));
        check(&format!("kubia:latest@sha256:{hex}"), Some("latest"));
        for none in [
            "",
            "-1",
            "RollingUpdate",
            "a b",
            "a/B",
            "a:",
            "a:.b",
            "a//b",
            "a___b",
            "a..b",
            "a@b",
            "é",
            "/a",
            "http://a",
            "kubia@sha256:abc",
            "a.b:x/c",
            &hex,
            &format!("a:{}", "t".repeat(129)),
            &"a".repeat(300),
        ] {
            check(none, None);
        }
    }
}
