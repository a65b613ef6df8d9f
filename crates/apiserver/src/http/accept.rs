//! Which representation a client wants.

use http::HeaderMap;
use http::header::ACCEPT;
use skiff_machinery::protobuf;

use crate::errors::ApiError;

const OFFERED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// What watches are sent in.
const STREAMED: &str = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

const ANY: &str = "*/*";

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

/// How objects are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    Json,
    Yaml,
    Protobuf,
}

/// What is shown of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum View {
    /// All of them.
    Whole,
    /// Rows for people.
    Table(MetaVersion),
    /// Only `metadata`, of an object or of each object of a list: which of them, the client has to know.
    Metadata(MetaVersion, Amount),
}

/// Whether an answer is an object or a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Amount {
    One,
    List,
}

/// How objects are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Encoding {
    pub(crate) format: Format,
    pub(crate) view: View,
}

/// What there is of what is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered {
    pub(crate) tables: bool,
    pub(crate) protobuf: bool,
}

impl Offered {
    const ALL: Self = Self { tables: true, protobuf: true };
}

impl Encoding {
    /// Objects as they are, in JSON.
    pub(crate) const JSON: Self = Self { format: Format::Json, view: View::Whole };

    /// The best encoding that the `Accept` header allows; JSON without one.
    pub(crate) fn negotiate(headers: &HeaderMap, offered: Offered) -> Result<Self, ApiError> {
        let values: Vec<&str> =
            headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        if values.iter().all(|value| value.is_empty()) {
            return Ok(Self::JSON);
        }
        let ranges = values.into_iter().flat_map(|value| value.split(','));
        let mut ranges: Vec<MediaRange<'_>> = ranges.map(MediaRange::parse).collect();
        // Kubernetes finds the route by what is named in full, and takes `application/*` only then.
        if !ranges.iter().any(|range| range.media_type == ANY || format(range.media_type).is_some()) {
            return Err(ApiError::NoRepresentation(OFFERED));
        }
        ranges.sort_by_key(MediaRange::rank);
        let offer = |range: MediaRange<'_>| Self::offer(range, offered);
        ranges.into_iter().find_map(offer).ok_or(ApiError::NotAcceptable(OFFERED))
    }

    fn offer(range: MediaRange<'_>, offered: Offered) -> Option<Self> {
        let format = match range.media_type {
            ANY | "application/*" => Format::Json,
            media_type => format(media_type)?,
        };
        // A Table has no form in protobuf.
        let tables = offered.tables && format != Format::Protobuf;
        let view = Self::view(range, tables)?;
        // The metadata alone has one, whatever the kind.
        let is_there = format != Format::Protobuf || offered.protobuf || matches!(view, View::Metadata(..));
        is_there.then_some(Self { format, view })
    }

    fn view(range: MediaRange<'_>, tables: bool) -> Option<View> {
        let asked = ["as", "g", "v"].map(|key| range.parameter(key));
        let [kind, group, version] = asked;
        if asked.iter().all(Option::is_none) {
            return Some(View::Whole);
        }
        if group != Some("meta.k8s.io") {
            return None;
        }
        let version = match version {
            Some("v1") => MetaVersion::V1,
            Some("v1beta1") => MetaVersion::V1Beta1,
            _ => return None,
        };
        match kind {
            Some("Table") => tables.then_some(View::Table(version)),
            Some("PartialObjectMetadata") => Some(View::Metadata(version, Amount::One)),
            Some("PartialObjectMetadataList") => Some(View::Metadata(version, Amount::List)),
            _ => None,
        }
    }

    /// The encoding of a watch: YAML is not sent bit by bit.
    pub(crate) fn of_watch(self) -> Result<Self, ApiError> {
        if self.format == Format::Yaml { Err(ApiError::NotAcceptable(STREAMED)) } else { Ok(self) }
    }

