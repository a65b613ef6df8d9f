//! Kinds that are answered and not kept: reviews.

use http::StatusCode;
use skiff_machinery::{Object, Scope};

use crate::admission;
use crate::errors::ApiError;
use crate::pipeline::Outcome;
use crate::pipeline::call::Call;

/// POST of a review.
pub(crate) async fn answer(call: &Call, mut request: Object) -> Result<Outcome, ApiError> {
    call.kind.fill(&mut request);
    admission::admit_transient(call, "", &mut request).await?;
    if call.kind.scope == Scope::Namespaced {
        request.set(&["metadata", "namespace"], call.namespace());
    }
    let answered = call.server.auth.review(call.namespace(), request, &call.user).await?;
    Ok(Outcome::object(StatusCode::CREATED, answered))
}
