//! `autoscaling/v1` Scale: `spec.replicas` of an object, and nothing else of it.

use bytes::Bytes;
use http::StatusCode;
use skiff_machinery::managed::{self, ApplyError, Operation};
use skiff_machinery::{Object, Subresource, scale};

use crate::errors::{ApiError, Subject};
use crate::pipeline::call::Call;
use crate::pipeline::outcome::{Content, Outcome};
use crate::pipeline::update::{self, Part};
use crate::pipeline::{applied, decode, metadata, patch};
use crate::registry::Registry;

const PART: Part = Part::Narrow(Subresource::Scale);

/// GET.
pub(super) async fn get(registry: &Registry, call: &Call) -> Result<Outcome, ApiError> {
    let object = registry.decoded(call, &registry.entry(call).await?)?;
    Ok(Outcome::status(StatusCode::OK, scale_of(call, &object)?.into_value()))
}

/// PUT.
pub(super) async fn update(registry: &Registry, call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let wanted = decode::exchanged(call, Subresource::Scale, body).map_err(|error| match error {
        // Whoever words this knows custom kinds alone.
        ApiError::BadRequest(_) if !call.kind.strategy.is_typed() => {
            let why = "no kind is registered for the type v1.Scale in scheme \"pkg/runtime/scheme.go:111\"";
            ApiError::BadRequest(why.to_owned())
        }
        other => other,
    })?;
    metadata::check_name(call, &wanted)?;
    let outcome =
        update::change(registry, call, PART, Operation::Update, |old| scaled(call, old, &wanted)).await?;
    show(registry, call, outcome)
}

const UNAPPLIED: &str = "failed to create manager for existing fields: failed to convert live object (/; autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid group/version: autoscaling/v1";

/// PATCH, of the Scale and not of the object.
pub(super) async fn patch(registry: &Registry, call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    if patch::is_apply(call) {
        let outcome = apply(registry, call, body).await?;
        return show(registry, call, outcome);
    }
    let outcome = update::change(registry, call, PART, Operation::Update, |old| {
        let current = scale::of_any(old, &call.kind.scale);
        scaled(call, old, &patch::exchanged(call, Subresource::Scale, &current, body)?)
    });
    show(registry, call, outcome.await?)
}

/// Server-side apply of a Scale: of the object, its replicas.
async fn apply(registry: &Registry, call: &Call, body: &Bytes) -> Result<Outcome, ApiError> {
    let body = &applied::configuration_json(call, body)?;
    let says = applied::scale_configuration(call, body)?;
    let paths = &call.kind.scale;
    let (manager, force) = (call.manager(), call.query.flag("force"));
    let writer = call.writer(&manager, PART.subresource());
    let outcome = update::change(registry, call, PART, Operation::Apply, |old| {
        if !call.kind.strategy.is_typed() {
            // Kubernetes finds no version of a custom object in which it could be applied.
            return Err(ApiError::Unclassified(UNAPPLIED.to_owned()));
        }
        let current = scale::of_any(old, paths);
        let wanted = scaled(call, old, &patch::exchanged(call, Subresource::Scale, &current, body)?)?;
        let mut intent = Object::default();
        intent.set(&["apiVersion"], call.kind.gv.to_string());
        intent.set(&["kind"], call.kind.names.kind.as_ref());
        intent.set(&["metadata", "name"], old.name());
        for field in ["namespace", "uid", "resourceVersion"] {
            let value = wanted.str(&["metadata", field]);
            if !value.is_empty() {
                intent.set(&["metadata", field], value);
            }
        }
        if let Some(replicas) = paths.replicas(&wanted).filter(|_| says) {
            paths.set_replicas(&mut intent, replicas);
        }
        // A Scale does not say that there are to be none: who applies that adds it.
        let mut live = old.clone();
        if says && paths.replicas(old) == Some(0) {
            paths.drop_replicas(&mut live);
        }
        let merged = managed::apply(Some(&live), &intent, &call.kind.root, &writer, force);
        let mut merged = merged.map_err(|error| patch::refuse_apply(as_of_scale(call, error)))?;
        // Kubernetes does not note when.
        managed::keep_time(&mut merged, old, &writer);
        Ok(merged)
    });
    outcome.await
}

/// Conflicts as a Scale has them: whoever updated the replicas of the object did so in its version.
fn as_of_scale(call: &Call, error: ApplyError) -> ApplyError {
    let ApplyError::Conflicts(mut conflicts) = error else { return error };
    let (own, of_scale) = (format!(" using {}", call.kind.gv), " using autoscaling/v1");
    for conflict in &mut conflicts {
        conflict.owner = conflict.owner.replace(&own, of_scale);
    }
    ApplyError::Conflicts(conflicts)
}

/// The Scale of an object of the call's kind.
fn scale_of(call: &Call, object: &Object) -> Result<Object, ApiError> {
    scale::of(object, &call.kind.scale).map_err(|error| ApiError::Internal(error.to_string()))
}

fn show(registry: &Registry, call: &Call, outcome: Outcome) -> Result<Outcome, ApiError> {
    let object = match outcome.content {
        Content::Entry(entry) => scale_of(call, &*registry.decoded(call, &entry)?)?,
        Content::Object(object) => scale_of(call, &object)?,
        Content::List(_) | Content::Tree(_) => return Ok(outcome),
    };
    Ok(Outcome::status(StatusCode::OK, object.into_value()))
}

/// The object with the replicas that a Scale asks for, and its preconditions.
fn scaled(call: &Call, old: &Object, wanted: &Object) -> Result<Object, ApiError> {
    let replicas = scale::replicas(wanted, call.kind.strategy.is_typed()).map_err(|error| {
        let subject = Subject {
            group: "autoscaling".into(),
            kind: "Scale".into(),
            name: old.name().into(),
            ..Subject::default()
        };
        ApiError::invalid(subject, vec![error])
    })?;
    let mut new = old.clone();
    call.kind.scale.set_replicas(&mut new, replicas);
    metadata::take_preconditions(&mut new, wanted);
    Ok(new)
}
