//! Admission: what may change or refuse a write after it was authorised. Each plugin is one file; they run
//! for every kind, in the order of [`admit`] and [`confirm`].

pub(crate) mod asking;
mod attributes;
mod built_in;
mod caller;
mod certificates;
mod claim_resize;
pub(crate) mod configured;
mod default_class;
mod external_ips;
mod in_use;
mod limits;
mod mountable;
mod namespace;
mod params;
mod pod_security;
mod priority;
pub(crate) mod quota;
mod resize;
pub(crate) mod review;
mod runtime_class;
mod service_account;
pub(crate) mod surroundings;
mod taint;
mod timed;
mod tolerations;
mod topology;

use std::time::Instant;

use skiff_admission::Step;
use skiff_machinery::Object;

use self::quota::Charges;
use self::review::{Review, Write};
use self::timed::Timed;
use crate::errors::ApiError;
use crate::pipeline::call::Call;
use crate::plugins::Plugin;
use crate::registry::Registry;

/// What is refused only of an object that is right in itself: after its validation.
pub(crate) async fn confirm(review: Review<'_>) -> Result<(), ApiError> {
    let (began, operation) = (Instant::now(), review.write.operation());
    let confirmed = ask_to_confirm(review).await;
    skiff_admission::step(Step::Validate, operation, confirmed.is_err(), began);
    confirmed
}

async fn ask_to_confirm(mut review: Review<'_>) -> Result<(), ApiError> {
    let plugins = &review.registry.plugins;
    let mut timed = Timed::begin(Step::Validate, review.write.operation());
    if plugins.has(Plugin::DenyServiceExternalIPs) {
        timed.ended(Plugin::DenyServiceExternalIPs, external_ips::confirm(&review))?;
    }
    if plugins.has(Plugin::LimitRanger) {
        timed.ended(Plugin::LimitRanger, limits::confirm(&review).await)?;
    }
    if plugins.has(Plugin::ServiceAccount) {
        timed.ended(Plugin::ServiceAccount, service_account::confirm(&review).await)?;
    }
    if plugins.has(Plugin::PodSecurity) {
        timed.ended(Plugin::PodSecurity, pod_security::confirm(&review).await)?;
    }
    if plugins.has(Plugin::Priority) {
        timed.ended(Plugin::Priority, priority::confirm(&review).await)?;
    }
    if plugins.has(Plugin::PersistentVolumeClaimResize) {
        timed.ended(Plugin::PersistentVolumeClaimResize, claim_resize::confirm(&review).await)?;
    }
    if plugins.has(Plugin::RuntimeClass) {
        timed.ended(Plugin::RuntimeClass, runtime_class::confirm(&mut review).await)?;
    }
    if let Some(plugin) = certificates::concerned(&review) {
        timed.ended(plugin, certificates::confirm(&review, plugin).await)?;
    }
    if resize::is_concerned(&review) {
        timed.ended(Plugin::PodResizeValidator, resize::confirm(&review).await)?;
    }
    asking::validate(&review).await
}

/// Runs every plugin; the first refusal counts. Tells whether a policy or webhook changed the object.
pub(crate) async fn admit(mut review: Review<'_>) -> Result<bool, ApiError> {
    let (began, operation) = (Instant::now(), review.write.operation());
    let admitted = match built_in::admit(&mut review).await {
        Ok(()) => asking::mutate(&mut review).await,
        Err(error) => Err(error),
    };
    skiff_admission::step(Step::Admit, operation, admitted.is_err(), began);
    admitted
}

/// What a write costs, to be written with it; an error when it is more than is left.
pub(crate) async fn charge(review: &Review<'_>) -> Result<Charges, ApiError> {
    if !review.registry.plugins.has(Plugin::ResourceQuota) {
        return Ok(Charges::default());
    }
    let mut timed = Timed::begin(Step::Validate, review.write.operation());
    timed.ended(Plugin::ResourceQuota, quota::charge(review).await)
}

/// Lets policies and webhooks change and refuse what a subresource takes that is no part of the object, e.g. a Binding.
pub(crate) async fn review_exchanged(
    registry: &Registry,
    call: &Call,
    subresource: &str,
    object: &mut Object,
) -> Result<(), ApiError> {
    let (write, old, deletion) = (Write::Create, None, None);
    let mut review = Review { registry, call, write, subresource, object: Some(object), old, deletion };
    if registry.plugins.has(Plugin::PodTopologyLabels) {
        topology::admit(&mut review).await?;
    }
    asking::mutate(&mut review).await?;
    asking::validate(&review).await
}

/// The whole of admission for what is answered and not stored.
pub(crate) async fn admit_transient(
    registry: &Registry,
    call: &Call,
    subresource: &str,
    object: &mut Object,
) -> Result<(), ApiError> {
    let (write, old, deletion) = (Write::Create, None, None);
    let mut review = Review { registry, call, write, subresource, object: Some(&mut *object), old, deletion };
    built_in::admit(&mut review).await?;
    review_exchanged(registry, call, subresource, object).await
}

/// Waits until a change of policies and webhooks counts, so that it does when it is acknowledged.
pub(crate) async fn settle(registry: &Registry, call: &Call) {
    if call.kind.gv.group == "admissionregistration.k8s.io" && !call.dry_run {
        registry.configured.catch_up(registry.store.revision()).await;
    }
}