    /// The `Content-Type` of answers.
    pub(crate) fn content_type(self) -> &'static str {
        match self.format {
            Format::Yaml => "application/yaml",
            Format::Json => "application/json",
            Format::Protobuf => protobuf::CONTENT_TYPE,
        }
    }

    /// The `Content-Type` of watches.
    pub(crate) fn stream_type(self) -> &'static str {
        match self.format {
            Format::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
            Format::Json | Format::Yaml => self.content_type(),
        }
    }

    /// The format of errors: what is not shown whole is answered in JSON then.
    pub(crate) fn of_errors(headers: &HeaderMap) -> Format {
        match Self::negotiate(headers, Offered::ALL) {
            Ok(Self { format, view: View::Whole }) => format,
            _ => Format::Json,
        }
    }
}

/// The format of a media type that is named in full.
fn format(media_type: &str) -> Option<Format> {
    match media_type {
        "application/json" => Some(Format::Json),
        "application/yaml" => Some(Format::Yaml),
        protobuf::CONTENT_TYPE => Some(Format::Protobuf),
        _ => None,
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

    /// Smaller for what the client likes better: by weight (in thousandths, 1 when not given), then the more special.
    pub(crate) fn rank(&self) -> (i32, bool) {
        let weight: f32 = self.parameter("q").and_then(|q| q.parse().ok()).unwrap_or(1.0);
        #[allow(clippy::cast_possible_truncation, reason = "a weight is between 0 and 1; others are cut off")]
        let thousandths = (weight * 1000.0) as i32;
        (-thousandths, self.media_type.ends_with("/*"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: View = View::Whole;
    const TABLE: View = View::Table(MetaVersion::V1);

    fn negotiate(accept: &str, tables: bool) -> Option<(Format, View)> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        Encoding::negotiate(&headers, Offered { tables, protobuf: true })
            .ok()
            .map(|encoding| (encoding.format, encoding.view))
    }

    #[test]
    fn takes_the_first_alternative_on_offer() {
        let check = |accept: &str, expected| assert_eq!(negotiate(accept, true), expected, "{accept}");
        check("*/*", Some((Format::Json, WHOLE)));
        check("application/vnd.kubernetes.protobuf,application/json", Some((Format::Protobuf, WHOLE)));
        check("application/vnd.kubernetes.protobuf;stream=watch", Some((Format::Protobuf, WHOLE)));
        check(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            Some((Format::Protobuf, View::Metadata(MetaVersion::V1, Amount::One))),
        );
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        check(&format!("{table},application/json"), Some((Format::Json, TABLE)));
        check(&format!("*/*, {table}"), Some((Format::Json, TABLE)));
        check(&format!("{table};q=0.5, application/yaml;q=0.6"), Some((Format::Yaml, WHOLE)));
        check("application/yaml;as=Table;v=v1;g=meta.k8s.io", Some((Format::Yaml, TABLE)));
        check(
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            Some((Format::Json, View::Metadata(MetaVersion::V1, Amount::List))),
        );
        check("application/json;as=Else;v=v1;g=meta.k8s.io, application/json", Some((Format::Json, WHOLE)));
        check("application/yaml", Some((Format::Yaml, WHOLE)));
        check("application/*, application/yaml;q=0.9", Some((Format::Json, WHOLE)));
        check("application/*, application/yaml", Some((Format::Yaml, WHOLE)));
    }

    #[test]
    fn what_is_not_on_offer_is_refused() {
        let check = |accept: &str| assert_eq!(negotiate(accept, true), None, "{accept}");
        check("application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1");
        check("application/*");
        check("application/*, text/html");
        check("text/html");
        check(";;;");
        check("application/json;as=Else;v=v1;g=meta.k8s.io");
        check("application/json;as=Table;v=v9;g=meta.k8s.io");
        check("application/json;as=Table;v=v1;g=apps");
        check("application/json;v=v1");
        assert_eq!(negotiate("application/json;as=Table;v=v1;g=meta.k8s.io", false), None);
        assert_eq!(negotiate("application/json", false), Some((Format::Json, WHOLE)));
    }
}
