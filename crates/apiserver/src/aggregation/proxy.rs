//! A request for a version that another server serves, and its answer. Refusals are plain text, as kube-aggregator's.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, CONTENT_TYPE, HOST, HeaderName, LOCATION, UPGRADE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Request, Response, StatusCode};
use skiff_auth::front_proxy;
use skiff_identity::UserInfo;
use skiff_listener::AUDIT_ID;
use skiff_registry::ApiError;

use super::inside;
use super::known::Aggregation;
use super::registration::{Registration, Target};
use super::transport::Unreached;
use crate::http::body::{self, Body};
use crate::relay::{forward, held, pass, switch};
use crate::webhooks::dial::broken;

/// What of an answer is this server's to say.
const OURS: [HeaderName; 5] = [
    AUDIT_ID,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
];

/// Passes on a request that its user may make.
pub(crate) async fn pass_on(
    aggregation: &Aggregation,
    user: &UserInfo,
    registration: &Arc<Registration>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let registration = &aggregation.newest(registration).await;
    if registration.target.is_none()
        && let Some(extension) = aggregation.inside.extension(&registration.gv)
    {
        return Ok(inside::answer(&*extension, request).await);
    }
    let Some(target) = registration.target.as_ref().filter(|_| registration.is_available()) else {
        return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "service unavailable"));
    };
    let mut sender = match aggregation.transport.connect(target, &target.trust).await {
        Ok(sender) => sender,
        Err(Unreached::Service(why)) => {
            tracing::warn!(service = registration.name(), why, "an API service is nowhere");
            return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "service unavailable"));
        }
        Err(Unreached::Trust(why)) => return Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, &why)),
        Err(Unreached::Dial(why)) => return Ok(unreached(&why)),
    };
    let held = held(&request);
    let (upgrade, outgoing) = outgoing(user, target, request)?;
    let response = match sender.send_request(outgoing).await {
        Ok(response) => response,
        Err(error) => return Ok(unreached(&broken(&error))),
    };
    if response.status().is_redirection() && response.headers().contains_key(LOCATION) {
        let text = "the backend attempted to redirect this request, which is not permitted";
        return Ok(refusal(StatusCode::BAD_GATEWAY, text));
    }
    let mut answer = match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => switch(response, upgrade, held),
        _ => pass(response),
    };
    OURS.iter().for_each(|name| drop(answer.headers_mut().remove(name)));
    Ok(answer)
}

/// The request as the extension server gets it: for whom it is, and as the client sent it otherwise.
fn outgoing(
    user: &UserInfo,
    target: &Target,
    mut request: Request<Body>,
) -> Result<(hyper::upgrade::OnUpgrade, Request<Body>), ApiError> {
    let upgrade = hyper::upgrade::on(&mut request);
    let body = std::mem::replace(request.body_mut(), body::full(Bytes::new()));
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let asked = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let asked = asked.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let host = asked.map_or_else(|| target.host(), str::to_owned);
    let mut outgoing = forward(request.method(), request.headers(), path, &host, body)?;
    let headers = outgoing.headers_mut();
    // What a client says of the connection to us must not take away what we say of the client.
    headers.remove(CONNECTION);
    if headers.contains_key(UPGRADE) {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    front_proxy::vouch(headers, user).map_err(|error| ApiError::internal(&error))?;
    Ok((upgrade, outgoing))
}

fn unreached(why: &str) -> Response<Body> {
    let text = format!("error trying to reach service: {why}");
    refusal(StatusCode::SERVICE_UNAVAILABLE, &text)
}

/// As Go's `http.Error` writes one.
fn refusal(code: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(body::full(format!("{text}\n")));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
