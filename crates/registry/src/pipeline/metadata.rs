//! What the server decides in `metadata`.

use serde_json::Value;
use skiff_machinery::managed;
use skiff_machinery::{Kind, Object, Scope, Subresource};
use uuid::Uuid;

use super::call::{Call, timestamp};
use super::metadata_checks::KEPT_OF_DELETION;
use crate::errors::ApiError;

/// Puts the object where the URL says.
pub(crate) fn locate(call: &Call, object: &mut Object) -> Result<(), ApiError> {
    match call.kind.scope {
        // As manifests for a namespace say of all that is in them.
        Scope::Cluster => drop(object.remove(&["metadata", "namespace"])),
        Scope::Namespaced => {
            let (given, wanted) = (object.namespace(), call.namespace().as_str());
            if !given.is_empty() && given != wanted {
                return Err(ApiError::BadRequest(
                    "the namespace of the provided object does not match the namespace sent on the request"
                        .to_owned(),
                ));
            }
            object.set(&["metadata", "namespace"], wanted);
        }
    }
    Ok(())
}

/// Refuses an object with another name than the URL has, or without one.
pub(crate) fn check_name(call: &Call, object: &Object) -> Result<(), ApiError> {
    let (name, wanted) = (object.name(), call.path.name.as_str());
    if name.is_empty() {
        return Err(ApiError::BadRequest(format!(
            "the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
        )));
    }
    if name != wanted {
        return Err(ApiError::BadRequest(format!(
            "the name of the object ({name}) does not match the name on the URL ({wanted})"
        )));
    }
    Ok(())
}

/// One that nobody else has: by the generator of this thread, which asks the kernel for a seed now and then instead of for each.
pub fn made_id() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

/// Fills what a new object gets from the server.
pub(crate) fn begin(call: &Call, object: &mut Object) -> Result<(), ApiError> {
    locate(call, object)?;
    // The generation of a kind that counts none is its creator's.
    for field in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        object.remove(&["metadata", field]);
    }
    object.set(&["metadata", "uid"], made_id().to_string());
    object.set(&["metadata", "creationTimestamp"], timestamp(call.now));
    if call.kind.counts_generations {
        object.set(&["metadata", "generation"], 1);
    }
    Ok(())
}

/// The metadata that an update can not change.
const KEPT: &[&str] = &["namespace", "uid", "creationTimestamp", "generation", "resourceVersion"];

/// Gives `new` the metadata of `old` that an update can not change. The caller has checked `uid` and
/// `resourceVersion` as preconditions.
pub(crate) fn keep(new: &mut Object, old: &Object) {
    new.remove(&["metadata", "selfLink"]);
    for field in KEPT {
        match old.get(&["metadata", field]) {
            Some(value) => new.set(&["metadata", field], value.clone()),
            None => drop(new.remove(&["metadata", field])),
        }
    }
    // The time is put back whatever the request says; another grace period stays, and is refused.
    let [time, grace] = KEPT_OF_DELETION.map(|field| ["metadata", field]);
    let kept = [Some(time), Some(grace).filter(|grace| new.get(grace).is_none())];
    for path in kept.into_iter().flatten() {
        if let Some(value) = old.get(&path) {
            new.set(&path, value.clone());
        }
    }
}

/// Gives `new` all metadata of `old` but for the managed fields, which say what the request changed elsewhere.
pub(crate) fn restore(new: &mut Object, old: &Object) {
    const MANAGED: [&str; 2] = ["metadata", "managedFields"];
    let managed = new.remove(&MANAGED);
    new.set(&["metadata"], old.get(&["metadata"]).cloned().unwrap_or_default());
    match managed {
        Some(managed) => new.set(&MANAGED, managed),
        None => drop(new.remove(&MANAGED)),
    }
}

/// Gives a new object back what [`begin`] gave it, whatever became of it since.
pub(crate) fn keep_given(object: &mut Object, before: &Object) {
    const GIVEN: &[&str] = &[
        "selfLink",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ];
    for field in GIVEN {
        match before.get(&["metadata", field]) {
            Some(value) => object.set(&["metadata", field], value.clone()),
            None => drop(object.remove(&["metadata", field])),
        }
    }
}

