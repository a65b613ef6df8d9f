//! Documents that describe the API: discovery, OpenAPI, version. Each is made when it is first asked for
//! and kept as bytes.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, IF_NONE_MATCH, LOCATION, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use skiff_machinery::discovery::{self, Registry};
use skiff_machinery::openapi::{Dialect, Encoding};
use skiff_machinery::{Catalogue, GroupVersion, Object, openapi, protobuf, version_path};
use skiff_registry::{ApiError, Query, codec};

use super::accept::{self, Format, MediaRange, Route};
use super::body::{self, Body};
use crate::answer::format;
use crate::build_info::BuildInfo;

/// The `Content-Type` of discovery's aggregated documents.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The documents made so far.
pub(crate) struct Documents {
    catalogue: Arc<Catalogue>,
    registry: Registry,
    /// `host:port` as clients reach the server.
    server: String,
    build: BuildInfo,
    made: Mutex<HashMap<(Wanted, Format), Arc<Document>>>,
}

/// A document's bytes and what identifies them.
struct Document {
    bytes: Bytes,
    etag: HeaderValue,
    content_type: &'static str,
}

/// Which document a request is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Wanted {
    Version,
    Index,
    Aggregated { core: bool },
    CoreVersions,
    Groups,
    Group(String),
    Resources(GroupVersion),
    OpenApiV3,
    OpenApiV3Group(GroupVersion, Encoding),
    OpenApiV2(Encoding),
}

impl Documents {
    /// What this server serves and what is registered; `server` is `host:port` as clients reach it.
    pub(crate) fn new(
        catalogue: Arc<Catalogue>,
        registry: Registry,
        server: String,
        build: BuildInfo,
    ) -> Self {
        Self { catalogue, registry, server, build, made: Mutex::default() }
    }

    /// Answers the paths of documents; `None` for other paths.
    pub(crate) fn answer(
        &self,
        path: &str,
        query: &Query,
        headers: &HeaderMap,
    ) -> Option<Result<Response<Body>, ApiError>> {
        let wanted = match Wanted::of(path, headers)? {
            Ok(wanted) => wanted,
            Err(error) => return Some(Err(error)),
        };
        let Some(document) = self.document(&wanted) else { return Some(Err(wanted.0.missing())) };
        let answer = document.answer(headers);
        Some(Ok(match &wanted.0 {
            Wanted::OpenApiV3Group(gv, _) => self.named_by_hash(answer, gv, query.get("hash")),
            _ => answer,
        }))
    }

    /// The answer to a request whose URL says which edition of a document is asked for: one that may be kept for long, or where
    /// the present edition is.
    fn named_by_hash(&self, mut answer: Response<Body>, gv: &GroupVersion, hash: &str) -> Response<Body> {
        let present = openapi::hash(&self.catalogue, gv);
        let headers = answer.headers_mut();
        if hash.is_empty() {
            headers.remove(CACHE_CONTROL);
        } else if hash == present {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
            headers.insert(EXPIRES, in_a_year());
        } else {
            let url = HeaderValue::from_str(&openapi::v3_url(&self.catalogue, gv));
            headers.insert(LOCATION, url.expect("a path of names and hexadecimal digits"));
            *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
            *answer.body_mut() = body::full(Bytes::new());
        }
        answer
    }

    fn document(&self, wanted: &(Wanted, Format)) -> Option<Arc<Document>> {
        if let Some(document) = self.made.lock().get(wanted) {
            return Some(document.clone());
        }
        let document = Arc::new(self.make(&wanted.0, wanted.1)?);
        self.made.lock().insert(wanted.clone(), document.clone());
        Some(document)
    }

    fn make(&self, wanted: &Wanted, format: Format) -> Option<Document> {
        let (catalogue, registry) = (&*self.catalogue, &self.registry);
        let value = match wanted {
            Wanted::Version => self.build.version(),
            Wanted::Index => json!({"paths": paths(catalogue, registry)}),
            Wanted::Aggregated { core } => discovery::aggregated(catalogue, registry, *core),
            Wanted::CoreVersions => discovery::api_versions(&self.server),
            Wanted::Groups => discovery::group_list(catalogue, registry),
            Wanted::Group(group) => discovery::group(catalogue, registry, group)?,
            Wanted::Resources(gv) => discovery::resource_list(catalogue, gv)?,
            Wanted::OpenApiV3 => openapi::v3_index(catalogue, registry),
            Wanted::OpenApiV3Group(gv, encoding) => {
                let bytes = openapi::v3_document(catalogue, gv, *encoding)?;
                let etag = etag(&openapi::hash(catalogue, gv));
                return Some(Document { bytes: bytes.into(), etag, content_type: wanted.content_type() });
            }
            Wanted::OpenApiV2(encoding) => {
                return Some(Document::new(openapi::v2_document(catalogue, registry, *encoding), wanted));
            }
        };
        let document = match format {
            Format::Json => Document::new(codec::to_json(&value), wanted),
            Format::Yaml => Document::new(format::yaml(&value), wanted).of_type(format.content_type()),
            Format::Protobuf => Document::new(self.message(value)?, wanted).of_type(format.content_type()),
        };
        Some(document)
    }

