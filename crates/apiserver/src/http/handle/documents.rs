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
use crate::http::{health, scrape};

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
        let text = match path.trim_end_matches('/') {
            "/metrics" => Some(scrape::text(&self.server)),
            "/metrics/slis" => Some(health::slis(&self.server)),
            _ => None,
        };
        if let Some(text) = text {
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
        // The index, the descriptions and the lists of groups are served by handlers that do not mind the method.
        let is_of_groups = self.first_segment == "apis" && path.trim_matches('/').split('/').count() < 3;
        let minds = !matches!(self.first_segment.as_str(), "" | "openapi") && !is_of_groups;
        if minds && self.method != Method::GET { Err(ApiError::MethodNotAllowed) } else { Ok(document) }
    }
}

fn json(value: &Value) -> Response<Body> {
    let mut response = Response::new(body::full(codec::to_json(value)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
