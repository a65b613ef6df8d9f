//! `serviceaccounts/token`: a TokenRequest and its answer.

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use skiff_machinery::{FieldError, Object, Subresource};

use crate::admission;
use crate::errors::{ApiError, Subject};
use crate::pipeline::call::{Call, timestamp};
use crate::pipeline::decode;
use crate::pipeline::outcome::Outcome;
use crate::registry::Registry;

/// POST.
pub(super) async fn issue(registry: &Registry, call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let mut request = decode::exchanged(call, Subresource::Token, body)?;
    check_place(call, &request)?;
    let account = call.path.name.as_str();
    admission::admit_transient(registry, call, "token", &mut request).await?;
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

/// Refuses a request that says itself that it is for another account than the URL.
fn check_place(call: &Call, request: &Object) -> Result<(), ApiError> {
    let places = [
        ("name", request.name(), &*call.path.name),
        ("namespace", request.namespace(), call.namespace().as_str()),
    ];
    let other = places.into_iter().find(|(_, given, wanted)| !given.is_empty() && given != wanted);
    let Some((field, given, _)) = other else { return Ok(()) };
    let why = format!("must match the service account {field} if specified");
    let error = FieldError::invalid(format!("metadata.{field}"), given, why);
    let (group, kind, name) =
        ("authentication.k8s.io".into(), "TokenRequest".into(), call.path.name.as_str().into());
    Err(ApiError::invalid(Subject { group, kind, name, ..Subject::default() }, vec![error]))
}
