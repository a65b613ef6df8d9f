//! `pods/eviction`: a deletion that a disruption budget could forbid. There are no budgets yet, so that
//! every eviction is a deletion.

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use skiff_machinery::Subresource;

use crate::admission;
use crate::errors::ApiError;
use crate::pipeline::call::Call;
use crate::pipeline::outcome::Outcome;
use crate::pipeline::{decode, delete, options};
use crate::registry::Registry;

/// POST.
pub(super) async fn evict(registry: &Registry, call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let mut eviction = decode::exchanged(call, Subresource::Eviction, body)?;
    let name = eviction.name();
    if name != call.path.name {
        return Err(ApiError::BadRequest("name in URL does not match name in Eviction object".to_owned()));
    }
    // Of a pod that is not there nothing else is said.
    registry.entry(call).await?;
    admission::review_exchanged(registry, call, "eviction", &mut eviction).await?;
    let options = options::of_eviction(call, &eviction)?;
    delete::delete_named(registry, call, &call.path.name, &options).await?;
    let success =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(Outcome::status(StatusCode::CREATED, success))
}
