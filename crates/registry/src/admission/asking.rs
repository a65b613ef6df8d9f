//! Webhooks and policies in the pipeline.

use skiff_admission::{Attributes, Chain, Operation, Refusal};
use skiff_machinery::Subresource;

use super::review::{Review, Write};
use super::{attributes, built_in, surroundings};
use crate::errors::ApiError;
use crate::pipeline::call::Call;
use crate::registry::Registry;

/// Lets policies and webhooks change the object, and the built-in plugins see what they changed; tells whether anything did.
pub(super) async fn mutate(review: &mut Review<'_>) -> Result<bool, ApiError> {
    let chain = review.registry.configured.mutating();
    if chain.is_empty() || !concerns(review) {
        return Ok(false);
    }
    let mut attributes = attributes::of(review)?;
    let mut changed = round(&chain, review, &mut attributes).await?;
    if attributes.reinvocation.begin_second() {
        built_in::admit(review).await?;
        attributes::renew(review, &mut attributes)?;
        changed |= round(&chain, review, &mut attributes).await?;
    }
    Ok(changed)
}

async fn round(
    chain: &Chain,
    review: &mut Review<'_>,
    attributes: &mut Attributes,
) -> Result<bool, ApiError> {
    let outcome = chain.round(attributes).await;
    tell(review.call, attributes, outcome)?;
    attributes::take(review, attributes)
}

/// Lets policies and webhooks refuse the object as it would be written.
pub(super) async fn validate(review: &Review<'_>) -> Result<(), ApiError> {
    let chain = review.registry.configured.validating();
    if chain.is_empty() || !concerns(review) {
        return Ok(());
    }
    let attributes = attributes::of(review)?;
    let outcome = chain.validate(&attributes).await;
    tell(review.call, &attributes, outcome)
}

/// Asks about a stream that is to be opened. What is changed of its options does not count.
///
/// # Errors
/// What refuses it.
pub async fn connect(registry: &Registry, call: &Call, subresource: Subresource) -> Result<(), ApiError> {
    let (mutating, validating) = (registry.configured.mutating(), registry.configured.validating());
    if mutating.is_empty() && validating.is_empty() {
        return Ok(());
    }
    let kind = surroundings::kind_of(&call.kind, subresource.as_str());
    let mut attributes = Attributes::new(Operation::Connect, surroundings::resource_of(&call.kind), kind);
    subresource.as_str().clone_into(&mut attributes.subresource);
    attributes.object = Some(attributes::stream_options(call, subresource, &attributes.kind));
    attributes::identify(call, &mut attributes);
    let outcome = mutating.admit(&mut attributes).await;
    tell(call, &attributes, outcome)?;
    let outcome = validating.validate(&attributes).await;
    tell(call, &attributes, outcome)
}

/// Whether anybody is asked at this place. A Binding and an Eviction are reviewed as themselves, and not once more as
/// what becomes of them.
fn concerns(review: &Review<'_>) -> bool {
    match review.write {
        Write::Create => true,
        Write::Update => review.subresource != Subresource::Binding.as_str(),
        Write::Delete => review.call.subresource != Some(Subresource::Eviction),
    }
}

fn tell(call: &Call, attributes: &Attributes, outcome: Result<(), Refusal>) -> Result<(), ApiError> {
    attributes.warnings().into_iter().for_each(|text| call.warn(text));
    let level = call.record.extent().level;
    for (key, value) in attributes.annotations(level) {
        call.record.annotate(level, &key, value);
    }
    outcome.map_err(|refusal| ApiError::Passed(refusal.to_json()))
}
