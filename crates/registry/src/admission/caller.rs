//! The checks that depend on who writes: NodeRestriction, and that nobody grants more than they hold.

use skiff_auth::{Attributes, Refusal};

use super::review::Review;
use crate::errors::ApiError;

pub(super) async fn admit(review: &Review<'_>) -> Result<(), ApiError> {
    let call = review.call;
    let verb = review.write.verb();
    let name = match review.object.as_deref().or(review.old) {
        Some(object) if call.path.name.is_empty() => object.name(),
        _ => &call.path.name,
    };
    let attributes = Attributes {
        version: &call.kind.gv.version,
        subresource: review.subresource,
        namespace: call.namespace(),
        name,
        ..Attributes::resource(&call.user, verb, &call.kind.gv.group, &call.kind.names.plural)
    };
    let refused = review.registry.authority.admit(&attributes, review.object.as_deref(), review.old).await;
    refused.map_err(|refusal| match refusal {
        Refusal::Forbidden(message) => {
            ApiError::Forbidden { subject: call.subject(name), message, causes: Vec::new() }
        }
        other => other.into(),
    })
}
