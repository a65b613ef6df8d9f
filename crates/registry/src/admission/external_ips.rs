//! DenyServiceExternalIPs: no Service gets external IPs that it did not have (CVE-2020-8554). Off by default.

use serde_json::Value;
use skiff_machinery::Object;

use super::review::{Review, Write};
use crate::errors::ApiError;

pub(super) fn confirm(review: &Review<'_>) -> Result<(), ApiError> {
    let writes_service =
        review.is_core("Service") && review.subresource.is_empty() && review.write != Write::Delete;
    let Some(service) = review.object.as_deref().filter(|_| writes_service) else { return Ok(()) };
    if !has_more(service, review.old) {
        return Ok(());
    }
    Err(ApiError::forbidden(
        review.call.subject(service.name()),
        "Use of external IPs is denied by admission control",
    ))
}

/// Whether a Service has an external IP that it did not have before.
fn has_more(new: &Object, old: Option<&Object>) -> bool {
    let before = old.map_or(&[][..], external);
    external(new).iter().any(|ip| !before.contains(ip))
}

fn external(service: &Object) -> &[Value] {
    service.get(&["spec", "externalIPs"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