    /// A legacy document in protobuf.
    fn message(&self, document: Value) -> Option<Vec<u8>> {
        let root = &self.catalogue.iter().next()?.root;
        let root = root.of_kind("", "v1", document["kind"].as_str()?)?;
        let mut document = Object::from_value(document).ok()?;
        document.set(&["apiVersion"], "v1");
        Some(protobuf::object(&document, &root))
    }
}

impl Wanted {
    fn of(path: &str, headers: &HeaderMap) -> Option<Result<(Self, Format), ApiError>> {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let gv = |group: &str, version: &str| GroupVersion {
            group: group.to_owned().into(),
            version: version.to_owned().into(),
        };
        let wanted = match segments.as_slice() {
            [] => Self::Index,
            ["version"] => Self::Version,
            ["api"] if is_aggregated(headers) => Self::Aggregated { core: true },
            ["apis"] if is_aggregated(headers) => Self::Aggregated { core: false },
            ["api"] => Self::CoreVersions,
            ["apis"] => Self::Groups,
            ["api", version] => Self::Resources(gv("", version)),
            ["apis", group] => Self::Group((*group).to_owned()),
            ["apis", group, version] => Self::Resources(gv(group, version)),
            ["openapi", "v2"] => match negotiate(headers, Dialect::V2) {
                Ok(encoding) => Self::OpenApiV2(encoding),
                Err(error) => return Some(Err(error)),
            },
            ["openapi", "v3"] => Self::OpenApiV3,
            ["openapi", "v3", "api", version] => match negotiate(headers, Dialect::V3) {
                Ok(encoding) => Self::OpenApiV3Group(gv("", version), encoding),
                Err(error) => return Some(Err(error)),
            },
            ["openapi", "v3", "apis", group, version] => match negotiate(headers, Dialect::V3) {
                Ok(encoding) => Self::OpenApiV3Group(gv(group, version), encoding),
                Err(error) => return Some(Err(error)),
            },
            ["openapi", "v3", ..] => return Some(Err(ApiError::Silent(StatusCode::NOT_FOUND))),
            _ => return None,
        };
        let format = match wanted {
            Self::CoreVersions | Self::Resources(_) => Format::negotiate(headers, Route::Object),
            // Those who list groups have no routes by what they take.
            Self::Groups | Self::Group(_) => Format::negotiate(headers, Route::None),
            Self::Version => Route::Json.check(headers).map(|()| Format::Json),
            _ => Ok(Format::Json),
        };
        Some(format.map(|format| (wanted, format)))
    }

    /// Why it is not there.
    fn missing(&self) -> ApiError {
        match self {
            Self::OpenApiV3Group(..) => ApiError::Silent(StatusCode::NOT_FOUND),
            _ => ApiError::NoSuchPage,
        }
    }

    fn content_type(&self) -> &'static str {
        match self {
            // Without the parameters clients would read the body as a legacy document.
            Self::Aggregated { .. } => AGGREGATED,
            // Kubernetes leaves it to its HTTP server to guess.
            Self::OpenApiV3 => "text/plain; charset=utf-8",
            Self::OpenApiV2(encoding) => sent_as(*encoding, Dialect::V2),
            Self::OpenApiV3Group(_, encoding) => sent_as(*encoding, Dialect::V3),
            _ => "application/json",
        }
    }
}

/// Whether the client likes the aggregated form of discovery best, of what there is.
fn is_aggregated(headers: &HeaderMap) -> bool {
    let asked = |range: &MediaRange<'_>| {
        range.parameter("g") == Some("apidiscovery.k8s.io")
            && range.parameter("v") == Some("v2")
            && range.parameter("as") == Some("APIGroupDiscoveryList")
    };
    let mut ranges = accept::ranges(headers);
    skiff_ordered::sort_by_key(&mut ranges, MediaRange::rank);
    let offered = |range: &&MediaRange<'_>| match range.media_type {
        "application/json" | "application/*" | "*/*" => asked(range) || !range.converts(),
        media_type => accept::format(media_type).is_some() && !range.converts(),
    };
    ranges.iter().find(offered).is_some_and(asked)
}

/// The first encoding of OpenAPI that the client takes; JSON for clients that do not say.
fn negotiate(headers: &HeaderMap, dialect: Dialect) -> Result<Encoding, ApiError> {
    let mut ranges = accept::ranges(headers);
    if ranges.is_empty() {
        return Ok(Encoding::Json);
    }
    skiff_ordered::sort_by_key(&mut ranges, MediaRange::rank);
    let encoding = |range: MediaRange<'_>| match range.media_type {
        "application/*" | "*/*" => Some(Encoding::Json),
        named => [Encoding::Json, Encoding::Protobuf]
            .into_iter()
            .find(|encoding| encoding.media_types(dialect).contains(&named)),
    };
    ranges.into_iter().find_map(encoding).ok_or(ApiError::Silent(StatusCode::NOT_ACCEPTABLE))
}

