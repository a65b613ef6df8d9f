//! One request, from its head to the head of its answer.

mod authorize;
mod documents;
mod elsewhere;
mod exchange;
mod objects;
mod refusal;

use std::sync::Arc;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, Request, Response};
use skiff_identity::UserInfo;
use skiff_listener::{AUDIT_ID, contained};
use skiff_machinery::Verb;
use skiff_registry::{ApiError, Offer as _};
use skiff_streams::Content;
use tokio::time::Instant;

use self::exchange::{Admitted, Exchange};
use self::refusal::{answer, refuse};
use super::accept::Format;
use super::body::{self, Body};
use super::caller::Caller;
use super::gate::{Share, Work};
use super::metrics::{self, Asked};
use super::order::{Matched, Order};
use super::path::{self, RequestInfo, ResourcePath};
use super::push::Push;
use crate::fairness::priority::Seat;
use crate::relay::Held;
use crate::shared::Shared;

/// Answers one request.
pub(crate) async fn handle(server: Arc<Shared>, caller: Caller, request: Request<Body>) -> Response<Body> {
    let id = audit_id(request.headers());
    let exchange = Exchange::new(server.clone(), &request, &id, &caller);
    let (started, errors) = (exchange.started, exchange.format_of_errors(request.headers()));
    let (asked, warnings) = (Arc::new(exchange.label(request.headers())), exchange.warnings.clone());
    let (matched, trail, lasts) =
        (exchange.matched.clone(), exchange.trail.clone(), exchange.work() != Work::Short);
    let in_flight = (!lasts).then(|| asked.in_flight());
    let is_inside = matches!(caller, Caller::InProcess { .. });
    // In a place of its own. It is large, and what it is wrapped in has room for it twice: as it is given, and as it goes on.
    let run = contained(Box::pin(exchange.run(caller, request, asked.clone())));
    let (outcome, waited) = metrics::waits(run).await;
    let mut response = match outcome {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => refuse(&server, &error, errors, &id),
        Err(panicked) => {
            trail.iter().for_each(|trail| trail.panicked());
            answer(&server, &ApiError::Internal(panicked.told(&id)), Format::Json)
        }
    };
    response.headers_mut().extend(HeaderValue::from_str(&id).ok().map(|id| (AUDIT_ID, id)));
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    warnings.lock().write(response.headers_mut());
    matched.get().into_iter().for_each(|matched| matched.write(response.headers_mut()));
    let took = started.elapsed();
    asked.answered(response.status(), took, waited, lasts);
    if is_inside {
        asked.answered_inside(response.status(), took);
    }
    let response = response.map(|body| asked.measured(body));
    drop(in_flight);
    match trail {
        Some(trail) => trail.answered(
            response,
            lasts,
            server.offers.catalogue().iter().next().map(|kind| kind.root.clone()),
        ),
        None => response,
    }
}

/// What names a request: whoever sends it may say so, as clients of Kubernetes do who follow it through several servers.
fn audit_id(headers: &HeaderMap) -> String {
    let given = headers.get(AUDIT_ID).and_then(|value| value.to_str().ok());
    let given = given.filter(|id| (1..=MAX_AUDIT_ID).contains(&id.len()));
    given.map_or_else(|| skiff_registry::made_id().to_string(), str::to_owned)
}

/// The longest ID that is taken over.
const MAX_AUDIT_ID: usize = 64;

impl Exchange {
    async fn run(
        self,
        caller: Caller,
        mut request: Request<Body>,
        asked: Arc<Asked>,
    ) -> Result<Response<Body>, ApiError> {
        if !path::is_well_formed(request.uri().path()) {
            return Err(ApiError::MalformedPath);
        }
        let (user, share) = self.caller(caller, request.headers(), request.uri().path()).await?;
        let elsewhere = self.elsewhere(request.uri().path());
        let (work, lasts) = match &elsewhere {
            Some(_) => (Work::Stream, self.lasts_there(&request)),
            None => (self.work(), self.work() != Work::Short && !self.is_finite_log()),
        };
        let pass = Arc::new(self.server.answers.gate.enter(share, work, &user.name)?);
        let waits = Instant::now();
        let seat = self.seat(&user, work, request.uri().path()).await;
        metrics::waited(waits.elapsed());
        let seat = seat?.map(Arc::new);
        let lasting = (work != Work::Short && elsewhere.is_none()).then(|| Arc::new(asked.lasts()));
        if lasts {
            request.extensions().get().into_iter().for_each(skiff_listener::Exchange::lasts);
        }
        // For streams, which outlive the answer.
        request.extensions_mut().insert::<Held>(Arc::new((
            pass.clone(),
            self.trail.clone(),
            lasting.clone(),
        )));
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
        let response = response.map(|body| body::holding(body, (pass, seat, lasting)));
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
}
