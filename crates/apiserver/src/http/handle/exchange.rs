//! What is known of a request from its head.

use std::sync::{Arc, OnceLock};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request};
use parking_lot::Mutex;
use skiff_audit::Record;
use skiff_identity::UserInfo;
use skiff_machinery::{Kind, Subresource, Verb};
use skiff_registry::{Offer as _, Query, Warnings};
use tokio::time::Instant;

use crate::audit::trail::Trail;
use crate::fairness::priority::Seat;
use crate::http::accept::{Encoding, Format};
use crate::http::body::Body;
use crate::http::caller::Caller;
use crate::http::gate::{Share, Work};
use crate::http::metrics::Asked;
use crate::http::order::Matched;
use crate::http::path::{RequestInfo, ResourcePath};
use crate::shared::Shared;

/// Who asks, and what the request holds.
pub(super) struct Admitted {
    pub(super) user: UserInfo,
    pub(super) share: Share,
    pub(super) seat: Option<Arc<Seat>>,
}

/// What is known of a request from its head.
pub(super) struct Exchange {
    pub(super) server: Arc<Shared>,
    pub(super) started: Instant,
    pub(super) info: RequestInfo,
    pub(super) query: Query,
    pub(super) method: Method,
    /// The first segment of the path.
    pub(super) first_segment: String,
    pub(super) warnings: Arc<Mutex<Warnings>>,
    /// What is written down of it, if anything is.
    pub(super) trail: Option<Arc<Trail>>,
    /// Set when it has been classified.
    pub(super) matched: Arc<OnceLock<Matched>>,
}

impl Exchange {
    /// A request with its ID.
    pub(super) fn new(server: Arc<Shared>, request: &Request<Body>, id: &str, caller: &Caller) -> Self {
        let trail = server.audit.clone();
        Self {
            trail: trail.map(|audit| Trail::new(audit, id, caller.address(), request)),
            server,
            started: Instant::now(),
            info: RequestInfo::parse(request.uri().path()),
            query: Query::parse(request.uri().query().unwrap_or_default()),
            method: request.method().clone(),
            first_segment: request.uri().path().split('/').nth(1).unwrap_or_default().to_owned(),
            warnings: Arc::default(),
            matched: Arc::default(),
        }
    }

    /// In which format a refusal is written.
    pub(super) fn format_of_errors(&self, headers: &HeaderMap) -> Format {
        match self.info {
            RequestInfo::Resource(_) => Encoding::of_errors(headers),
            RequestInfo::NonResource => Format::Json,
        }
    }

    pub(super) fn verb(&self) -> Option<Verb> {
        match &self.info {
            RequestInfo::Resource(path) => path.verb(&self.method, self.query.flag("watch")),
            RequestInfo::NonResource => None,
        }
    }

    /// What metrics say that it is for.
    pub(super) fn label(&self, headers: &HeaderMap) -> Asked {
        let dry_run = !self.query.get("dryRun").is_empty();
        let RequestInfo::Resource(path) = &self.info else {
            return Asked { verb: method(&self.method), dry_run, ..Asked::default() };
        };
        let Some(kind) = self.kind(path) else {
            return Asked { verb: self.verb_label(headers), dry_run, ..Asked::default() };
        };
        let subresource = kind.subresources.iter().find(|known| known.as_str() == path.subresource);
        let connects = subresource.filter(|known| known.connects() && **known != Subresource::Log);
        let is_one = !path.name.is_empty() || self.verb() == Some(Verb::Create);
        Asked {
            verb: if connects.is_some() { "CONNECT" } else { self.verb_label(headers) },
            dry_run,
            group: kind.gv.group.to_string(),
            version: kind.gv.version.to_string(),
            resource: kind.names.plural.to_string(),
            subresource: subresource.map_or("", |known| known.as_str()),
            scope: match path.namespace.as_str() {
                _ if is_one => "resource",
                "" => "cluster",
                _ => "namespace",
            },
        }
    }

    fn verb_label(&self, headers: &HeaderMap) -> &'static str {
        match self.verb() {
            Some(Verb::Create) => "POST",
            Some(Verb::Delete) => "DELETE",
            Some(Verb::DeleteCollection) => "DELETECOLLECTION",
            Some(Verb::List) => "LIST",
            Some(Verb::Patch) if is_apply(headers) => "APPLY",
            Some(Verb::Patch) => "PATCH",
            Some(Verb::Update) => "PUT",
            Some(Verb::Watch) => "WATCH",
            Some(Verb::Get) => "GET",
            None => method(&self.method),
        }
    }

    pub(super) fn kind(&self, path: &ResourcePath) -> Option<Arc<Kind>> {
        self.server.offers.catalogue().find(&path.group, &path.version, &path.resource).cloned()
    }

    /// Where what is written down of the request is noted.
    pub(super) fn record(&self) -> Arc<Record> {
        self.trail.as_ref().map_or_else(|| self.server.unrecorded.clone(), |trail| trail.record.clone())
    }

    pub(super) fn asks_for_health(&self) -> bool {
        matches!(self.info, RequestInfo::NonResource)
            && matches!(self.first_segment.as_str(), "healthz" | "livez" | "readyz")
    }

    pub(super) fn work(&self) -> Work {
        let RequestInfo::Resource(path) = &self.info else { return Work::Short };
        match (path.subresource.as_str(), self.verb()) {
            ("exec" | "attach" | "portforward" | "proxy" | "log", _) => Work::Stream,
            (_, Some(Verb::Watch)) => Work::Watch,
            _ => Work::Short,
        }
    }
}

fn is_apply(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|text| text.starts_with("application/apply-patch"))
}

/// A method as a label; those that clients make up are other.
fn method(method: &Method) -> &'static str {
    const KNOWN: [Method; 6] =
        [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD];
    const NAMES: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
    KNOWN.iter().position(|known| known == method).map_or("other", |index| NAMES[index])
}