/// The `Content-Type` of a description.
fn sent_as(encoding: Encoding, dialect: Dialect) -> &'static str {
    encoding.media_types(dialect).last().expect("every encoding has a media type")
}

/// When what never changes expires, as headers have it.
fn in_a_year() -> HeaderValue {
    let then = Timestamp::now() + SignedDuration::from_hours(365 * 24);
    let text = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&then);
    let text = text.expect("years of four digits can be written");
    HeaderValue::from_str(&text).expect("letters, digits and signs")
}

fn etag(hash: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{hash}\"")).expect("quotes and hexadecimal digits")
}

impl Document {
    fn new(bytes: impl Into<Bytes>, wanted: &Wanted) -> Self {
        let bytes = bytes.into();
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02X}")).collect();
        Self { bytes, etag: etag(&hash), content_type: wanted.content_type() }
    }

    fn of_type(self, content_type: &'static str) -> Self {
        Self { content_type, ..self }
    }

    fn answer(&self, headers: &HeaderMap) -> Response<Body> {
        let unchanged = headers.get(IF_NONE_MATCH).is_some_and(|tag| *tag == self.etag);
        let body = if unchanged { body::full(Bytes::new()) } else { body::full(self.bytes.clone()) };
        let mut response = Response::new(body);
        if unchanged {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let out = response.headers_mut();
        out.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        out.insert(ETAG, self.etag.clone());
        out.insert(VARY, HeaderValue::from_static("Accept"));
        out.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
        response
    }
}

/// What `/` lists.
fn paths(catalogue: &Catalogue, registry: &Registry) -> Vec<String> {
    let mut paths: Vec<String> = [
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ]
    .map(str::to_owned)
    .into();
    let here = catalogue.iter().map(|kind| &kind.gv);
    for gv in here.chain(registry.all_elsewhere().map(|(gv, _)| gv)) {
        if !gv.group.is_empty() {
            paths.push(format!("/apis/{}", gv.group));
        }
        paths.push(version_path(gv));
    }
    skiff_ordered::sort_by(&mut paths, Ord::cmp);
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT;

    use super::*;

    fn accepting(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())])
    }

    #[test]
    fn aggregated_discovery_is_chosen_by_accept() {
        let check = |accept: &str, expected: (Wanted, Format)| {
            assert_eq!(Wanted::of("/apis", &accepting(accept)).unwrap().unwrap(), expected, "{accept}");
        };
        let aggregated = || (Wanted::Aggregated { core: false }, Format::Json);
        check("application/json", (Wanted::Groups, Format::Json));
        check("application/yaml", (Wanted::Groups, Format::Yaml));
        check(protobuf::CONTENT_TYPE, (Wanted::Groups, Format::Protobuf));
        check(AGGREGATED, aggregated());
        check(&format!("{AGGREGATED};profile=nopeer,application/json"), aggregated());
        check(&format!("application/json;q=0.9, {AGGREGATED}"), aggregated());
        check(&format!("application/json, {AGGREGATED};q=0.5"), (Wanted::Groups, Format::Json));
        let old = AGGREGATED.replace("v2", "v2beta1");
        check(&format!("{old},application/json"), (Wanted::Groups, Format::Json));
        check(&format!("{old},{AGGREGATED},application/json"), aggregated());
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let check = |path: &str, accept: &str, code: u16| {
            let error = Wanted::of(path, &accepting(accept)).unwrap().unwrap_err();
            assert_eq!(error.code(), code, "{path} {accept}");
        };
        check("/api", &AGGREGATED.replace("v2", "v9"), 406);
        check("/api/v1", AGGREGATED, 406);
        check("/apis", "text/html", 406);
        check("/openapi/v2", "text/html", 406);
        check("/openapi/v3/none", "*/*", 404);
        assert!(Wanted::of("/openapi/v9", &HeaderMap::new()).is_none());
    }

    #[test]
    fn descriptions_have_the_encoding_that_the_client_takes() {
        let check = |dialect: Dialect, accept: &str, expected: Option<Encoding>| {
            assert_eq!(negotiate(&accepting(accept), dialect).ok(), expected, "{dialect:?} {accept}");
        };
        for (dialect, other) in [(Dialect::V2, Dialect::V3), (Dialect::V3, Dialect::V2)] {
            check(dialect, "", Some(Encoding::Json));
            check(dialect, "*/*", Some(Encoding::Json));
            check(dialect, "application/json", Some(Encoding::Json));
            for protobuf in Encoding::Protobuf.media_types(dialect) {
                check(dialect, protobuf, Some(Encoding::Protobuf));
                check(dialect, &format!("application/json;q=0.5, {protobuf}"), Some(Encoding::Protobuf));
                check(other, protobuf, None);
            }
            check(dialect, "text/html, application/json;q=0.1", Some(Encoding::Json));
            check(dialect, "text/html", None);
        }
        assert!(sent_as(Encoding::Protobuf, Dialect::V3).parse::<HeaderValue>().is_ok());
        assert!(!sent_as(Encoding::Protobuf, Dialect::V3).contains('@'));
    }
}
