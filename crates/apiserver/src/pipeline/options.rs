//! DeleteOptions, from the body and the query.

use bytes::Bytes;
use serde::Deserialize;
use skiff_catalogue::FieldError;

use super::call::Call;
use super::decode;
use crate::errors::{ApiError, Subject};
use crate::http::query;

/// What becomes of an object's dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// How something is to be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    /// Seconds.
    pub(crate) grace_period: Option<i64>,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

/// As on the wire.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    grace_period_seconds: Option<i64>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    preconditions: Option<Preconditions>,
    dry_run: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl DeleteOptions {
    /// From a request: the body counts, the query where there is none.
    pub(crate) fn read(call: &Call, body: &Bytes) -> Result<Self, ApiError> {
        let mut wire = if body.is_empty() { Wire::default() } else { from_body(&call.content_type, body)? };
        if wire.grace_period_seconds.is_none() {
            wire.grace_period_seconds = call.query.number("gracePeriodSeconds")?;
        }
        if wire.propagation_policy.is_none() {
            wire.propagation_policy =
                Some(call.query.get("propagationPolicy")).filter(|p| !p.is_empty()).map(str::to_owned);
        }
        Self::from_wire(wire)
    }

    fn from_wire(wire: Wire) -> Result<Self, ApiError> {
        let Preconditions { uid, resource_version } = wire.preconditions.unwrap_or_default();
        let orphan = wire
            .orphan_dependents
            .map(|orphan| if orphan { Propagation::Orphan } else { Propagation::Background });
        Ok(Self {
            grace_period: wire.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds }),
            propagation: wire.propagation_policy.as_deref().map(propagation).transpose()?.or(orphan),
            uid,
            resource_version,
        })
    }

    /// Options inside another object, e.g. an Eviction.
    pub(crate) fn from_value(value: serde_json::Value) -> Result<Self, ApiError> {
        let wire = serde_json::from_value(value)
            .map_err(|error| ApiError::BadRequest(format!("error decoding DeleteOptions: {error}")))?;
        Self::from_wire(wire)
    }
}

/// Whether a deletion is a dry run by its body; the query has been looked at by the pipeline.
pub(crate) fn dry_run_in_body(content_type: &str, body: &Bytes) -> Result<bool, ApiError> {
    if body.is_empty() {
        return Ok(false);
    }
    let wire = from_body(content_type, body)?;
    query::dry_run(wire.dry_run.iter().flatten().map(String::as_str))
}

fn from_body(content_type: &str, body: &Bytes) -> Result<Wire, ApiError> {
    serde_json::from_value(decode::delete_options(content_type, body)?)
        .map_err(|error| ApiError::BadRequest(format!("error decoding DeleteOptions: {error}")))
}

fn propagation(text: &str) -> Result<Propagation, ApiError> {
    match text {
        "Orphan" => Ok(Propagation::Orphan),
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        other => {
            let subject =
                Subject { group: "meta.k8s.io".into(), kind: "DeleteOptions".into(), ..Subject::default() };
            let supported = ["Foreground", "Background", "Orphan"];
            Err(ApiError::invalid(
                subject,
                vec![FieldError::not_supported("propagationPolicy", other, &supported)],
            ))
        }
    }
}
