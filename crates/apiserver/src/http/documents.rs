//! Documents that describe the API: discovery, OpenAPI, version. Each is made when it is first asked for
//! and kept as bytes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use skiff_machinery::discovery::{self, AggregatedVersion};
use skiff_machinery::{Catalogue, GroupVersion, openapi};

use super::accept::MediaRange;
use super::body::{self, Body};
use crate::build_info::BuildInfo;
use crate::errors::ApiError;

const V2_OFFERED: &str = "application/json, application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The documents made so far.
pub(crate) struct Documents {
    catalogue: Arc<Catalogue>,
    /// `host:port` as clients reach the server.
    server: String,
    build: BuildInfo,
    made: Mutex<HashMap<Wanted, Arc<Document>>>,
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
    Aggregated { core: bool, version: AggregatedVersion },
    CoreVersions,
    Groups,
    Group(String),
    Resources(GroupVersion),
    OpenApiV3,
    OpenApiV3Group(GroupVersion),
    OpenApiV2(V2Format),
}

/// How the OpenAPI document of version 2 is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum V2Format {
    Json,
    Protobuf,
}

impl Documents {
    /// `server` is `host:port` as clients reach it.
    pub(crate) fn new(catalogue: Arc<Catalogue>, server: String, build: BuildInfo) -> Self {
        Self { catalogue, server, build, made: Mutex::default() }
    }

    /// Answers the paths of documents; `None` for other paths.
    pub(crate) fn answer(&self, path: &str, headers: &HeaderMap) -> Option<Result<Response<Body>, ApiError>> {
        let wanted = match Wanted::of(path, headers)? {
            Ok(wanted) => wanted,
            Err(error) => return Some(Err(error)),
        };
        let Some(document) = self.document(&wanted) else { return Some(Err(ApiError::NoSuchPage)) };
        Some(Ok(document.answer(headers)))
    }

    fn document(&self, wanted: &Wanted) -> Option<Arc<Document>> {
        if let Some(document) = self.made.lock().get(wanted) {
            return Some(document.clone());
        }
        let document = Arc::new(self.make(wanted)?);
        self.made.lock().insert(wanted.clone(), document.clone());
        Some(document)
    }

    fn make(&self, wanted: &Wanted) -> Option<Document> {
        let catalogue = &*self.catalogue;
        let value = match wanted {
            Wanted::Version => self.build.version(),
            Wanted::Index => json!({"paths": paths(catalogue)}),
            Wanted::Aggregated { core, version } => discovery::aggregated(catalogue, *core, *version),
            Wanted::CoreVersions => discovery::api_versions(&self.server),
            Wanted::Groups => discovery::group_list(catalogue),
            Wanted::Group(group) => discovery::group(catalogue, group)?,
            Wanted::Resources(gv) => discovery::resource_list(catalogue, gv)?,
            Wanted::OpenApiV3 => openapi::v3_index(catalogue),
            Wanted::OpenApiV3Group(gv) => {
                return Some(Document::new(openapi::v3_document(catalogue, gv)?, wanted));
            }
            Wanted::OpenApiV2(V2Format::Json) => {
                return Some(Document::new(openapi::v2_json(catalogue), wanted));
            }
            Wanted::OpenApiV2(V2Format::Protobuf) => {
                return Some(Document::new(openapi::v2_protobuf(catalogue), wanted));
            }
        };
        Some(Document::new(crate::pipeline::codec::to_json(&value), wanted))
    }
}

impl Wanted {
    fn of(path: &str, headers: &HeaderMap) -> Option<Result<Self, ApiError>> {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let gv = |group: &str, version: &str| GroupVersion {
            group: group.to_owned().into(),
            version: version.to_owned().into(),
        };
        Some(Ok(match segments.as_slice() {
            [] => Self::Index,
            ["version"] => Self::Version,
            ["api"] => Self::aggregated(true, headers).unwrap_or(Self::CoreVersions),
            ["apis"] => Self::aggregated(false, headers).unwrap_or(Self::Groups),
            ["api", version] => Self::Resources(gv("", version)),
            ["apis", group] => Self::Group((*group).to_owned()),
            ["apis", group, version] => Self::Resources(gv(group, version)),
            ["openapi", "v2"] => return Some(V2Format::negotiate(headers).map(Self::OpenApiV2)),
            ["openapi", "v3"] => Self::OpenApiV3,
            ["openapi", "v3", "api", version] => Self::OpenApiV3Group(gv("", version)),
            ["openapi", "v3", "apis", group, version] => Self::OpenApiV3Group(gv(group, version)),
            _ => return None,
        }))
    }

