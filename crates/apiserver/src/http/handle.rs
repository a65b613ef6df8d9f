//! One request, from its head to the head of its answer.

mod elsewhere;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use skiff_auth::{Attributes, AuthnError, Decision};
use skiff_identity::UserInfo;
use skiff_listener::{AUDIT_ID, contained};
use skiff_machinery::{Kind, Scope, Subresource, Verb, selector::FieldSelector};
use skiff_streams::Content;
use tokio::time::Instant;
use uuid::Uuid;

use super::accept::{Encoding, Format, Offered, Route};
use super::body::{self, Body};
use super::client::Caller;
use super::gate::{Pass, Share, Work};
use super::health;
use super::order::{Matched, Order};
use super::path::{self, RequestInfo, ResourcePath};
use super::push::Push;
use super::query::Query;
use super::warnings::Warnings;
use crate::errors::{ApiError, Subject};
use crate::fairness::Seat;
use crate::pipeline::call::{Call, options_kind};
use crate::pipeline::{self, Done, codec, respond};
use crate::server::Shared;
use crate::subresources;

/// Answers one request.
pub(crate) async fn handle(server: Arc<Shared>, caller: Caller, request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let id = Uuid::new_v4().to_string();
    let exchange = Exchange::new(server.clone(), &request);
    let errors = exchange.format_of_errors(request.headers());
    let (verb, resource, warnings) =
        (exchange.verb_label(), exchange.resource_label(), exchange.warnings.clone());
    let matched = exchange.matched.clone();
    let mut response = match contained(exchange.run(caller, request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => refuse(&server, &error, errors, &id),
        Err(panicked) => answer(&server, &ApiError::Internal(panicked.told(&id)), Format::Json),
    };
    response.headers_mut().extend(HeaderValue::from_str(&id).ok().map(|id| (AUDIT_ID, id)));
    warnings.lock().write(response.headers_mut());
    matched.get().into_iter().for_each(|matched| matched.write(response.headers_mut()));
    server.metrics.request(verb, &resource, response.status(), started.elapsed());
    response
}

fn json(value: &Value) -> Response<Body> {
    let mut response = Response::new(body::full(codec::to_json(value)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer to a request that failed.
fn refuse(server: &Shared, error: &ApiError, format: Format, id: &str) -> Response<Body> {
    // A revision that is yet to come is the client's doing, and so is what Kubernetes calls an error of the server's without a
    // reason; its text may hold what was sent.
    let is_theirs = matches!(error, ApiError::FutureRevision { .. } | ApiError::Unclassified(_));
    if error.code().is_server_error() && !is_theirs {
        tracing::warn!(request = id, error = error as &dyn std::error::Error, "request failed");
    }
    answer(server, error, format)
}

fn answer(server: &Shared, error: &ApiError, format: Format) -> Response<Body> {
    if let ApiError::Silent(code) = error {
        let mut response = Response::new(body::full(Bytes::new()));
        *response.status_mut() = *code;
        return response;
    }
    let text = match error {
        ApiError::NoSuchPage => Some("404 page not found\n"),
        ApiError::MalformedPath => Some("400 Bad Request"),
        _ => None,
    };
    if let Some(text) = text {
        let mut response = Response::new(body::full(text));
        *response.status_mut() = error.code();
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        return response;
    }
    let catalogue = server.offers.catalogue();
    let any = catalogue.iter().next().map(|kind| &kind.root);
    let mut response = respond::refusal(error, format, any);
    let headers = response.headers_mut();
    if let Some(seconds) = error.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Who asks, and what the request holds.
struct Admitted {
    user: UserInfo,
    share: Share,
    seat: Option<Arc<Seat>>,
}

/// What is known of a request from its head.
struct Exchange {
    server: Arc<Shared>,
    info: RequestInfo,
    query: Query,
    method: Method,
    /// The first segment of the path.
    first_segment: String,
    warnings: Arc<Mutex<Warnings>>,
    /// Set when it has been classified.
    matched: Arc<OnceLock<Matched>>,
}

impl Exchange {
    fn new(server: Arc<Shared>, request: &Request<Body>) -> Self {
        Self {
            server,
            info: RequestInfo::parse(request.uri().path()),
            query: Query::parse(request.uri().query().unwrap_or_default()),
            method: request.method().clone(),
            first_segment: request.uri().path().split('/').nth(1).unwrap_or_default().to_owned(),
            warnings: Arc::default(),
            matched: Arc::default(),
        }
    }

    /// In which format a refusal is written.
    fn format_of_errors(&self, headers: &HeaderMap) -> Format {
        match self.info {
            RequestInfo::Resource(_) => Encoding::of_errors(headers),
            RequestInfo::NonResource => Format::Json,
        }
    }

    fn verb(&self) -> Option<Verb> {
        match &self.info {
            RequestInfo::Resource(path) => path.verb(&self.method, self.query.flag("watch")),
            RequestInfo::NonResource => None,
        }
    }

    /// As in metrics.
    fn verb_label(&self) -> &'static str {
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
    fn resource_label(&self) -> String {
        match &self.info {
            RequestInfo::Resource(path) => self.kind(path).map(|kind| kind.names.plural.to_string()),
            RequestInfo::NonResource => None,
        }
        .unwrap_or_default()
    }

    fn kind(&self, path: &ResourcePath) -> Option<Arc<Kind>> {
        self.server.offers.catalogue().find(&path.group, &path.version, &path.resource).cloned()
    }

    /// The kind at a path, also if it came to be just now.
    async fn newest_kind(&self, path: &ResourcePath) -> Result<Arc<Kind>, ApiError> {
        if let Some(kind) = self.kind(path) {
            return Ok(kind);
        }
        self.server.definitions.catch_up(self.server.store.revision()).await;
        self.kind(path).ok_or_else(|| self.unknown(path))
    }

    /// Why there is no kind at a path.
    fn unknown(&self, path: &ResourcePath) -> ApiError {
        self.nothing_in(&path.group)
    }

    /// Why there is nothing at a path below a group. What Kubernetes' own types are served by answers for their whole group; in
    /// groups of custom kinds there is nothing but these.
    fn nothing_in(&self, group: &str) -> ApiError {
        let is_own = |kind: &Arc<Kind>| kind.gv.group == group && kind.strategy.is_typed();
        if self.server.offers.catalogue().iter().any(is_own) {
            ApiError::UnknownPath
        } else {
            ApiError::NoSuchPage
        }
    }

    /// Why there is no document at a path.
    fn no_document(&self, path: &str) -> ApiError {
        let mut segments = path.trim_matches('/').split('/');
        match (segments.next(), segments.next()) {
            (Some("api"), Some(_)) => ApiError::UnknownPath,
            (Some("apis"), Some(group)) if !group.is_empty() => self.nothing_in(group),
            _ => ApiError::NoSuchPage,
        }
    }

    async fn run(self, caller: Caller, mut request: Request<Body>) -> Result<Response<Body>, ApiError> {
        if !path::is_well_formed(request.uri().path()) {
            return Err(ApiError::MalformedPath);
        }
        let (user, share) = self.caller(caller, request.headers(), request.uri().path()).await?;
        let elsewhere = self.elsewhere(request.uri().path());
        let (work, lasts) = match &elsewhere {
            Some(_) => (Work::Stream, self.lasts_there(&request)),
            None => (self.work(), self.work() != Work::Short && !self.is_finite_log()),
        };
        let pass = Arc::new(self.server.gate.enter(share, work, &user.name)?);
        let seat = self.seat(&user, work, request.uri().path()).await?.map(Arc::new);
        if lasts {
            request.extensions().get().into_iter().for_each(skiff_listener::Exchange::lasts);
        }
        // For streams, which outlive the answer.
        request.extensions_mut().insert::<Arc<Pass>>(pass.clone());
        // Whoever serves a request elsewhere speaks its protocol, too.
        let pushes = self.pushes().filter(|_| elsewhere.is_none());
        let push = pushes.and_then(|content| Push::take(&mut request, content));
        let (stall, shutdown) = (self.server.limits.connections.stall, self.server.shutdown.clone());
        let response = match (elsewhere, self.info.clone()) {
            (Some(registration), _) => self.pass_on(&user, &registration, request).await,
            (None, RequestInfo::NonResource) => self.non_resource(&user, &request.into_parts().0).await,
            (None, RequestInfo::Resource(path)) => {
                let admitted = Admitted { user, share, seat: seat.clone() };
                self.resource(admitted, path, request).await
            }
        }?;
        // A stranger may take the answer as slowly as is allowed, in a place of the strangers' and not on others' seats.
        let seat = seat.filter(|_| share != Share::Strangers);
        let response = response.map(|body| body::holding(body, (pass, seat)));
        Ok(match push {
            Some(push) => push.answer(response, stall, shutdown),
            None => response,
        })
    }

    /// What a WebSocket client is sent, if this is a request that is served to one.
    fn pushes(&self) -> Option<Content> {
        let RequestInfo::Resource(path) = &self.info else { return None };
        match (path.subresource.as_str(), self.verb()) {
            ("", Some(Verb::Watch)) => Some(Content::Lines),
            ("log", Some(Verb::Get)) => Some(Content::Bytes),
            _ => None,
        }
    }

    /// Who asks, and whose places the request takes.
    async fn caller(
        &self,
        caller: Caller,
        headers: &HeaderMap,
        path: &str,
    ) -> Result<(UserInfo, Share), ApiError> {
        let (identity, peer) = match caller {
            Caller::InProcess(user) => return Ok(((*user).clone(), Share::Exempt)),
            Caller::Network { identity, peer } => (identity, peer),
        };
        let (fields, nobody) = (self.fields(), UserInfo::default());
        let verb = self.method.as_str().to_ascii_lowercase();
        let wanted = match &self.info {
            RequestInfo::Resource(path) => self.attributes(&nobody, path, fields.as_ref()),
            RequestInfo::NonResource => Attributes::non_resource(&nobody, &verb, path),
        };
        let user = self.server.auth.authenticate(headers, identity.as_deref(), &wanted).await;
        let user = user.map_err(|error| match error {
            AuthnError::Unauthorized(_) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "request not authenticated");
                ApiError::Unauthorized
            }
            AuthnError::Refused(refusal) => refusal.into(),
        })?;
        let share = if self.asks_for_health() { Share::Exempt } else { Share::of(&user) };
        if share != Share::Strangers && !user.is_in(skiff_identity::UNAUTHENTICATED) {
            peer.known();
        }
        Ok((user, share))
    }

    fn asks_for_health(&self) -> bool {
        matches!(self.info, RequestInfo::NonResource)
            && matches!(self.first_segment.as_str(), "healthz" | "livez" | "readyz")
    }

    fn work(&self) -> Work {
        let RequestInfo::Resource(path) = &self.info else { return Work::Short };
        match (path.subresource.as_str(), self.verb()) {
            ("exec" | "attach" | "portforward" | "proxy" | "log", _) => Work::Stream,
            (_, Some(Verb::Watch)) => Work::Watch,
            _ => Work::Short,
        }
    }

    /// Whether this is a log that is not followed: it ends by itself.
    fn is_finite_log(&self) -> bool {
        let is_log = |path: &ResourcePath| path.subresource == "log";
        matches!(&self.info, RequestInfo::Resource(path) if is_log(path)) && !self.query.flag("follow")
    }

    /// Waits for the request's seats, if it takes some.
    async fn seat(&self, user: &UserInfo, work: Work, path: &str) -> Result<Option<Seat>, ApiError> {
        if work == Work::Stream {
            return Ok(None);
        }
        let order = Order { info: &self.info, method: &self.method, verb: self.verb(), query: &self.query };
        let classified = self.server.priority.fairness.classify(&order.asked(user, path));
        // Only classified here.
        self.matched.set(Matched::new(&classified)).ok();
        let seats = match &self.info {
            RequestInfo::Resource(path) if !classified.is_exempt() => {
                self.kind(path).map_or(1, |kind| order.seats(&*self.server.store, &kind, classified.widest()))
            }
            _ => 1,
        };
        self.server.priority.enter(classified, seats, order.details(user, path)).await.map(Some)
    }

    async fn authorize(&self, attributes: &Attributes<'_>) -> Result<(), ApiError> {
        let reason = match self.server.auth.authorize(attributes).await {
            Decision::Allow(_) => return Ok(()),
            Decision::Deny(reason) => reason,
        };
        let subject =
            Subject { group: attributes.group.into(), ..Subject::core(attributes.resource, attributes.name) };
        let message = attributes.forbidden_message(&reason);
        Err(ApiError::Forbidden { subject, message, causes: Vec::new() })
    }

    async fn non_resource(&self, user: &UserInfo, head: &Parts) -> Result<Response<Body>, ApiError> {
        let path = head.uri.path();
        let verb = self.method.as_str().to_ascii_lowercase();
        self.authorize(&Attributes::non_resource(user, &verb, path)).await?;
        // As in Kubernetes, these do not mind the method.
        if let Some(answer) = health::answer(&self.server, path, &self.query) {
            return answer;
        }
        let detailed = !self.query.get("includeRequestDetails").is_empty();
        if let Some(dump) = self.server.priority.dump(path, detailed) {
            let mut response = Response::new(body::full(dump));
            let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            return Ok(response);
        }
        let metrics = match path.trim_end_matches('/') {
            "/metrics" => {
                let own = self.server.metrics.render(self.server.store.revision());
                let (priority, aggregation) = (&self.server.priority, &self.server.aggregation);
                let parts =
                    [priority.fairness.metrics(), aggregation.metrics(), (self.server.more_metrics)()];
                Some(own + &parts.concat())
            }
            "/metrics/slis" => Some(health::slis(&self.server)),
            _ => None,
        };
        if let Some(text) = metrics {
            let mut response = Response::new(body::full(text));
            let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            return Ok(response);
        }
        let identity = match path {
            "/openid/v1/jwks" => Some(self.server.auth.jwks()),
            "/.well-known/openid-configuration" => Some(self.server.auth.openid_configuration()),
            _ => None,
        };
        if let Some(document) = identity {
            return if self.method == Method::GET {
                Ok(json(&document))
            } else {
                Err(ApiError::MethodNotAllowed)
            };
        }
        // Who has just made a kind is to find it.
        let newest = self.server.store.revision();
        self.server.definitions.catch_up(newest).await;
        self.server.aggregation.catch_up(newest).await;
        let document = self.server.offers.current().documents.answer(path, &head.headers);
        let document = document.unwrap_or(Err(ApiError::NoSuchPage));
        let document = document.map_err(|error| match error {
            ApiError::NoSuchPage => self.no_document(path),
            other => other,
        })?;
        // The index and the descriptions are served by handlers that do not mind the method.
        let minds = !matches!(self.first_segment.as_str(), "" | "openapi");
        if minds && self.method != Method::GET { Err(ApiError::MethodNotAllowed) } else { Ok(document) }
    }

    async fn resource(
        self,
        admitted: Admitted,
        path: ResourcePath,
        request: Request<Body>,
    ) -> Result<Response<Body>, ApiError> {
        self.authorize_resource(&admitted.user, &path).await?;
        let kind = self.newest_kind(&path).await?;
        let (subject, word) = (Subject::new(&kind, ""), self.word(&path));
        let is_typed = kind.strategy.is_typed();
        let answer = self.object(admitted, (path, kind), request).await;
        answer.map_err(|error| match error {
            // Of custom kinds it is their handler who refuses.
            ApiError::MethodNotAllowed if !is_typed => ApiError::NotSupported { subject, verb: word },
            other => other,
        })
    }

    async fn object(
        self,
        admitted: Admitted,
        (path, kind): (ResourcePath, Arc<Kind>),
        request: Request<Body>,
    ) -> Result<Response<Body>, ApiError> {
        let verb = self.verb().ok_or(ApiError::MethodNotAllowed)?;
        check_scope(&kind, &path, verb)?;
        let subresource = match path.subresource.as_str() {
            "" => None,
            name => {
                let known = kind.subresources.iter().copied().find(|s| s.as_str() == name);
                Some(known.ok_or_else(|| no_subresource(&kind, &path))?)
            }
        };
        if let Some(text) = &kind.deprecation {
            self.warnings.lock().add(text.to_string());
        }
        let call = self.call(admitted, kind, (path, verb), request.headers(), subresource)?;
        match subresource {
            Some(subresource) => subresources::run(call, verb, subresource, request).await,
            None => objects(call, verb, request).await,
        }
    }

    /// What a request selects by fields, where that means anything and can be understood.
    fn fields(&self) -> Option<FieldSelector> {
        let RequestInfo::Resource(path) = &self.info else { return None };
        let whole = matches!(self.word(path), "list" | "watch" | "deletecollection");
        whole.then(|| FieldSelector::parse(self.query.get("fieldSelector")).ok()).flatten()
    }

    /// What authorisation calls the request.
    fn word(&self, path: &ResourcePath) -> &'static str {
        path.word(&self.method, self.query.flag("watch"))
    }

    /// A request for a resource as authorisation sees it.
    fn attributes<'a>(
        &self,
        user: &'a UserInfo,
        path: &'a ResourcePath,
        fields: Option<&'a FieldSelector>,
    ) -> Attributes<'a> {
        let selected = fields.map_or("", selected_name);
        Attributes {
            version: &path.version,
            subresource: &path.subresource,
            namespace: &path.namespace,
            name: if path.name.is_empty() { selected } else { &path.name },
            fields,
            ..Attributes::resource(user, self.word(path), &path.group, &path.resource)
        }
    }

    async fn authorize_resource(&self, user: &UserInfo, path: &ResourcePath) -> Result<(), ApiError> {
        let fields = self.fields();
        let attributes = self.attributes(user, path, fields.as_ref());
        self.authorize(&attributes).await?;
        // A stream into a container is more than a read, whatever the HTTP method of its handshake.
        let streams = matches!(path.subresource.as_str(), "exec" | "attach" | "portforward");
        if streams && attributes.verb == Verb::Get.as_str() {
            self.authorize(&Attributes { verb: Verb::Create.as_str(), ..attributes }).await?;
        }
        Ok(())
    }

    fn call(
        self,
        Admitted { user, share, seat }: Admitted,
        kind: Arc<Kind>,
        (path, verb): (ResourcePath, Verb),
        headers: &HeaderMap,
        subresource: Option<Subresource>,
    ) -> Result<Call, ApiError> {
        let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let content_type = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_owned();
        let offered = |subresource| Offered {
            tables: kind.has_table(subresource),
            // A Scale is of Kubernetes' own types, whatever it is of.
            protobuf: kind.strategy.is_typed() || subresource == Some(Subresource::Scale),
            route: route(&kind, verb),
        };
        let encoding = match subresource {
            Some(Subresource::Log) => Route::Log.check(headers).map(|()| Encoding::JSON)?,
            Some(subresource) if subresource.connects() => Encoding::JSON,
            _ if verb == Verb::Watch => Encoding::negotiate(headers, offered(None))?.of_watch()?,
            subresource => Encoding::negotiate(headers, offered(subresource))?,
        };
        // Of deletions the options say so, which may be in the body.
        let deletes = matches!(verb, Verb::Delete | Verb::DeleteCollection);
        let dry_run = !deletes && self.query.dry_run(options_kind(verb))?;
        self.query.number("timeoutSeconds")?;
        self.query.check_timeout()?;
        if matches!(verb, Verb::Create | Verb::Update | Verb::Patch) {
            self.query.check_writer(options_kind(verb), content_type == "application/apply-patch+yaml")?;
        }
        Ok(Call {
            server: self.server,
            user,
            share,
            seat,
            kind,
            path,
            query: self.query,
            encoding,
            content_type,
            agent: text(USER_AGENT).to_owned(),
            dry_run,
            verb,
            now: Timestamp::now(),
            warnings: self.warnings,
        })
    }
}

