//! PATCH: the four patch formats, applied to the current object.

use bytes::Bytes;
use skiff_machinery::managed::{self, ApplyError, Operation};
use skiff_machinery::patch::{self, PatchError};
use skiff_machinery::{FieldError, FieldErrors, MetadataChecks, Object, Subresource, go};
use skiff_schema::Root;

use super::applied::Configuration;
use super::call::Call;
use super::outcome::Outcome;
use super::update::{self, Part};
use super::{applied, create, decode, metadata, problems};
use crate::errors::{ApiError, Cause};
use crate::registry::Registry;

/// What kinds take whose schemas do not say how lists merge.
const CUSTOM_FORMATS: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

/// How a patch is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Format {
    fn of(call: &Call) -> Result<Self, ApiError> {
        let strategic = call.kind.strategy.is_typed();
        match call.content_type.as_str() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if strategic => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            // Kubernetes finds the handlers of its own types by what they take.
            _ if strategic => Err(ApiError::UnknownPatch),
            _ => Err(ApiError::UnsupportedMediaType(CUSTOM_FORMATS)),
        }
    }
}

/// PATCH of an object or its status.
pub(crate) async fn patch(
    registry: &Registry,
    call: &Call,
    part: Part,
    body: &Bytes,
) -> Result<Outcome, ApiError> {
    let format = Format::of(call)?;
    if format == Format::Apply {
        return apply(registry, call, part, body, &|_, merged| merged).await;
    }
    update::change(registry, call, part, Operation::Update, |old| patched(registry, call, old, body)).await
}

/// The object that a JSON, merge or strategic patch makes of another.
pub(crate) fn patched(
    registry: &Registry,
    call: &Call,
    old: &Object,
    body: &Bytes,
) -> Result<Object, ApiError> {
    let (format, is_typed) = (Format::of(call)?, call.kind.strategy.is_typed());
    let root = &call.kind.root;
    let mut patched = apply_to(format, old, body, root)?;
    if format == Format::Strategic {
        if let Some(why) = patch::refuse_tree(&patched, root) {
            return Err(decode::refuse_patched(call, shown(format, is_typed, old, body, root), why));
        }
        // What comes of such a patch is of the kind whatever it says.
        patched.set(&["apiVersion"], call.kind.gv.to_string());
        patched.set(&["kind"], call.kind.names.kind.as_ref());
    }
    if format != Format::Strategic && patched.api_version().is_empty() && is_typed {
        // Of what has no version Kubernetes reads no field.
        problems::report_unknown(call, &patched)?;
        patched.remove(&["metadata"]);
        metadata::check_name(call, &patched)?;
    }
    let mut patched =
        decode::patched(call, patched, patch::problems(body), &|| shown(format, is_typed, old, body, root))?;
    metadata::check_name(call, &patched)?;
    metadata::locate(call, &mut patched)?;
    check_uid(registry, call, &patched, old)?;
    Ok(patched)
}

/// Refuses what a patch makes another object of, in the words of the checks of a change.
fn check_uid(registry: &Registry, call: &Call, patched: &Object, old: &Object) -> Result<(), ApiError> {
    if !patched.uid().is_empty() && patched.uid() != old.uid() {
        let checks = call.kind.strategy.metadata_checks();
        let error = || FieldError::invalid("metadata.uid", patched.uid(), "field is immutable");
        let again = || checks.of_change().then(error);
        let is_last = checks == MetadataChecks::Around;
        let mut errors: FieldErrors = [error()].into();
        errors.extend(again().filter(|_| !is_last));
        errors.extend(call.kind.strategy.check_change(registry.context(call), None, patched, old).errors);
        errors.extend(again().filter(|_| is_last));
        return Err(ApiError::invalid(call.content_subject(&call.path.name), errors));
    }
    Ok(())
}

/// What an answer shows where a patch makes something wrong: the outcome, or the patch if it is a strategic one.
fn shown(format: Format, is_typed: bool, old: &Object, body: &Bytes, root: &Root) -> String {
    match format {
        Format::Json | Format::Merge => {
            let patched = apply_to(format, old, body, root).map(Object::into_value).unwrap_or_default();
            if is_typed {
                go::written(&patched, root, &patch::touched(body))
            } else {
                // Trees have their keys in order.
                go::escaped(&patched.to_string()).into_owned()
            }
        }
        Format::Strategic | Format::Apply => go::printed(&serde_json::from_slice(body).unwrap_or_default()),
    }
}

