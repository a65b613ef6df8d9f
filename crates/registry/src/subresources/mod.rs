//! What URLs name below an object, as far as the store answers it. What leads to nodes is elsewhere.

mod binding;
mod eviction;
mod finalize;
mod part;
mod scale;
mod token;

use bytes::Bytes;
use http::StatusCode;
use skiff_machinery::{Subresource, Verb};

use crate::admission;
use crate::errors::ApiError;
use crate::pipeline::call::Call;
use crate::pipeline::outcome::Outcome;
use crate::pipeline::update::{self, Part};
use crate::pipeline::{decode, metadata, patch};
use crate::registry::Registry;

/// Carries out a call for a kind whose objects are what a subresource of another takes, and say themselves of which object.
pub(crate) async fn hand_on(
    registry: &Registry,
    call: &Call,
    resource: &str,
    subresource: Subresource,
    body: &Bytes,
) -> Result<Outcome, ApiError> {
    let mut object = decode::object(call, body)?;
    metadata::locate(call, &mut object)?;
    if object.name().is_empty() {
        return Err(ApiError::BadRequest("Name parameter required.".to_owned()));
    }
    admission::admit_transient(registry, call, "", &mut object).await?;
    let handed_on = call.handed_on(resource, subresource, object.name());
    match (handed_on, subresource) {
        (Some(call), Subresource::Binding) => binding::carry_out(registry, &call, &object).await,
        _ => Err(ApiError::MethodNotAllowed),
    }
}

/// Carries out a call for a subresource.
pub(crate) async fn answer(
    registry: &Registry,
    call: &Call,
    subresource: Subresource,
    body: &Bytes,
) -> Result<Outcome, ApiError> {
    match (subresource, call.verb) {
        (
            Subresource::Status
            | Subresource::EphemeralContainers
            | Subresource::Resize
            | Subresource::Approval,
            Verb::Get,
        ) => Ok(Outcome::entry(StatusCode::OK, registry.entry(call).await?)),
        (Subresource::Status, Verb::Update) => update::update(registry, call, Part::Status, body).await,
        (Subresource::Status, Verb::Patch) => patch::patch(registry, call, Part::Status, body).await,
        (Subresource::Approval, Verb::Update) => {
            update::update(registry, call, Part::Narrow(subresource), body).await
        }
        (Subresource::Approval, Verb::Patch) => {
            patch::patch(registry, call, Part::Narrow(subresource), body).await
        }
        (Subresource::Scale, Verb::Get) => scale::get(registry, call).await,
        (Subresource::Scale, Verb::Update) => scale::update(registry, call, body).await,
        (Subresource::Scale, Verb::Patch) => scale::patch(registry, call, body).await,
        (Subresource::EphemeralContainers | Subresource::Resize, Verb::Update | Verb::Patch) => {
            part::change(registry, call, subresource, body).await
        }
        (Subresource::Finalize, Verb::Update) => finalize::finalize(registry, call, body).await,
        (Subresource::Binding, Verb::Create) => binding::bind(registry, call, body).await,
        (Subresource::Eviction, Verb::Create) => eviction::evict(registry, call, body).await,
        (Subresource::Token, Verb::Create) => token::issue(registry, call, body).await,
        _ => Err(ApiError::MethodNotAllowed),
    }
}