/// By what a request is found that is for objects of the kind.
fn route(kind: &Kind, verb: Verb) -> Route {
    match verb {
        _ if !kind.strategy.is_typed() => Route::None,
        Verb::List | Verb::Watch => Route::Collection,
        _ => Route::Object,
    }
}

/// The value of `metadata.name` in a field selector, if it can be a name; authorisation by name looks at it.
fn selected_name(fields: &FieldSelector) -> &str {
    let is_name = |name: &&str| !matches!(*name, "." | "..") && !name.contains(['/', '%']);
    fields.exact("metadata.name").filter(is_name).unwrap_or_default()
}

/// A kind has no such subresource; custom kinds are said not to have the object.
fn no_subresource(kind: &Kind, path: &ResourcePath) -> ApiError {
    if kind.strategy.is_typed() {
        return ApiError::UnknownPath;
    }
    ApiError::NotFound(Subject::new(kind, path.name.as_str()))
}

/// Refuses URLs that do not fit the kind's scope.
fn check_scope(kind: &Kind, path: &ResourcePath, verb: Verb) -> Result<(), ApiError> {
    let in_namespace = !path.namespace.is_empty();
    let is_misplaced = match kind.scope {
        Scope::Cluster => in_namespace && kind.names.plural != "namespaces",
        Scope::Namespaced => !in_namespace && !matches!(verb, Verb::List | Verb::Watch),
    };
    if is_misplaced && !kind.strategy.is_typed() {
        return Err(ApiError::NoSuchPage);
    }
    if path.name.is_empty() && !path.subresource.is_empty() {
        return Err(ApiError::BadRequest("name must be provided".to_owned()));
    }
    match kind.scope {
        Scope::Namespaced if is_misplaced && path.nameless_namespace => {
            Err(ApiError::BadRequest("Namespace parameter required.".to_owned()))
        }
        Scope::Cluster if is_misplaced => Err(ApiError::UnknownPath),
        Scope::Namespaced if !in_namespace && !path.name.is_empty() => Err(ApiError::UnknownPath),
        Scope::Namespaced if !in_namespace && !matches!(verb, Verb::List | Verb::Watch) => {
            Err(ApiError::MethodNotAllowed)
        }
        _ => Ok(()),
    }
}

async fn objects(call: Call, verb: Verb, request: Request<Body>) -> Result<Response<Body>, ApiError> {
    let bytes = match verb {
        Verb::Get | Verb::List | Verb::Watch => Bytes::new(),
        _ => body::read(request.into_body()).await?,
    };
    let server = call.server.clone();
    match server.aside.run(bytes.len(), pipeline::run(call, verb, bytes)).await? {
        Done::Stream(response) => Ok(response),
        Done::Outcome(call, outcome) => respond::respond(*call, outcome).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_selected_name() {
        let check = |selector: &str, name: &str| {
            assert_eq!(selected_name(&FieldSelector::parse(selector).unwrap()), name);
        };
        check("", "");
        check("metadata.name=a", "a");
        check("spec.nodeName=n,metadata.name==a", "a");
        check("metadata.name!=a", "");
        check("spec.x=metadata.name\\=a", "");
        check("metadata.name=a/b", "");
    }
}
