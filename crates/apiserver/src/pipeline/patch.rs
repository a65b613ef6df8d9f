//! PATCH: the four patch formats, applied to the current object.

use bytes::Bytes;
use skiff_machinery::managed::{self, ApplyError, Operation};
use skiff_machinery::{FieldError, Object, patch};
use skiff_schema::Root;

use super::call::Call;
use super::update::{self, Part};
use super::{Outcome, create, decode, metadata};
use crate::errors::{ApiError, Cause, Subject};

/// What kinds take whose schemas do not say how lists merge.
const CUSTOM_FORMATS: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

const FORMATS: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";

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
            _ => Err(ApiError::UnsupportedMediaType(if strategic { FORMATS } else { CUSTOM_FORMATS })),
        }
    }
}

/// PATCH of an object or its status.
pub(crate) async fn patch(call: &Call, part: Part, body: &Bytes) -> Result<Outcome, ApiError> {
    let format = Format::of(call)?;
    if format == Format::Apply {
        return apply(call, part, body).await;
    }
    update::change(call, part, Operation::Update, |old| patched(call, old, body)).await
}

/// The object that a JSON, merge or strategic patch makes of another.
pub(crate) fn patched(call: &Call, old: &Object, body: &Bytes) -> Result<Object, ApiError> {
    let format = Format::of(call)?;
    let patched = apply_to(format, old, body, &call.kind.root)?;
    let mut patched = decode::patched(call, patched, body)?;
    let (name, wanted) = (patched.name(), call.path.name.as_str());
    if !name.is_empty() && name != wanted {
        let text = format!("the name of the object ({name}) does not match the name on the URL ({wanted})");
        return Err(ApiError::BadRequest(text));
    }
    if !patched.uid().is_empty() && patched.uid() != old.uid() {
        // Kubernetes finds it twice.
        let error = FieldError::invalid("metadata.uid", patched.uid(), "field is immutable");
        return Err(ApiError::invalid(call.subject(wanted), vec![error.clone(), error]));
    }
    metadata::locate(call, &mut patched)?;
    Ok(patched)
}

/// Applies a JSON, merge or strategic patch to any tree (also a Scale).
pub(crate) fn to_tree(call: &Call, old: &Object, body: &Bytes) -> Result<Object, ApiError> {
    let format = match Format::of(call)? {
        Format::Json => Format::Json,
        Format::Merge | Format::Strategic | Format::Apply => Format::Merge,
    };
    apply_to(format, old, body, &call.kind.root)
}

fn apply_to(format: Format, old: &Object, body: &Bytes, root: &Root) -> Result<Object, ApiError> {
    let outcome = match format {
        Format::Json => patch::json(old, body),
        Format::Merge => patch::merge(old, body),
        Format::Strategic | Format::Apply => patch::strategic(old, body, root),
    };
    outcome.map_err(refuse)
}

fn refuse(error: patch::PatchError) -> ApiError {
    if error.is_malformed() {
        ApiError::BadRequest(error.to_string())
    } else {
        ApiError::Unprocessable { message: error.to_string() }
    }
}

/// Server-side apply.
async fn apply(call: &Call, part: Part, body: &Bytes) -> Result<Outcome, ApiError> {
    if call.query.get("fieldManager").is_empty() {
        let error = FieldError::required("fieldManager", "is required for apply patch");
        let subject =
            Subject { group: "meta.k8s.io".into(), kind: "PatchOptions".into(), ..Subject::default() };
        return Err(ApiError::invalid(subject, vec![error]));
    }
    let mut intent = decode::configuration(call, body)?;
    metadata::locate(call, &mut intent)?;
    if !intent.name().is_empty() && intent.name() != call.path.name {
        return Err(ApiError::BadRequest(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            intent.name(),
            call.path.name
        )));
    }
    intent.set(&["metadata", "name"], call.path.name.as_str());
    let (manager, force) = (call.manager(), call.query.flag("force"));
    let writer = call.writer(&manager, part.subresource());
    let merge = |live: Option<&Object>| {
        managed::apply(live, &intent, &call.kind.root, &writer, force).map_err(refuse_apply)
    };
    let merged = update::change(call, part, Operation::Apply, |old| merge(Some(old))).await;
    match merged {
        Err(ApiError::NotFound(_)) if part == Part::Whole => {
            let mut object = merge(None)?;
            // No precondition on what is not there.
            object.remove(&["metadata", "resourceVersion"]);
            create::create_object(call, object, Operation::Apply).await
        }
        other => other,
    }
}

fn refuse_apply(error: ApplyError) -> ApiError {
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
