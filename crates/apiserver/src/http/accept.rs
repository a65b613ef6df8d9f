//! Which representation a client wants.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::errors::ApiError;

const OFFERED: &str = "application/json, application/yaml";

/// The version of `meta.k8s.io` that a Table or PartialObjectMetadata is sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MetaVersion {
    V1,
    V1Beta1,
}

impl MetaVersion {
    /// As in `apiVersion`.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// How objects are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    /// The object itself as JSON.
    Json,
    /// The object itself as YAML.
    Yaml,
    /// Rows for people.
    Table(MetaVersion),
    /// Only `metadata`.
    Metadata(MetaVersion),
}

impl Encoding {
    /// The best encoding that the `Accept` header allows; JSON without one.
    pub(crate) fn negotiate(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
        if values.peek().is_none() {
            return Ok(Self::Json);
        }
        let ranges = values.flat_map(|value| value.split(','));
        ranges.map(MediaRange::parse).find_map(Self::offer).ok_or(ApiError::NotAcceptable(OFFERED))
    }

    fn offer(range: MediaRange<'_>) -> Option<Self> {
        match range.media_type {
            "application/yaml" => return range.parameter("as").is_none().then_some(Self::Yaml),
            "application/json" | "*/*" | "application/*" | "" => {}
            _ => return None,
        }
        let Some(kind) = range.parameter("as") else { return Some(Self::Json) };
        if range.parameter("g") != Some("meta.k8s.io") {
            return None;
        }
        let version = match range.parameter("v") {
            Some("v1") => MetaVersion::V1,
            Some("v1beta1") => MetaVersion::V1Beta1,
            _ => return None,
        };
        match kind {
            "Table" => Some(Self::Table(version)),
            "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Self::Metadata(version)),
            _ => None,
        }
    }

    /// The `Content-Type` of answers.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Yaml => "application/yaml",
            Self::Json | Self::Table(_) | Self::Metadata(_) => "application/json",
        }
    }
}

/// One alternative of an `Accept` header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MediaRange<'a> {
    pub(crate) media_type: &'a str,
    parameters: &'a str,
}

impl<'a> MediaRange<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let (media_type, parameters) = text.split_once(';').unwrap_or((text, ""));
        Self { media_type: media_type.trim(), parameters }
    }

    pub(crate) fn parameter(&self, key: &str) -> Option<&'a str> {
        let mut pairs = self.parameters.split(';').filter_map(|pair| pair.split_once('='));
        pairs.find(|(k, _)| k.trim() == key).map(|(_, v)| v.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_alternative_on_offer() {
        let check = |accept: &str, expected: Option<Encoding>| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(Encoding::negotiate(&headers).ok(), expected, "{accept}");
        };
        check("*/*", Some(Encoding::Json));
        check("application/vnd.kubernetes.protobuf,application/json", Some(Encoding::Json));
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            Some(Encoding::Table(MetaVersion::V1)),
        );
        check(
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            Some(Encoding::Metadata(MetaVersion::V1)),
        );
        check("application/json;as=Else;v=v1;g=meta.k8s.io, application/json", Some(Encoding::Json));
        check("application/vnd.kubernetes.protobuf", None);
        check("application/yaml", Some(Encoding::Yaml));
    }
}
