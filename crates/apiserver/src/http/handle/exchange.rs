//! What is known of a request from its head.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method, Request};
use parking_lot::Mutex;
use skiff_audit::Record;
use skiff_identity::UserInfo;
use skiff_machinery::{Kind, Verb};
use skiff_registry::{Offer as _, Query, Warnings};
use tokio::time::Instant;

use crate::audit::trail::Trail;
use crate::fairness::priority::Seat;
use crate::http::accept::{Encoding, Format};
use crate::http::body::Body;
use crate::http::caller::Caller;
use crate::http::gate::{Share, Work};
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

    /// As in metrics.
    pub(super) fn verb_label(&self) -> &'static str {
        match self.verb() {
            Some(Verb::Create) => "POST",
            Some(Verb::Delete) => "DELETE",
            Some(Verb::DeleteCollection) => "DELETECOLLECTION",
            Some(Verb::List) => "LIST",
            Some(Verb::Patch) => "PATCH",
            Some(Verb::Update) => "PUT",
            Some(Verb::Watch) => "WATCH",
            Some(Verb::Get) | None => "GET",
        }
    }

    /// As in metrics: only resources that exist, so that clients cannot make up labels.
    pub(super) fn resource_label(&self) -> String {
        match &self.info {
            RequestInfo::Resource(path) => self.kind(path).map(|kind| kind.names.plural.to_string()),
            RequestInfo::NonResource => None,
        }
        .unwrap_or_default()
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
