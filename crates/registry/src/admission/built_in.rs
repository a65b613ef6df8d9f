//! The plugins that are part of the server and may change what is written, in their order.

use skiff_admission::Step;

use super::review::Review;
use super::timed::Timed;
use super::{
    caller, default_class, in_use, limits, namespace, priority, runtime_class, service_account, taint,
    tolerations, topology,
};
use crate::errors::ApiError;
use crate::plugins::Plugin;

/// Runs them; the first refusal counts.
pub(super) async fn admit(review: &mut Review<'_>) -> Result<(), ApiError> {
    let plugins = &review.registry.plugins;
    let mut timed = Timed::begin(Step::Admit, review.write.operation());
    timed.ended(Plugin::NamespaceLifecycle, namespace::admit(review).await)?;
    if plugins.has(Plugin::LimitRanger) {
        timed.ended(Plugin::LimitRanger, limits::admit(review).await)?;
    }
    if plugins.has(Plugin::ServiceAccount) {
        timed.ended(Plugin::ServiceAccount, service_account::admit(review).await)?;
    }
    if plugins.has(Plugin::TaintNodesByCondition) {
        taint::admit(review);
        timed.ended(Plugin::TaintNodesByCondition, Ok(()))?;
    }
    if plugins.has(Plugin::Priority) {
        timed.ended(Plugin::Priority, priority::admit(review).await)?;
    }
    if plugins.has(Plugin::DefaultTolerationSeconds) {
        tolerations::admit(review);
        timed.ended(Plugin::DefaultTolerationSeconds, Ok(()))?;
    }
    if let Some(filled) = default_class::filled(review) {
        timed.ended(filled.plugin, default_class::admit(review, filled).await)?;
    }
    if plugins.has(Plugin::StorageObjectInUseProtection) {
        in_use::admit(review);
        timed.ended(Plugin::StorageObjectInUseProtection, Ok(()))?;
    }
    if plugins.has(Plugin::RuntimeClass) {
        timed.ended(Plugin::RuntimeClass, runtime_class::admit(review).await)?;
    }
    if plugins.has(Plugin::PodTopologyLabels) {
        timed.ended(Plugin::PodTopologyLabels, topology::admit(review).await)?;
    }
    timed.ended(Plugin::NodeRestriction, caller::admit(review).await)
}