/// Copies `uid` and `resourceVersion`, where given, into an object that is made from the current one, so that
/// they count as preconditions.
pub(crate) fn take_preconditions(new: &mut Object, wanted: &Object) {
    for field in ["uid", "resourceVersion"] {
        let given = wanted.str(&["metadata", field]);
        if !given.is_empty() {
            new.set(&["metadata", field], given);
        }
    }
}

/// Makes the client own what differs from `old` (nothing, for a create), in the managed fields.
pub(crate) fn track(call: &Call, new: &mut Object, old: Option<&Object>, subresource: &str) {
    let manager = call.manager();
    let writer = call.writer(&manager, subresource);
    match old.filter(|_| subresource == Subresource::Scale.as_str()) {
        Some(old) => managed::track_scale(new, old, &call.kind.scale.path(), &writer),
        None => managed::track_update(new, old, &call.kind.root, &writer),
    }
}

/// As [`track`], with the annotations of the kind's own as the request has them: whatever the strategy makes of them, who writes
/// them owns them.
pub(crate) fn track_said(call: &Call, new: &mut Object, old: &Object, subresource: &str, said: Said) {
    if said.is_empty() {
        return track(call, new, Some(old), subresource);
    }
    let settled = own_annotations(&call.kind, new);
    annotate(new, said);
    track(call, new, Some(old), subresource);
    annotate(new, settled);
    managed::keep_times(new, old);
}

/// Annotations of a kind's own, and what they say; none for those that are not there.
pub(crate) type Said = Vec<(&'static str, Option<Value>)>;

/// The annotations of the kind's own in an object.
pub(crate) fn own_annotations(kind: &Kind, object: &Object) -> Said {
    let own = kind.strategy.added_annotations().iter();
    own.map(|name| (*name, object.get(&["metadata", "annotations", name]).cloned())).collect()
}

fn annotate(object: &mut Object, said: Said) {
    for (name, value) in said {
        let path = ["metadata", "annotations", name];
        match value {
            Some(value) => object.set(&path, value),
            None => drop(object.remove(&path)),
        }
    }
}

/// Counts the generation up when more than metadata and status differ. Annotations, where they count, do so in a change of the
/// `whole`: a controller that writes one with the status makes no new generation.
pub(crate) fn count_generation(kind: &Kind, new: &mut Object, old: &Object, whole: bool) {
    if !kind.counts_generations {
        return;
    }
    let content = |object: &Object| -> Vec<(String, Value)> {
        let skipped = |key: &str| match key {
            "metadata" | "apiVersion" | "kind" => true,
            "status" => !kind.strategy.counts_status(),
            _ => false,
        };
        let members = object.as_map().iter().filter(|(key, _)| !skipped(key));
        members.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let relabelled = kind.strategy.counts_labels() && new.labels() != old.labels();
    let annotated = whole && kind.strategy.counts_annotations() && new.annotations() != old.annotations();
    if relabelled || annotated || content(new) != content(old) {
        bump_generation(new);
    }
}

/// Counts the generation up, if the object has one.
pub(crate) fn bump_generation(object: &mut Object) {
    let generation = object.get(&["metadata", "generation"]).and_then(Value::as_i64);
    if let Some(generation) = generation.filter(|g| *g > 0) {
        object.set(&["metadata", "generation"], generation + 1);
    }
}

/// Takes the revision from an object that is about to be stored for the first time. It is the store of Kubernetes that refuses one,
/// after all else, and what is no number is none to it.
pub(crate) fn take_revision(object: &mut Object) -> Result<(), ApiError> {
    if object.resource_version().parse::<u64>().is_ok_and(|revision| revision != 0) {
        let text = "resourceVersion should not be set on objects to be created";
        return Err(ApiError::Unclassified(text.to_owned()));
    }
    object.remove(&["metadata", "resourceVersion"]);
    Ok(())
}
