//! What extension servers say of their API, for the documents of this one: bounded, and no more than what their APIService
//! is for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::Value;
use skiff_machinery::discovery::{aggregated_resources, legacy_resources};
use skiff_machinery::openapi::Guest;
use skiff_machinery::version_path;

use super::registration::{Registration, Target};
use super::transport::{Fetched, Question, Transport, aggregator};

/// How long the list of resources may take.
const DISCOVERY: Duration = Duration::from_secs(5);
/// How long a description may take.
const DESCRIPTION: Duration = Duration::from_secs(60);
/// The largest list of resources, and the largest description, in bytes.
const MOST_RESOURCES: usize = 2 * 1024 * 1024;
const MOST_DESCRIPTION: usize = 8 * 1024 * 1024;
/// The longest URL that is passed on to clients.
const LONGEST_URL: usize = 1024;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
const JSON: &str = "application/json";

/// The one who asks, and whom.
#[derive(Clone, Copy)]
pub(super) struct Source<'s> {
    pub(super) transport: &'s Transport,
    pub(super) registration: &'s Registration,
    pub(super) target: &'s Target,
}

impl Source<'_> {
    /// The resources of the version, as aggregated discovery tells them.
    pub(super) async fn resources(self) -> Result<Vec<Value>, String> {
        let gv = &self.registration.gv;
        let question = |path, accept| Question {
            path,
            accept,
            etag: None,
            user: aggregator("system:kube-aggregator"),
            most: MOST_RESOURCES,
            timeout: DISCOVERY,
        };
        let all = if gv.group.is_empty() { "/api" } else { "/apis" };
        let answer = self.fetch(question(all, AGGREGATED)).await?;
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            return Err(format!("{all} answers {}", answer.status));
        }
        if answer.status == StatusCode::OK && answer.is_json() {
            let document = parse(answer.body).await?;
            if document["kind"] == "APIGroupDiscoveryList" {
                // A server that does not tell of the version has nothing in it.
                return Ok(aggregated_resources(&document, gv).unwrap_or_default());
            }
        }
        let path = version_path(gv);
        let answer = self.fetch(question(&path, JSON)).await?;
        if answer.status != StatusCode::OK {
            return Err(format!("{path} answers {}", answer.status));
        }
        Ok(legacy_resources(&parse(answer.body).await?, gv))
    }

    /// Where the description of version 3 is; none if the server has none.
    pub(super) async fn v3(self) -> Result<Option<String>, String> {
        let answer = self.fetch(description("/openapi/v3", None, MOST_RESOURCES)).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            other => return Err(format!("/openapi/v3 answers {other}")),
        }
        let index = parse(answer.body).await?;
        let path = version_path(&self.registration.gv);
        let url = index["paths"][path.trim_start_matches('/')]["serverRelativeURL"].as_str();
        let expected = format!("/openapi/v3{path}");
        let fits = |url: &&str| {
            let rest = url.strip_prefix(&expected);
            url.len() <= LONGEST_URL && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('?'))
        };
        Ok(url.filter(fits).map(str::to_owned))
    }

    /// What the description of version 2 says of the version.
    pub(super) async fn v2(self, known: &mut V2) -> Result<Option<Arc<Guest>>, String> {
        let answer = self.fetch(description("/openapi/v2", known.etag.as_ref(), MOST_DESCRIPTION)).await?;
        match answer.status {
            StatusCode::NOT_MODIFIED => return Ok(known.guest.clone()),
            StatusCode::NOT_FOUND => *known = V2::default(),
            StatusCode::OK => {
                let etag = answer.etag().cloned();
                let gv = self.registration.gv.clone();
                let read = move || {
                    let document: Value = serde_json::from_slice(&answer.body)?;
                    Ok::<_, serde_json::Error>(Guest::of(document, &gv).map(Arc::new))
                };
                let guest = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?;
                *known = V2 { etag, guest: guest.map_err(|error| error.to_string())? };
            }
            other => return Err(format!("/openapi/v2 answers {other}")),
        }
        Ok(known.guest.clone())
    }

    async fn fetch(self, question: Question<'_>) -> Result<Fetched, String> {
        self.transport.fetch(self.target, &self.target.trust, question).await
    }
}

/// What was said last of version 2, and how the server calls that state of it.
#[derive(Default)]
pub(super) struct V2 {
    etag: Option<HeaderValue>,
    guest: Option<Arc<Guest>>,
}

fn description<'q>(path: &'q str, etag: Option<&'q HeaderValue>, most: usize) -> Question<'q> {
    Question { path, accept: JSON, etag, user: aggregator("system:aggregator"), most, timeout: DESCRIPTION }
}

async fn parse(body: Bytes) -> Result<Value, String> {
    let read = move || serde_json::from_slice(&body);
    let parsed = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?;
    parsed.map_err(|error: serde_json::Error| error.to_string())
}
