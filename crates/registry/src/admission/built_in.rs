//! The plugins that are part of the server and may change what is written, in their order.

use super::review::Review;
use super::{
    caller, limits, namespace, priority, runtime_class, service_account, taint, tolerations, topology,
};
use crate::errors::ApiError;

/// Runs them; the first refusal counts.
pub(super) async fn admit(review: &mut Review<'_>) -> Result<(), ApiError> {
    namespace::admit(review).await?;
    limits::admit(review).await?;
    service_account::admit(review).await?;
    taint::admit(review);
    priority::admit(review)?;
    tolerations::admit(review);
    runtime_class::admit(review)?;
    topology::admit(review).await?;
    caller::admit(review).await
}
