//! The plugins that are part of the server and may change what is written, in their order.

use super::review::Review;
use super::{
    caller, limits, namespace, priority, runtime_class, service_account, taint, tolerations, topology,
};
use crate::errors::ApiError;
use crate::plugins::Plugin;

/// Runs them; the first refusal counts.
pub(super) async fn admit(review: &mut Review<'_>) -> Result<(), ApiError> {
    let plugins = &review.registry.plugins;
    namespace::admit(review).await?;
    if plugins.has(Plugin::LimitRanger) {
        limits::admit(review).await?;
    }
    if plugins.has(Plugin::ServiceAccount) {
        service_account::admit(review).await?;
    }
    if plugins.has(Plugin::TaintNodesByCondition) {
        taint::admit(review);
    }
    if plugins.has(Plugin::Priority) {
        priority::admit(review)?;
    }
    if plugins.has(Plugin::DefaultTolerationSeconds) {
        tolerations::admit(review);
    }
    if plugins.has(Plugin::RuntimeClass) {
        runtime_class::admit(review)?;
    }
    if plugins.has(Plugin::PodTopologyLabels) {
        topology::admit(review).await?;
    }
    caller::admit(review).await
}
