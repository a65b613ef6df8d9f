//! `/healthz`, `/livez` and `/readyz`.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use super::body::{self, Body};
use super::query::Query;
use crate::errors::ApiError;
use crate::server::Shared;

/// One check by name.
struct Check {
    name: &'static str,
    /// Why it fails, if it does.
    failure: Option<String>,
}

/// Answers `/healthz`, `/livez`, `/readyz` and, below them, one check alone; `None` for other paths.
pub(crate) fn answer(server: &Shared, path: &str, query: &Query) -> Option<Result<Response<Body>, ApiError>> {
    let mut segments = path.trim_matches('/').splitn(2, '/');
    let endpoint = segments.next().filter(|name| matches!(*name, "healthz" | "livez" | "readyz"))?;
    let checks = checks(server, endpoint);
    let only = segments.next();
    Some(match only {
        None => Ok(report(endpoint, &checks, query)),
        Some(name) => match checks.iter().find(|check| check.name == name) {
            Some(check) => Ok(report(name, std::slice::from_ref(check), query)),
            None => Err(ApiError::UnknownPath),
        },
    })
}

fn checks(server: &Shared, endpoint: &str) -> Vec<Check> {
    let fine = |name| Check { name, failure: None };
    // The server answers only after its store is open and its bootstrap objects are written.
    let mut checks =
        vec![fine("ping"), fine("log"), fine("etcd"), fine("poststarthook/rbac/bootstrap-roles")];
    if endpoint == "readyz" {
        let failure = server.shutdown.is_cancelled().then(|| "process is shutting down".to_owned());
        checks.push(Check { name: "shutdown", failure });
    }
    checks
}

fn report(endpoint: &str, checks: &[Check], query: &Query) -> Response<Body> {
    let excluded: Vec<&str> = query.all("exclude").collect();
    let counted: Vec<&Check> = checks.iter().filter(|check| !excluded.contains(&check.name)).collect();
    let failed = counted.iter().any(|check| check.failure.is_some());
    let mut text = String::new();
    if failed || query.all("verbose").next().is_some() {
        for check in counted {
            text.push_str(&match &check.failure {
                None => format!("[+]{} ok\n", check.name),
                Some(why) => format!("[-]{} failed: {why}\n", check.name),
            });
        }
        let verdict = if failed { "failed" } else { "passed" };
        text.push_str(&format!("{endpoint} check {verdict}\n"));
    } else {
        text.push_str("ok");
    }
    let mut response = Response::new(body::full(text));
    if failed {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
