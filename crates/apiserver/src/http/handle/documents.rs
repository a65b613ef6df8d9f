//! Requests that are not for objects: health, metrics, what the server tells of itself and of its kinds.

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use serde_json::Value;
use skiff_auth::Attributes;
use skiff_identity::UserInfo;
use skiff_registry::ApiError;
use skiff_registry::codec;

use super::exchange::Exchange;
use crate::http::body::{self, Body};
use crate::http::health;

impl Exchange {
    pub(super) async fn non_resource(
        &self,
        user: &UserInfo,
        head: &Parts,
    ) -> Result<Response<Body>, ApiError> {
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
                let audit = self.server.audit.as_ref().map(|audit| audit.metrics());
                let parts = [
                    priority.fairness.metrics(),
                    aggregation.metrics(),
                    self.server.reloads.borrow().metrics(),
                    audit.unwrap_or_default(),
                    (self.server.more_metrics)(),
                ];
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
        self.server.registry.catch_up().await;
        self.server.aggregation.catch_up(self.server.store.revision()).await;
        let document = self.server.offers.current().documents.answer(path, &self.query, &head.headers);
        let document = document.unwrap_or(Err(ApiError::NoSuchPage));
        let document = document.map_err(|error| match error {
            ApiError::NoSuchPage => self.no_document(path),
            other => other,
        })?;
        // The index and the descriptions are served by handlers that do not mind the method.
        let minds = !matches!(self.first_segment.as_str(), "" | "openapi");
        if minds && self.method != Method::GET { Err(ApiError::MethodNotAllowed) } else { Ok(document) }
    }
}

fn json(value: &Value) -> Response<Body> {
    let mut response = Response::new(body::full(codec::to_json(value)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
