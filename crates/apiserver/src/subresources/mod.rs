//! What URLs name below an object.

mod binding;
mod connect;
mod connection;
pub(crate) mod endpoints;
mod eviction;
mod finalize;
mod node;
mod part;
pub(crate) mod proxy;
pub(crate) mod review;
mod scale;
mod token;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use skiff_machinery::{Subresource, Verb};

use crate::errors::ApiError;
use crate::http::body::{self, Body};
use crate::pipeline::call::Call;
use crate::pipeline::update::{self, Part};
use crate::pipeline::{Outcome, patch, respond};

/// Carries out a request for a subresource.
pub(crate) async fn run(
    call: Call,
    verb: Verb,
    subresource: Subresource,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    if !subresource.verbs().contains(&verb) {
        return Err(ApiError::MethodNotAllowed);
    }
    if subresource.connects() {
        return connect::connect(&call, subresource, request).await;
    }
    let body = match verb {
        Verb::Get => Bytes::new(),
        _ => body::read(request.into_body()).await?,
    };
    let size = body.len();
    let server = call.server.clone();
    let work = async move {
        let outcome = answer(&call, verb, subresource, &body).await?;
        Ok::<_, ApiError>((call, outcome))
    };
    let (call, outcome) = server.aside.run(size, work).await?;
    respond::respond(call, outcome).await
}

async fn answer(
    call: &Call,
    verb: Verb,
    subresource: Subresource,
    body: &Bytes,
) -> Result<Outcome, ApiError> {
    match (subresource, verb) {
        (Subresource::Status | Subresource::EphemeralContainers | Subresource::Resize, Verb::Get) => {
            Ok(Outcome::entry(StatusCode::OK, call.entry().await?))
        }
        (Subresource::Status, Verb::Update) => update::update(call, Part::Status, body).await,
        (Subresource::Status, Verb::Patch) => patch::patch(call, Part::Status, body).await,
        (Subresource::Scale, Verb::Get) => scale::get(call).await,
        (Subresource::Scale, Verb::Update) => scale::update(call, body).await,
        (Subresource::Scale, Verb::Patch) => scale::patch(call, body).await,
        (Subresource::EphemeralContainers | Subresource::Resize, Verb::Update | Verb::Patch) => {
            part::change(call, subresource, verb, body).await
        }
        (Subresource::Finalize, Verb::Update) => finalize::finalize(call, body).await,
        (Subresource::Binding, Verb::Create) => binding::bind(call, body).await,
        (Subresource::Eviction, Verb::Create) => eviction::evict(call, body).await,
        (Subresource::Token, Verb::Create) => token::issue(call, body).await,
        _ => Err(ApiError::MethodNotAllowed),
    }
}
