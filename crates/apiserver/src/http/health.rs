//! `/healthz`, `/livez` and `/readyz`: what the parts of the server say of themselves.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use skiff_listener::{Outcome, report};
use skiff_registry::{ApiError, Query};

use super::body::{self, Body};
use crate::shared::Shared;

/// Answers `/healthz`, `/livez`, `/readyz` and, below them, one check alone; `None` for other paths.
pub(crate) fn answer(server: &Shared, path: &str, query: &Query) -> Option<Result<Response<Body>, ApiError>> {
    let mut segments = path.trim_matches('/').splitn(2, '/');
    let endpoint = segments.next().filter(|name| matches!(*name, "healthz" | "livez" | "readyz"))?;
    let outcomes = outcomes(server, endpoint);
    Some(match segments.next() {
        None => {
            let excluded: Vec<&str> = query.all("exclude").collect();
            let verbose = query.all("verbose").next().is_some();
            Ok(answer_of(report(endpoint, &outcomes, &excluded, verbose)))
        }
        Some(name) => match outcomes.iter().find(|outcome| outcome.name == name) {
            Some(outcome) => Ok(answer_of(outcome.alone())),
            None => Err(ApiError::UnknownPath),
        },
    })
}

fn outcomes(server: &Shared, endpoint: &str) -> Vec<Outcome> {
    // The server answers only after its bootstrap objects are written.
    let fine = |name| Outcome::of(name, Ok(()));
    let mut outcomes = vec![fine("ping"), fine("log"), fine("poststarthook/rbac/bootstrap-roles")];
    outcomes.extend(server.checks.results(endpoint));
    if endpoint == "readyz" {
        let ending = server.shutdown.is_cancelled();
        let result = if ending { Err("process is shutting down".to_owned()) } else { Ok(()) };
        outcomes.push(Outcome::of("shutdown", result));
    }
    outcomes
}

/// The text of `/metrics/slis`: each check of each endpoint, 1 when it passes.
pub(crate) fn slis(server: &Shared) -> String {
    const NAME: &str = "kubernetes_healthcheck";
    let mut text = format!(
        "# HELP {NAME} [STABLE] This metric records the result of a single healthcheck.\n# TYPE {NAME} gauge\n"
    );
    for endpoint in ["healthz", "livez", "readyz"] {
        for Outcome { name, failure } in outcomes(server, endpoint) {
            let passes = u8::from(failure.is_none());
            text.push_str(&format!("{NAME}{{name=\"{name}\",type=\"{endpoint}\"}} {passes}\n"));
        }
    }
    text
}

fn answer_of((code, text): (StatusCode, String)) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
