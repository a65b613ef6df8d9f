//! `pods/eviction`: a deletion that a disruption budget could forbid. There are no budgets yet, so that
//! every eviction is a deletion.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use skiff_catalogue::Subresource;

use crate::errors::ApiError;
use crate::pipeline::call::Call;
use crate::pipeline::options::DeleteOptions;
use crate::pipeline::{Outcome, decode, delete};

/// POST.
pub(super) async fn evict(call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let eviction = decode::exchanged(call, Subresource::Eviction, body)?;
    let name = eviction.name();
    if !name.is_empty() && name != call.path.name {
        return Err(ApiError::BadRequest("name in URL does not match name in Eviction object".to_owned()));
    }
    let options = match eviction.get(&["deleteOptions"]) {
        None | Some(Value::Null) => DeleteOptions::default(),
        Some(options) => DeleteOptions::from_value(options.clone())?,
    };
    delete::delete_named(call, &call.path.name, &options).await?;
    let success =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(Outcome::status(StatusCode::CREATED, success))
}
