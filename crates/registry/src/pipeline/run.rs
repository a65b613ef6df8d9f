//! A call, carried out.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::StatusCode;
use skiff_machinery::{Persistence, Verb};

use super::call::Call;
use super::outcome::Outcome;
use super::update::Part;
use super::{applied, create, decode, delete, list, paging, patch, transient, update};
use crate::admission;
use crate::errors::ApiError;
use crate::registry::Registry;
use crate::subresources;

/// Carries out a call, for objects or for a subresource of one that is answered here. A watch is none of them, see
/// [`Watching`](super::watch::Watching).
///
/// # Errors
/// What the client is to be told.
pub fn run<'a>(
    registry: &'a Registry,
    call: &'a Call,
    body: &'a Bytes,
) -> BoxFuture<'a, Result<Outcome, ApiError>> {
    Box::pin(carry_out(registry, call, body))
}

async fn carry_out(registry: &Registry, call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    if call.verb == Verb::Create && call.kind.is_closing() && call.subresource.is_none() {
        let name = decode::object(call, body)?.name().to_owned();
        let why = "create not allowed while custom resource definition is terminating";
        return Err(ApiError::forbidden(call.subject(&name), why));
    }
    call.check_verb()?;
    if call.verb == Verb::Patch {
        applied::note_patch(call, body);
    }
    match call.subresource {
        Some(subresource) => subresources::answer(registry, call, subresource, body).await,
        None => objects(registry, call, body).await,
    }
}

async fn objects(registry: &Registry, call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let outcome = match call.verb {
        Verb::Create => match call.kind.persistence {
            Persistence::HandedOn { resource, subresource } => {
                subresources::hand_on(registry, call, resource, subresource, body).await
            }
            Persistence::Transient => transient::create(registry, call, body).await,
            Persistence::Stored | Persistence::Made => create::create(registry, call, body).await,
        },
        Verb::Get => {
            check_revision(registry, call)?;
            Ok(Outcome::entry(StatusCode::OK, registry.entry(call).await?))
        }
        Verb::List => list::list(registry, call).await,
        Verb::Update => update::update(registry, call, Part::Whole, body).await,
        Verb::Patch => patch::patch(registry, call, Part::Whole, body).await,
        Verb::Delete => delete::delete(registry, call, body).await,
        Verb::DeleteCollection => delete::delete_collection(registry, call, body).await,
        Verb::Watch => Err(ApiError::MethodNotAllowed),
    }?;
    if !matches!(call.verb, Verb::Get | Verb::List) {
        admission::settle(registry, call).await;
    }
    Ok(outcome)
}

/// Whether a GET may be answered with the newest state: its `resourceVersion` must not be of the future.
fn check_revision(registry: &Registry, call: &Call) -> Result<(), ApiError> {
    let requested = paging::parse_revision(call.query.get("resourceVersion"))
        .map_err(|error| ApiError::Unclassified(error.to_string()))?;
    let Some(requested) = requested else { return Ok(()) };
    let current = registry.store.revision();
    if requested > current {
        return Err(ApiError::FutureRevision { requested, current });
    }
    Ok(())
}
