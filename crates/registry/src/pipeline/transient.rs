//! Kinds that are answered and not kept: reviews.

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use skiff_machinery::{Object, go};

use super::call::Call;
use super::outcome::Outcome;
use super::{decode, metadata};
use crate::admission;
use crate::errors::ApiError;
use crate::registry::Registry;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// POST of a review.
pub(crate) async fn create(registry: &Registry, call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let mut request = decode::object(call, body)?;
    metadata::locate(call, &mut request)?;
    let namespace = request.remove(&["metadata", "namespace"]);
    call.kind.fill(&mut request);
    metadata::track(call, &mut request, None, "");
    admission::admit_transient(registry, call, "", &mut request).await?;
    if let Some(namespace) = namespace {
        request.set(&["metadata", "namespace"], namespace);
    }
    let shown = shown_metadata(call, &request);
    let answered = registry.authority.review(call.namespace().as_str(), request, &call.user, &shown).await?;
    Ok(Outcome::object(StatusCode::CREATED, answered))
}

/// The metadata of a request as an error shows it.
fn shown_metadata(call: &Call, request: &Object) -> String {
    let metadata = request.get(&["metadata"]).unwrap_or(&Value::Null);
    let root = call.kind.root.sibling(OBJECT_META);
    root.map_or_else(|| metadata.to_string(), |root| go::written(metadata, &root, &Value::Null))
}