/// Applies a JSON, merge or strategic patch to what a subresource exchanges, e.g. a Scale.
pub(crate) fn exchanged(
    call: &Call,
    subresource: Subresource,
    old: &Object,
    body: &Bytes,
) -> Result<Object, ApiError> {
    let format = match Format::of(call)? {
        Format::Json => Format::Json,
        Format::Merge | Format::Strategic | Format::Apply => Format::Merge,
    };
    let patched = apply_to(format, old, body, &call.kind.root)?;
    let problems = patch::problems(body);
    // A Scale is of Kubernetes' own types, whatever it is of.
    decode::exchanged_patch(call, subresource, patched, problems, &|root| {
        shown(format, true, old, body, root)
    })
}

fn apply_to(format: Format, old: &Object, body: &Bytes, root: &Root) -> Result<Object, ApiError> {
    let outcome = match format {
        Format::Json => patch::json(old, body),
        Format::Merge => patch::merge(old, body),
        Format::Strategic | Format::Apply => patch::strategic(old, body, root),
    };
    outcome.map_err(refuse)
}

fn refuse(error: PatchError) -> ApiError {
    match error {
        PatchError::Decode(_) | PatchError::Malformed(_) => ApiError::BadRequest(error.to_string()),
        PatchError::TooLarge(text) => ApiError::TooManyOperations(text),
        PatchError::Unprocessable(why) => {
            tracing::debug!(why, "a patch does not apply");
            ApiError::Unprocessable
        }
        PatchError::Unclassified(text) => ApiError::Unclassified(text),
    }
}

/// Whether a request is a server-side apply.
pub(crate) fn is_apply(call: &Call) -> bool {
    Format::of(call).is_ok_and(|format| format == Format::Apply)
}

/// Server-side apply; `within` takes of the merged object, beside the live one, what may change.
pub(crate) async fn apply(
    registry: &Registry,
    call: &Call,
    part: Part,
    body: &Bytes,
    within: &(dyn Fn(&Object, Object) -> Object + Sync),
) -> Result<Outcome, ApiError> {
    let Configuration { intent, late, repeated } = applied::configuration(call, body)?;
    let (manager, force) = (call.manager(), call.query.flag("force"));
    let writer = call.writer(&manager, part.subresource());
    // Where the object is, and that a value has not the form of its type, is looked at when nobody minds the change.
    let merge = |live: Option<&Object>| {
        let merged = managed::apply(live, &intent, &call.kind.root, &writer, force);
        let mut merged = merged.map_err(refuse_apply)?;
        if let Some(why) = &late {
            return Err(ApiError::Unclassified(why.clone()));
        }
        applied::report_repeated(call, repeated.as_deref())?;
        metadata::locate(call, &mut merged)?;
        metadata::check_name(call, &merged)?;
        Ok(merged)
    };
    let merged = update::change(registry, call, part, Operation::Apply, |old| {
        let merged = merge(Some(old))?;
        check_uid(registry, call, &merged, old)?;
        Ok(within(old, merged))
    })
    .await;
    match merged {
        Err(ApiError::NotFound(_)) if part == Part::Whole => {
            let mut object = merge(None)?;
            if !object.uid().is_empty() {
                let (subject, uid) = (call.subject(&call.path.name), object.uid());
                let message = format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                );
                return Err(ApiError::Conflict { subject, message });
            }
            // No precondition on what is not there.
            object.remove(&["metadata", "resourceVersion"]);
            create::create_object(registry, call, object, Operation::Apply).await
        }
        other => other,
    }
}

pub(crate) fn refuse_apply(error: ApplyError) -> ApiError {
    let message = error.to_string();
    match error {
        ApplyError::Malformed(text) => ApiError::BadRequest(text),
        ApplyError::Conflicts(conflicts) => {
            let causes = conflicts.iter().map(|conflict| Cause {
                reason: "FieldManagerConflict".to_owned(),
                message: conflict.message(),
                field: conflict.field.clone(),
            });
            ApiError::ApplyConflict { message, causes: causes.collect() }
        }
    }
}
