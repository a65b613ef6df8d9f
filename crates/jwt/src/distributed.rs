//! Claims that are served elsewhere (distributed claims, OpenID Connect Core 1.0, 5.6.2): `_claim_names` says which source has a claim,
//! `_claim_sources` where that is. Claims that a token brings along signed by another (aggregated claims) are not looked at, as in
//! Kubernetes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// Where a claim is served, as a token that says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Source {
    /// An URL.
    #[serde(rename = "endpoint")]
    pub url: String,
    /// A bearer token to be shown there; empty: none.
    pub access_token: String,
}

/// What a token says of claims that are served elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    names: BTreeMap<String, String>,
    sources: BTreeMap<String, Source>,
}

impl Sources {
    /// Reads it; each claim must have a source.
    pub(crate) fn read(claims: &Map<String, Value>) -> Result<Self, String> {
        let wrong = |error: serde_json::Error| format!("oidc: failed to unmarshal claims: {error}");
        let names: Option<BTreeMap<String, String>> = part(claims, "_claim_names").map_err(wrong)?;
        let sources: Option<BTreeMap<String, Source>> = part(claims, "_claim_sources").map_err(wrong)?;
        let read = Self { names: names.unwrap_or_default(), sources: sources.unwrap_or_default() };
        for source in read.names.values() {
            if source.is_empty() {
                return Err("oidc: failed to obtain source from claim name".to_owned());
            }
            if !read.sources.contains_key(source) {
                return Err("oidc: source does not exist".to_owned());
            }
        }
        Ok(read)
    }

    /// Where a claim is served; none if it is not.
    pub(crate) fn of(&self, claim: &str) -> Option<Source> {
        self.sources.get(self.names.get(claim)?).filter(|source| !source.url.is_empty()).cloned()
    }
}

fn part<T: for<'de> Deserialize<'de>>(
    claims: &Map<String, Value>,
    name: &str,
) -> serde_json::Result<Option<T>> {
    claims.get(name).map_or(Ok(None), Option::<T>::deserialize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_is_where_its_source_says() {
        let check = |claims: Value, expected: Result<Option<(&str, &str)>, &str>| {
            let found = Sources::read(claims.as_object().unwrap()).map(|sources| sources.of("groups"));
            let found = found.map(|source| source.map(|source| (source.url, source.access_token)));
            let found = found.as_ref().map(|source| source.as_ref().map(|(url, token)| (&**url, &**token)));
            assert_eq!(found.map_err(|why| &**why), expected, "{claims}");
        };
        let sources = json!({"a": {"endpoint": "https://a", "access_token": "t"}, "b": {"JWT": "x.y.z"}});
        check(json!({}), Ok(None));
        check(json!({"_claim_names": null, "_claim_sources": null}), Ok(None));
        check(
            json!({"_claim_names": {"groups": "a"}, "_claim_sources": sources}),
            Ok(Some(("https://a", "t"))),
        );
        check(json!({"_claim_names": {"address": "a"}, "_claim_sources": sources}), Ok(None));
        check(json!({"_claim_names": {"groups": "b"}, "_claim_sources": sources}), Ok(None));
        check(
            json!({"_claim_names": {"groups": "c"}, "_claim_sources": sources}),
            Err("oidc: source does not exist"),
        );
        check(json!({"_claim_names": {"address": "c"}}), Err("oidc: source does not exist"));
        check(
            json!({"_claim_names": {"groups": ""}, "_claim_sources": sources}),
            Err("oidc: failed to obtain source from claim name"),
        );
        let wrong = json!({"_claim_names": {"groups": 1}});
        let why = Sources::read(wrong.as_object().unwrap()).unwrap_err();
        assert!(why.starts_with("oidc: failed to unmarshal claims: "), "{why}");
    }
}
