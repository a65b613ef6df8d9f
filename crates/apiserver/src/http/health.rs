//! `/healthz`, `/livez` and `/readyz`: what the parts of the server say of themselves.

use std::fmt;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use parking_lot::RwLock;

use super::body::{self, Body};
use super::query::Query;
use crate::errors::ApiError;
use crate::server::Shared;

/// The checks of a server. Every part puts its own in; clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct Checks(Arc<RwLock<Vec<Check>>>);

/// What a failing check means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// The server should be started again: fails `/livez`, and with it the two others.
    Life,
    /// The server cannot do all of its work now: fails `/readyz` and `/healthz`.
    Readiness,
}

/// One check by name.
#[derive(Clone)]
struct Check {
    name: &'static str,
    concern: Concern,
    check: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.name, self.concern)
    }
}

impl Checks {
    /// Adds a check, which is called for each question and must not wait. Its error is shown to those who may read
    /// the check's own path; all others learn only its name.
    pub fn add(
        &self,
        name: &'static str,
        concern: Concern,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.0.write().push(Check { name, concern, check: Arc::new(check) });
    }

    /// The results for an endpoint, in the order in which the checks were added.
    fn results(&self, endpoint: &str) -> Vec<Outcome> {
        let checks = self.0.read().clone();
        let counted = |check: &&Check| check.concern == Concern::Life || endpoint != "livez";
        checks.iter().filter(counted).map(|check| Outcome::of(check.name, (check.check)())).collect()
    }
}

/// What a check found.
struct Outcome {
    name: &'static str,
    /// Why it fails, if it does.
    failure: Option<String>,
}

impl Outcome {
    fn of(name: &'static str, result: Result<(), String>) -> Self {
        Self { name, failure: result.err() }
    }
}

/// Answers `/healthz`, `/livez`, `/readyz` and, below them, one check alone; `None` for other paths.
pub(crate) fn answer(server: &Shared, path: &str, query: &Query) -> Option<Result<Response<Body>, ApiError>> {
    let mut segments = path.trim_matches('/').splitn(2, '/');
    let endpoint = segments.next().filter(|name| matches!(*name, "healthz" | "livez" | "readyz"))?;
    let outcomes = outcomes(server, endpoint);
    Some(match segments.next() {
        None => Ok(report(endpoint, &outcomes, query)),
        Some(name) => match outcomes.iter().find(|outcome| outcome.name == name) {
            Some(outcome) => Ok(alone(outcome)),
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

/// The answer of all checks, worded as kube-apiserver words it.
fn report(endpoint: &str, outcomes: &[Outcome], query: &Query) -> Response<Body> {
    let mut unmatched: Vec<&str> = query.all("exclude").collect();
    let (mut text, mut failed) = (String::new(), false);
    for Outcome { name, failure } in outcomes {
        let excluded = unmatched.contains(name);
        unmatched.retain(|other| other != name);
        text.push_str(&match failure {
            _ if excluded => format!("[+]{name} excluded: ok\n"),
            None => format!("[+]{name} ok\n"),
            Some(_) => format!("[-]{name} failed: reason withheld\n"),
        });
        failed |= !excluded && failure.is_some();
    }
    if !unmatched.is_empty() {
        let names: Vec<String> = unmatched.iter().map(|name| format!("{name:?}")).collect();
        let names = names.join(",");
        text.push_str(&format!("warn: some health checks cannot be excluded: no matches for {names}\n"));
    }
    if failed {
        return answer_of(StatusCode::INTERNAL_SERVER_ERROR, format!("{text}{endpoint} check failed\n"));
    }
    let verbose = query.all("verbose").next().is_some();
    let text = if verbose { format!("{text}{endpoint} check passed\n") } else { "ok".to_owned() };
    answer_of(StatusCode::OK, text)
}

/// The answer of one check.
fn alone(outcome: &Outcome) -> Response<Body> {
    match &outcome.failure {
        None => answer_of(StatusCode::OK, "ok".to_owned()),
        Some(why) => answer_of(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n")),
    }
}

fn answer_of(code: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
