//! What a registry says about who may ask: the `WWW-Authenticate` header (RFC 9110, section 11; the distribution project's
//! "Token Authentication Specification"). Pure.

use std::collections::BTreeMap;

/// How to prove oneself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// By user name and password with each request.
    Basic,
    /// By a token that another server gives.
    Bearer {
        /// Where to ask for it.
        realm: String,
        /// For whom, as the registry calls itself.
        service: Option<String>,
        /// For what.
        scope: Option<String>,
    },
}

impl Challenge {
    /// The challenge to take of those in a header; a token rather than a password.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let mut basic = None;
        for (scheme, mut parameters) in challenges(header) {
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = parameters.remove("realm")
            {
                let (service, scope) = (parameters.remove("service"), parameters.remove("scope"));
                return Some(Self::Bearer { realm, service, scope });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Self::Basic);
            }
        }
        basic
    }
}

/// Schemes with their parameters: `Scheme key=value, key="quoted", Scheme2 …`.
fn challenges(header: &str) -> Vec<(&str, BTreeMap<String, String>)> {
    let mut found: Vec<(&str, BTreeMap<String, String>)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return found;
        }
        match after.strip_prefix('=') {
            Some(value) => {
                let (value, after) = value_of(value);
                if let Some((_, parameters)) = found.last_mut() {
                    parameters.insert(word.to_ascii_lowercase(), value);
                }
                rest = after;
            }
            None => {
                found.push((word, BTreeMap::new()));
                rest = after;
            }
        }
    }
}

fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer { realm: realm.into(), service: own(service), scope: own(scope) })
    }

    #[test]
    fn registries_are_understood() {
        let check = |header: &str, expected| assert_eq!(Challenge::parse(header), expected, "{header}");
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
            bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:a/b:pull,push"),
            ),
        );
        check(r#"Basic realm="Registry Realm""#, Some(Challenge::Basic));
        check("basic", Some(Challenge::Basic));
        check(r#"Basic realm="x", Bearer realm=https://t"#, bearer("https://t", None, None));
        check(r#"Bearer realm="a\"b" , service=s"#, bearer("a\"b", Some("s"), None));
        for nothing in ["", "Negotiate", "Bearer", "=,=", r#"realm="x""#] {
            check(nothing, None);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(header in ".*") {
            let _either = Challenge::parse(&header);
        }
    }
}
