//! The address of a webhook as Go's library takes it apart.

use skiff_cel::split_scheme;

/// The parts that are checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Url<'a> {
    pub(super) scheme: String,
    /// With the port.
    pub(super) host: &'a str,
    pub(super) user: Option<&'a str>,
    pub(super) query: &'a str,
    pub(super) fragment: &'a str,
}

impl<'a> Url<'a> {
    /// Reads a URL; the text of an error is Go's.
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut url = Self::read(before).map_err(|why| format!("parse {before:?}: {why}"))?;
        check_escapes(fragment).map_err(|why| format!("parse {text:?}: {why}"))?;
        url.fragment = fragment;
        Ok(url)
    }

    fn read(text: &'a str) -> Result<Self, String> {
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let (scheme, rest) = split_scheme(text)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut url = Self { scheme: scheme.to_ascii_lowercase(), query, ..Self::default() };
        let Some(authority) = rest.strip_prefix("//") else {
            if !rest.starts_with('/') {
                if !scheme.is_empty() {
                    return Ok(url);
                }
                if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
                    return Err("first path segment in URL cannot contain colon".to_owned());
                }
            }
            check_escapes(rest)?;
            return Ok(url);
        };
        let (authority, path) = authority.split_at(authority.find('/').unwrap_or(authority.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        check_host(host)?;
        check_escapes(path)?;
        (url.user, url.host) = (user, host);
        Ok(url)
    }
}

fn check_host(host: &str) -> Result<(), String> {
    if let Some(bad) = host.chars().find(|c| c.is_ascii() && " <>\"{}|\\^`".contains(*c)) {
        return Err(format!("invalid character {:?} in host name", bad.to_string()));
    }
    let port = if host.starts_with('[') {
        let Some((_, after)) = host.split_once(']') else { return Err("missing ']' in host".to_owned()) };
        after
    } else {
        host.rfind(':').map_or("", |at| &host[at..])
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if !port.is_empty() && (!port.starts_with(':') || !digits.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(format!("invalid port {port:?} after host"));
    }
    Ok(())
}

fn check_escapes(text: &str) -> Result<(), String> {
    for (at, _) in text.match_indices('%') {
        let is_hex = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
        if !is_hex(at + 1) || !is_hex(at + 2) {
            let shown: String = text[at..].chars().take(3).collect();
            return Err(format!("invalid URL escape {shown:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_go() {
        let check =
            |text: &str, scheme: &str, host: &str, user: Option<&str>, query: &str, fragment: &str| {
                let expected = Url { scheme: scheme.to_owned(), host, user, query, fragment };
                assert_eq!(Url::parse(text), Ok(expected), "{text}");
            };
        check("https://example.com/a", "https", "example.com", None, "", "");
        check("HTTPS://u:p@example.com:443?q=1#f", "https", "example.com:443", Some("u:p"), "q=1", "f");
        check("example.com/a", "", "", None, "", "");
        check("https:///a", "https", "", None, "", "");
        check("https://[::1]:8443/a", "https", "[::1]:8443", None, "", "");
        check("mailto:a", "mailto", "", None, "", "");
    }

    #[test]
    fn errors_are_those_of_go() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Url::parse(text), Err(expected.to_owned()), "{text}");
        };
        check(":a", "parse \":a\": missing protocol scheme");
        check("1.2.3.4:80/a", "parse \"1.2.3.4:80/a\": first path segment in URL cannot contain colon");
        check("https://a:b/", "parse \"https://a:b/\": invalid port \":b\" after host");
        check("https://a/%zz", "parse \"https://a/%zz\": invalid URL escape \"%zz\"");
        check("https://a b/", "parse \"https://a b/\": invalid character \" \" in host name");
        check("https://a\n/", "parse \"https://a\\n/\": net/url: invalid control character in URL");
    }
}
