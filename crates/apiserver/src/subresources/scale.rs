//! `autoscaling/v1` Scale: `spec.replicas` of an object, and nothing else of it.

use bytes::Bytes;
use http::StatusCode;
use skiff_catalogue::managed::Operation;
use skiff_catalogue::{Object, Subresource, scale};

use crate::errors::{ApiError, Subject};
use crate::pipeline::call::Call;
use crate::pipeline::update::{self, Part};
use crate::pipeline::{Content, Outcome, decode, metadata, patch};

const PART: Part = Part::Narrow(Subresource::Scale);

/// GET.
pub(super) async fn get(call: &Call) -> Result<Outcome, ApiError> {
    let object = call.decoded(&call.entry().await?)?;
    Ok(Outcome::status(StatusCode::OK, scale::of(&object).into_value()))
}

/// PUT.
pub(super) async fn update(call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let wanted = decode::exchanged(call, Subresource::Scale, body)?;
    let outcome = update::change(call, PART, Operation::Update, |old| scaled(old, &wanted)).await?;
    show(call, outcome)
}

/// PATCH, of the Scale and not of the object.
pub(super) async fn patch(call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let outcome = update::change(call, PART, Operation::Update, |old| {
        scaled(old, &patch::to_tree(call, &scale::of(old), body)?)
    });
    show(call, outcome.await?)
}

fn show(call: &Call, outcome: Outcome) -> Result<Outcome, ApiError> {
    let object = match outcome.content {
        Content::Entry(entry) => scale::of(&*call.decoded(&entry)?),
        Content::Object(object) => scale::of(&object),
        Content::List(_) | Content::Tree(_) => return Ok(outcome),
    };
    Ok(Outcome::status(StatusCode::OK, object.into_value()))
}

/// The object with the replicas that a Scale asks for, and its preconditions.
fn scaled(old: &Object, wanted: &Object) -> Result<Object, ApiError> {
    let mut new = old.clone();
    scale::apply(&mut new, wanted).map_err(|errors| {
        let subject = Subject {
            group: "autoscaling".to_owned(),
            kind: "Scale".to_owned(),
            name: old.name().to_owned(),
            ..Subject::default()
        };
        ApiError::invalid(subject, errors)
    })?;
    metadata::take_preconditions(&mut new, wanted);
    Ok(new)
}
