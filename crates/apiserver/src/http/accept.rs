//! Which representation a client wants.

use http::HeaderMap;
use http::header::ACCEPT;
use skiff_machinery::protobuf;

use skiff_registry::ApiError;

const OFFERED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// What watches are sent in.
const STREAMED: &str = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// What a collection is sent in, which may be watched.
const OFFERED_OR_STREAMED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf, \
     application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// What logs are sent in, and what they are said to be sent in.
const OFFERED_OR_TEXT: &str =
    "text/plain, application/json, application/yaml, application/vnd.kubernetes.protobuf";

const ANY: &str = "*/*";

/// The parameters that ask for another form: its kind, group and version.
const CONVERSION: [&str; 3] = ["as", "g", "v"];

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

/// By what Kubernetes finds who answers a request for its own types, before anything is negotiated: a media type has to be
/// named in full, or be any at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Of custom kinds there are no such routes.
    None,
    /// To an object.
    Object,
    /// To a collection, which can be watched, too.
    Collection,
    /// To a log.
    Log,
    /// To what is sent in JSON alone.
    Json,
}

impl Route {
    /// The media types that it is said to offer.
    fn offers(self) -> &'static str {
        match self {
            Self::None | Self::Object => OFFERED,
            Self::Collection => OFFERED_OR_STREAMED,
            Self::Log => OFFERED_OR_TEXT,
            Self::Json => "application/json",
        }
    }

    /// Refuses a request that names nothing of what is offered.
    pub(crate) fn check(self, headers: &HeaderMap) -> Result<(), ApiError> {
        let ranges = ranges(headers);
        let named = |range: &MediaRange<'_>| {
            range.media_type == ANY || self.offers().split(", ").any(|offer| offer == range.media_type)
        };
        if self == Self::None || ranges.is_empty() || ranges.iter().any(named) {
            return Ok(());
        }
        Err(ApiError::NoRepresentation(self.offers()))
    }
}

/// What there is of what is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered {
    pub(crate) tables: bool,
    pub(crate) protobuf: bool,
    pub(crate) route: Route,
}

impl Offered {
    const ALL: Self = Self { tables: true, protobuf: true, route: Route::Object };
}

impl Encoding {
    /// Objects as they are, in JSON.
    pub(crate) const JSON: Self = Self { format: Format::Json, view: View::Whole };

    /// The best encoding that the `Accept` header allows; JSON without one.
    pub(crate) fn negotiate(headers: &HeaderMap, offered: Offered) -> Result<Self, ApiError> {
        let mut ranges = ranges(headers);
        if ranges.is_empty() {
            return Ok(Self::JSON);
        }
        offered.route.check(headers)?;
        skiff_ordered::sort_by_key(&mut ranges, MediaRange::rank);
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
        if !range.converts() {
            return Some(View::Whole);
        }
        let [kind, group, version] = CONVERSION.map(|key| range.parameter(key));
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
        self.format.content_type()
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

impl Format {
    /// The best format that the `Accept` header allows for what is shown whole; JSON without one.
    pub(crate) fn negotiate(headers: &HeaderMap, route: Route) -> Result<Self, ApiError> {
        let mut ranges = ranges(headers);
        if ranges.is_empty() {
            return Ok(Self::Json);
        }
        route.check(headers)?;
        skiff_ordered::sort_by_key(&mut ranges, MediaRange::rank);
        let whole = ranges.into_iter().filter(|range| !range.converts());
        let mut formats = whole.filter_map(|range| match range.media_type {
            ANY | "application/*" => Some(Self::Json),
            media_type => format(media_type),
        });
        formats.next().ok_or(ApiError::NotAcceptable(OFFERED))
    }

    /// The `Content-Type` of what is in it.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Yaml => "application/yaml",
            Self::Json => "application/json",
            Self::Protobuf => protobuf::CONTENT_TYPE,
        }
    }
}

/// The alternatives of a request; none where it does not care.
pub(crate) fn ranges(headers: &HeaderMap) -> Vec<MediaRange<'_>> {
    let values: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    if values.iter().all(|value| value.is_empty()) {
        return Vec::new();
    }
    values.into_iter().flat_map(|value| value.split(',')).map(MediaRange::parse).collect()
}

/// The format of a media type that is named in full.
pub(crate) fn format(media_type: &str) -> Option<Format> {
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

    /// Whether something else is asked for than what there is, such as a Table.
    pub(crate) fn converts(&self) -> bool {
        CONVERSION.iter().any(|key| self.parameter(key).is_some())
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
        Encoding::negotiate(&headers, Offered { tables, ..Offered::ALL })
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
    fn routes_are_found_by_what_is_named_in_full() {
        let told = |accept: &str, route: Route| {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            route.check(&headers).err().map(|error| error.to_string())
        };
        let refused =
            |offers: &str| Some(format!("406: Not Acceptable\n\nAvailable representations: {offers}"));
        assert_eq!(told("text/html", Route::Object), refused(OFFERED));
        assert_eq!(
            told("application/*", Route::Collection),
            refused(&format!(
                "{OFFERED}, application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
            ))
        );
        assert_eq!(told("text/html", Route::Log), refused(&format!("text/plain, {OFFERED}")));
        for route in [Route::Object, Route::Collection, Route::Log] {
            assert_eq!(told("application/json;as=Table", route), None);
            assert_eq!(told("text/html, */*", route), None);
            assert_eq!(told("", route), None);
        }
        assert_eq!(told("text/plain", Route::Log), None);
        assert_eq!(told("text/html", Route::None), None);
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
        let custom = Offered { protobuf: false, route: Route::None, ..Offered::ALL };
        let headers = HeaderMap::from_iter([(ACCEPT, "application/*".parse().unwrap())]);
        assert_eq!(Encoding::negotiate(&headers, custom).ok(), Some(Encoding::JSON));
        assert_eq!(negotiate("application/json;as=Table;v=v1;g=meta.k8s.io", false), None);
        assert_eq!(negotiate("application/json", false), Some((Format::Json, WHOLE)));
    }
}
