//! `pods/ephemeralcontainers`: containers added to a running pod for debugging.

use bytes::Bytes;
use serde_json::Value;
use skiff_catalogue::managed::Operation;
use skiff_catalogue::{FieldError, Object, Subresource, Verb};

use crate::errors::ApiError;
use crate::pipeline::call::Call;
use crate::pipeline::update::{self, Part};
use crate::pipeline::{Outcome, decode, metadata, patch};

/// PUT or PATCH of the pod, of which only `spec.ephemeralContainers` counts.
pub(super) async fn change(call: &Call, verb: Verb, body: &Bytes) -> Result<Outcome, ApiError> {
    let put = if verb == Verb::Update { Some(decode::object(call, body)?) } else { None };
    let make = |old: &Object| {
        let wanted = match &put {
            Some(wanted) => wanted.clone(),
            None => patch::patched(call, old, body)?,
        };
        extended(call, old, &wanted)
    };
    update::change(call, Part::Narrow(Subresource::EphemeralContainers), Operation::Update, make).await
}

fn extended(call: &Call, old: &Object, wanted: &Object) -> Result<Object, ApiError> {
    const FIELD: &[&str] = &["spec", "ephemeralContainers"];
    let list = |object: &Object| object.get(FIELD).and_then(Value::as_array).cloned().unwrap_or_default();
    let (before, after) = (list(old), list(wanted));
    let named = |container: &Value| after.iter().any(|other| other["name"] == container["name"]);
    if let Some(missing) = before.iter().find(|container| !named(container)) {
        let detail = format!(
            "existing ephemeral containers {:?} may not be removed",
            missing["name"].as_str().unwrap_or_default()
        );
        let error = FieldError::forbidden("spec.ephemeralContainers", detail);
        return Err(ApiError::invalid(call.subject(old.name()), vec![error]));
    }
    let mut new = old.clone();
    new.set(FIELD, after);
    metadata::take_preconditions(&mut new, wanted);
    Ok(new)
}
