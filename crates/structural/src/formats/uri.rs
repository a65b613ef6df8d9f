//! URIs as requests name them: absolute, or a path that starts at the root (RFC 3986, as Go's `net/url` reads it).

use std::net::Ipv6Addr;

/// Whether a text is such a URI.
pub(super) fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return false;
    }
    if text == "*" {
        return true;
    }
    let Some((scheme, rest)) = split_scheme(text) else { return false };
    let rest = rest.split('?').next().unwrap_or_default();
    if !rest.starts_with('/') {
        return !scheme.is_empty();
    }
    let path = match rest.strip_prefix("//").filter(|_| !scheme.is_empty()) {
        None => rest,
        Some(inner) => {
            let (authority, path) = inner.split_at(inner.find('/').unwrap_or(inner.len()));
            if !is_authority(scheme, authority) {
                return false;
            }
            path
        }
    };
    escapes_are_whole(path)
}

/// The scheme, which may be empty, and what follows; none if the text starts with a colon.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    for (at, letter) in text.bytes().enumerate() {
        match letter {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at > 0 => return Some((&text[..at], &text[at + 1..])),
            b':' => return None,
            _ => break,
        }
    }
    Some(("", text))
}

fn is_authority(scheme: &str, authority: &str) -> bool {
    let Some((user, host)) = authority.rsplit_once('@') else { return is_host(scheme, authority) };
    let is_user = |b: u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b);
    is_host(scheme, host) && user.bytes().all(is_user) && escapes_are_whole(user)
}

fn is_host(scheme: &str, host: &str) -> bool {
    if let Some(literal) = host.strip_prefix('[') {
        let Some((address, port)) = literal.rsplit_once(']') else { return false };
        return !literal.contains('[') && is_port(port) && is_address(address);
    }
    if host.contains('[') {
        return false;
    }
    let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let colon = if is_web { host.find(':') } else { host.rfind(':') };
    colon.is_none_or(|colon| is_port(&host[colon..])) && is_host_text(host)
}

/// An IPv6 address, maybe with a zone after `%25`.
fn is_address(text: &str) -> bool {
    let (address, zone) =
        text.split_once("%25").map_or((text, None), |(address, zone)| (address, Some(zone)));
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(|zone| !zone.is_empty() && escapes_are_whole(zone))
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a host has only letters that it may have; of ASCII only a percent sign may be escaped.
fn is_host_text(host: &str) -> bool {
    let is_plain =
        |b: u8| !b.is_ascii() || b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]<>\"%".contains(&b);
    let is_ascii = |escape: &str| escape.as_bytes().first().is_some_and(|b| (b'0'..b'8').contains(b));
    let escaped = || host.split('%').skip(1);
    host.bytes().all(is_plain)
        && escapes_are_whole(host)
        && escaped().all(|escape| escape.starts_with("25") || !is_ascii(escape))
}

/// Whether two hexadecimal digits follow each percent sign.
fn escapes_are_whole(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|rest| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

/// The parts of a URL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UrlParts<'t> {
    /// In lower case; empty if there is none.
    pub(crate) scheme: String,
    /// With the port; empty if there is none.
    pub(crate) host: &'t str,
    pub(crate) user: Option<&'t str>,
    pub(crate) query: Option<&'t str>,
    pub(crate) fragment: Option<&'t str>,
}

impl<'t> UrlParts<'t> {
    /// Reads a URL; an error says what is wrong in Go's words.
    pub(crate) fn of(url: &'t str) -> Result<Self, String> {
        let fail = |problem: &str| Err(format!("parse {url:?}: {problem}"));
        let (text, fragment) = url.split_once('#').map_or((url, None), |(text, rest)| (text, Some(rest)));
        if text.bytes().any(|b| b < b' ' || b == 0x7f) {
            return fail("net/url: invalid control character in URL");
        }
        let Some((scheme, rest)) = split_scheme(text) else { return fail("missing protocol scheme") };
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let mut parts = Self {
            scheme: scheme.to_lowercase(),
            host: "",
            user: None,
            query: query.filter(|query| !query.is_empty()),
            fragment: fragment.filter(|fragment| !fragment.is_empty()),
        };
        if !rest.starts_with('/') {
            let first = rest.split('/').next().unwrap_or_default();
            return match scheme.is_empty() && first.contains(':') {
                true => fail("first path segment in URL cannot contain colon"),
                false => Ok(parts),
            };
        }
        let Some(inner) =
            rest.strip_prefix("//").filter(|inner| !scheme.is_empty() || !inner.starts_with('/'))
        else {
            return Ok(parts);
        };
        let authority = inner.split('/').next().unwrap_or_default();
        if !is_authority(scheme, authority) {
            return fail(&format!("invalid character in host name or user information {authority:?}"));
        }
        match authority.rsplit_once('@') {
            None => parts.host = authority,
            Some((user, host)) => (parts.user, parts.host) = (Some(user), host),
        }
        Ok(parts)
    }
}

/// Whether a text is a URL with a scheme and a host.
pub(crate) fn has_scheme_and_host(text: &str) -> bool {
    is_request_uri(text)
        && UrlParts::of(text).is_ok_and(|parts| !parts.scheme.is_empty() && !parts.host.is_empty())
}
