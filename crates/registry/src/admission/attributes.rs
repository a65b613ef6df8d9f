//! Requests as webhooks and policies see them, and what these made of the object.

use std::sync::Arc;

use serde_json::Value;
use skiff_admission::{Attributes, GroupVersionKind, Operation, User};
use skiff_machinery::{Object, Subresource, scale};

use super::review::{Review, Write};
use super::surroundings;
use crate::errors::ApiError;
use crate::pipeline::call::Call;
use crate::pipeline::metadata;

/// What a write is about to do.
pub(super) fn of(review: &Review<'_>) -> Result<Attributes, ApiError> {
    let call = review.call;
    let operation = match review.write {
        Write::Create => Operation::Create,
        Write::Update => Operation::Update,
        Write::Delete => Operation::Delete,
    };
    let kind = surroundings::kind_of(&call.kind, review.subresource);
    let mut attributes = Attributes::new(operation, surroundings::resource_of(&call.kind), kind);
    review.subresource.clone_into(&mut attributes.subresource);
    renew(review, &mut attributes)?;
    attributes.old = review.old.map(|object| shown(review, object)).transpose()?.map(Arc::new);
    attributes.dry_run = call.dry_run;
    attributes.options = Some(match review.deletion {
        Some(deletion) => {
            attributes.dry_run = deletion.dry_run;
            deletion.to_json()
        }
        None => write_options(call, operation),
    });
    identify(call, &mut attributes);
    Ok(attributes)
}

/// Puts the object as it has become into the attributes.
pub(super) fn renew(review: &Review<'_>, attributes: &mut Attributes) -> Result<(), ApiError> {
    attributes.object = review.object.as_deref().map(|object| shown(review, object)).transpose()?;
    if let Some(object) = attributes.object.as_mut().filter(|object| object.kind().is_empty()) {
        object.set(&["apiVersion"], attributes.kind.api_version());
        object.set(&["kind"], attributes.kind.kind.as_str());
    }
    Ok(())
}

/// Who asks, and for what.
pub(super) fn identify(call: &Call, attributes: &mut Attributes) {
    let user = &call.user;
    attributes.user = User {
        name: user.name.clone(),
        uid: user.uid.clone(),
        groups: user.groups.clone(),
        extra: user.extra.clone(),
    };
    let named = attributes.object.as_ref().filter(|_| attributes.operation == Operation::Create);
    let name = if call.path.name.is_empty() { named.map_or("", Object::name) } else { &call.path.name };
    attributes.name = name.to_owned();
    let is_namespace = call.kind.gv.group.is_empty() && call.kind.names.kind == "Namespace";
    attributes.namespace = if is_namespace { name.to_owned() } else { call.namespace().to_owned() };
}

/// The options of the write that is made, also where a patch asks for it.
fn write_options(call: &Call, operation: Operation) -> Value {
    let kind = if operation == Operation::Create { "CreateOptions" } else { "UpdateOptions" };
    let mut options = serde_json::json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    if call.dry_run {
        options["dryRun"] = serde_json::json!(["All"]);
    }
    for field in ["fieldManager", "fieldValidation"] {
        let value = call.query.get(field);
        if !value.is_empty() {
            options[field] = value.into();
        }
    }
    options
}

/// What is seen of an object: through `scale` its Scale.
fn shown(review: &Review<'_>, object: &Object) -> Result<Object, ApiError> {
    if review.subresource != Subresource::Scale.as_str() {
        return Ok(object.clone());
    }
    scale::of(object, &review.call.kind.scale).map_err(|error| ApiError::Internal(error.to_string()))
}

/// Puts what plugins made into the place of the object; tells whether it is another.
pub(super) fn take(review: &mut Review<'_>, attributes: &Attributes) -> Result<bool, ApiError> {
    let call = review.call;
    let subject = || call.subject(&attributes.name);
    let is_scale = review.subresource == Subresource::Scale.as_str();
    let (Some(made), Some(object)) = (&attributes.object, review.object.as_deref_mut()) else {
        return Ok(false);
    };
    let before = object.clone();
    if is_scale {
        let replicas =
            scale::replicas(made, true).map_err(|error| ApiError::invalid(subject(), vec![error]))?;
        call.kind.scale.set_replicas(object, replicas);
    } else {
        *object = made.clone();
        if review.subresource.is_empty() && review.write == Write::Create {
            metadata::keep_given(object, &before);
            metadata::locate(call, object)?;
        }
    }
    Ok(*object != before)
}

/// The options of a stream as an object: what the query says.
pub(super) fn stream_options(call: &Call, subresource: Subresource, kind: &GroupVersionKind) -> Object {
    let mut options = Object::default();
    options.set(&["kind"], kind.kind.as_str());
    options.set(&["apiVersion"], kind.api_version());
    match subresource {
        Subresource::Exec | Subresource::Attach => {
            for flag in ["stdin", "stdout", "stderr", "tty"] {
                if call.query.flag(flag) {
                    options.set(&[flag], true);
                }
            }
            let container = call.query.get("container");
            if !container.is_empty() {
                options.set(&["container"], container);
            }
            if subresource == Subresource::Exec {
                options.set(&["command"], call.query.all("command").collect::<Vec<_>>());
            }
        }
        Subresource::PortForward => {
            let ports: Vec<i64> = call.query.all("ports").filter_map(|port| port.parse().ok()).collect();
            if !ports.is_empty() {
                options.set(&["ports"], ports);
            }
        }
        _ if !call.path.tail.is_empty() => options.set(&["path"], call.path.tail.as_str()),
        _ => {}
    }
    options
}
