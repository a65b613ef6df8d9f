//! What the server decides in `metadata`, and what is checked there for every kind.

use serde_json::{Map, Value, json};
use skiff_machinery::managed;
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors, Kind, MetadataChecks, Object, Scope};
use uuid::Uuid;

use super::call::{Call, timestamp};
use crate::errors::ApiError;

/// Annotations of one object may take this many bytes in all.
const MAX_ANNOTATIONS: usize = 256 * 1024;

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
const KEPT: &[&str] = &[
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "generateName",
];

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
    managed::track_update(new, old, &call.kind.root, &call.writer(&manager, subresource));
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

/// Checks the metadata of an object that is about to be created.
pub(crate) fn validate(kind: &Kind, object: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    whole(kind, object, &mut errors);
    known_finalizers(kind, object, &mut errors);
    errors
}

/// Checks the metadata of a change, as often as the kind's own checks are made.
pub(crate) fn validate_update(kind: &Kind, again: MetadataChecks, new: &Object, old: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    whole(kind, new, &mut errors);
    change(new, old, &mut errors);
    if again.of_change() {
        change(new, old, &mut errors);
        known_finalizers(kind, new, &mut errors);
    }
    let times = if again == MetadataChecks::ObjectTwice { 2 } else { usize::from(again.of_object()) };
    for _ in 0..times {
        whole(kind, new, &mut errors);
        known_finalizers(kind, new, &mut errors);
    }
    errors
}

/// What is checked of every object.
fn whole(kind: &Kind, object: &Object, errors: &mut FieldErrors) {
    errors.extend(generate_name(kind, object));
    if object.name().is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else {
        errors.extend(kind.strategy.validate_name(object.name()));
    }
    if kind.scope == Scope::Cluster && !object.namespace().is_empty() {
        errors.push(FieldError::forbidden("metadata.namespace", "not allowed on this type"));
    }
    let generation = object.get(&["metadata", "generation"]).and_then(Value::as_i64).unwrap_or(0);
    if generation < 0 {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid("metadata.generation", generation, detail));
    }
    labels(object, errors);
    annotations(object, errors);
    owners(object, errors);
    for finalizer in object.finalizers() {
        errors.extend(Form::QualifiedName.check("metadata.finalizers", finalizer));
    }
}

/// What names are made from has to have their form; it may end with a dash.
fn generate_name(kind: &Kind, object: &Object) -> FieldErrors {
    let prefix = object.str(&["metadata", "generateName"]);
    if prefix.is_empty() || !kind.strategy.checks_generate_name() {
        return FieldErrors::new();
    }
    // Kubernetes puts a letter in the place of the dash and of what is before it.
    let start = prefix.strip_suffix('-').and_then(|start| Some(&start[..start.char_indices().last()?.0]));
    let masked = start.map_or_else(|| prefix.to_owned(), |start| format!("{start}a"));
    let wrong = kind.strategy.validate_name(&masked).into_iter();
    let of_prefix =
        |error| FieldError { field: "metadata.generateName".to_owned(), value: prefix.into(), ..error };
    wrong.map(of_prefix).collect()
}

/// What is checked of every change.
fn change(new: &Object, old: &Object, errors: &mut FieldErrors) {
    if old.is_terminating() {
        let before = old.finalizers();
        let added: Vec<&str> = new.finalizers().into_iter().filter(|f| !before.contains(f)).collect();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
            errors.push(FieldError::forbidden(
                "metadata.finalizers",
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    list.join(", ")
                ),
            ));
        }
    }
    if new.name() != old.name() {
        errors.push(FieldError::invalid("metadata.name", new.name(), "field is immutable"));
    }
    labels(new, errors);
    annotations(new, errors);
    owners(new, errors);
}

/// Finalizers without a domain are Kubernetes' own.
fn known_finalizers(kind: &Kind, object: &Object, errors: &mut FieldErrors) {
    const STANDARD: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];
    if !kind.strategy.knows_finalizers() {
        return;
    }
    for (i, finalizer) in object.finalizers().into_iter().enumerate() {
        if !finalizer.contains('/') && !STANDARD.contains(&finalizer) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(format!("metadata.finalizers[{i}]"), finalizer, detail));
        }
    }
}

fn members<'a>(object: &'a Object, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    object.get(&["metadata", field]).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// Checks labels.
pub fn labels(object: &Object, errors: &mut FieldErrors) {
    for (key, value) in members(object, "labels") {
        errors.extend(Form::QualifiedName.check("metadata.labels", key));
        errors.extend(Form::LabelValue.check("metadata.labels", value.as_str().unwrap_or_default()));
    }
}

/// Checks annotations.
pub fn annotations(object: &Object, errors: &mut FieldErrors) {
    let mut size = 0;
    for (key, value) in members(object, "annotations") {
        // Their form is that of labels in lower case; what is shown is what was sent.
        let wrong = Form::QualifiedName.check("metadata.annotations", &key.to_lowercase());
        errors.extend(wrong.into_iter().map(|error| FieldError { value: key.as_str().into(), ..error }));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_ANNOTATIONS {
        let kind = skiff_machinery::FieldErrorKind::TooLong;
        let detail = format!("may not be more than {MAX_ANNOTATIONS} bytes");
        errors.push(FieldError::new(kind, "metadata.annotations", Value::Null, detail));
    }
}

fn owners(object: &Object, errors: &mut FieldErrors) {
    let owners = object.get(&["metadata", "ownerReferences"]).and_then(Value::as_array);
    let owners = owners.map_or(&[][..], Vec::as_slice);
    let mut controller: Option<String> = None;
    for owner in owners {
        // Kubernetes does not say which of them it is.
        for (field, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            let value = owner[field].as_str().unwrap_or_default();
            if value.is_empty() {
                let path = format!("metadata.ownerReferences.{field}");
                errors.push(FieldError::invalid(path, value, detail));
            }
        }
        if owner["controller"] != json!(true) {
            continue;
        }
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        let name = format!("{}/{}", text("kind"), text("name"));
        match &controller {
            None => controller = Some(name),
            Some(first) => {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                );
                let error = FieldError::invalid("metadata.ownerReferences", Value::Null, detail);
                errors.push(error.showing(shown_owners(owners)));
            }
        }
    }
}

/// Owners as Go writes them: with their fields in the order of the type.
fn shown_owners(owners: &[Value]) -> String {
    const FIELDS: [&str; 6] = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let shown = |owner: &Value| {
        let field = |name: &&str| Some(format!("\"{name}\":{}", owner.get(name)?));
        format!("{{{}}}", FIELDS.iter().filter_map(field).collect::<Vec<_>>().join(","))
    };
    format!("[{}]", owners.iter().map(shown).collect::<Vec<_>>().join(","))
}