    /// The aggregated form, when the client puts it first.
    fn aggregated(core: bool, headers: &HeaderMap) -> Option<Self> {
        let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for range in accepts.flat_map(|value| value.split(',')).map(MediaRange::parse) {
            let is_discovery = range.parameter("g") == Some("apidiscovery.k8s.io")
                && range.parameter("as") == Some("APIGroupDiscoveryList");
            match (is_discovery, range.parameter("v")) {
                (true, Some("v2")) => {
                    return Some(Self::Aggregated { core, version: AggregatedVersion::V2 });
                }
                (true, Some("v2beta1")) => {
                    return Some(Self::Aggregated { core, version: AggregatedVersion::V2beta1 });
                }
                (true, _) => {}
                (false, _) if matches!(range.media_type, "application/json" | "*/*") => return None,
                (false, _) => {}
            }
        }
        None
    }

    fn content_type(&self) -> &'static str {
        match self {
            Self::Aggregated { version, .. } => version.content_type(),
            Self::OpenApiV2(V2Format::Protobuf) => openapi::V2_CONTENT_TYPE,
            _ => "application/json",
        }
    }
}

impl V2Format {
    /// The first that the client takes; JSON for clients that do not say.
    fn negotiate(headers: &HeaderMap) -> Result<Self, ApiError> {
        let accepts = || headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        if accepts().all(str::is_empty) {
            return Ok(Self::Json);
        }
        let mut ranges: Vec<MediaRange<'_>> =
            accepts().flat_map(|value| value.split(',')).map(MediaRange::parse).collect();
        ranges.sort_by_key(MediaRange::rank);
        let format = |range: MediaRange<'_>| match range.media_type {
            "application/json" | "application/*" | "*/*" => Some(Self::Json),
            openapi::V2_ACCEPT | openapi::V2_CONTENT_TYPE => Some(Self::Protobuf),
            _ => None,
        };
        ranges.into_iter().find_map(format).ok_or(ApiError::NotAcceptable(V2_OFFERED))
    }
}

impl Document {
    fn new(bytes: impl Into<Bytes>, wanted: &Wanted) -> Self {
        let bytes = bytes.into();
        let mut etag = String::from("\"");
        for byte in Sha256::digest(&bytes) {
            write!(etag, "{byte:02X}").expect("writing into a String does not fail");
        }
        etag.push('"');
        let etag = HeaderValue::from_str(&etag).expect("quotes and hexadecimal digits");
        Self { bytes, etag, content_type: wanted.content_type() }
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
fn paths(catalogue: &Catalogue) -> Vec<String> {
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
    for kind in catalogue.iter() {
        let group = &kind.gv.group;
        if group.is_empty() {
            paths.push(format!("/api/{}", kind.gv.version));
        } else {
            paths.push(format!("/apis/{group}"));
            paths.push(format!("/apis/{}", kind.gv));
        }
    }
    paths.sort();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregated_discovery_is_chosen_by_accept() {
        let check = |accept: &str, expected: Wanted| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(Wanted::of("/apis", &headers).unwrap().unwrap(), expected, "{accept}");
        };
        check("application/json", Wanted::Groups);
        check(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
            Wanted::Aggregated { core: false, version: AggregatedVersion::V2 },
        );
        check(
            "application/json;as=APIGroupDiscoveryList;v=v2beta1;g=apidiscovery.k8s.io,application/json",
            Wanted::Aggregated { core: false, version: AggregatedVersion::V2beta1 },
        );
    }

    #[test]
    fn the_old_description_has_the_format_that_the_client_takes() {
        let check = |accept: &str, expected: Option<V2Format>| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(V2Format::negotiate(&headers).ok(), expected, "{accept}");
        };
        check("", Some(V2Format::Json));
        check("*/*", Some(V2Format::Json));
        check("application/json", Some(V2Format::Json));
        check(openapi::V2_ACCEPT, Some(V2Format::Protobuf));
        check(openapi::V2_CONTENT_TYPE, Some(V2Format::Protobuf));
        check(&format!("application/json;q=0.5, {}", openapi::V2_ACCEPT), Some(V2Format::Protobuf));
        check("text/html, application/json;q=0.1", Some(V2Format::Json));
        check("text/html", None);
    }
}
