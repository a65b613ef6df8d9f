//! `serviceaccounts/token`: a TokenRequest and its answer.

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use skiff_machinery::Subresource;

use crate::admission;
use crate::errors::ApiError;
use crate::pipeline::call::{Call, timestamp};
use crate::pipeline::decode;
use crate::pipeline::outcome::Outcome;
use crate::registry::Registry;

/// POST.
pub(super) async fn issue(registry: &Registry, call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let mut request = decode::exchanged(call, Subresource::Token, body)?;
    admission::admit_transient(registry, call, "token", &mut request).await?;
    let account = call.path.name.as_str();
    let mut answer = registry.authority.issue_token(call.namespace(), account, request).await?;
    answer.set(&["apiVersion"], "authentication.k8s.io/v1");
    answer.set(&["kind"], "TokenRequest");
    answer.set(&["metadata", "name"], account);
    answer.set(&["metadata", "namespace"], call.namespace().as_str());
    answer.set(&["metadata", "uid"], crate::made_id().to_string());
    answer.set(&["metadata", "creationTimestamp"], timestamp(call.now));
    if answer.get(&["spec", "boundObjectRef"]).is_none() {
        answer.set(&["spec", "boundObjectRef"], Value::Null);
    }
    Ok(Outcome::status(StatusCode::CREATED, Value::Object(answer.as_map().clone())))
}
