//! The plugins that are part of the server and may change what is written, in their order.

use super::review::Review;
use super::{
    caller, default_class, in_use, limits, namespace, priority, runtime_class, service_account, taint,
    tolerations, topology,
};
use crate::errors::ApiError;

/// Runs them; the first refusal counts.
pub(super) async fn admit(review: &mut Review<'_>) -> Result<(), ApiError> {
    namespace::admit(review).await?;
    limits::admit(review).await?;
    service_account::admit(review).await?;
    taint::admit(review);
    priority::admit(review).await?;
    tolerations::admit(review);
    default_class::admit(review).await?;
    in_use::admit(review);
    runtime_class::admit(review).await?;
    topology::admit(review).await?;
    caller::admit(review).await
}
