//! What is checked in `metadata`, of every kind.

use serde_json::{Map, Value, json};
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors, Kind, MetadataChecks, Object, Scope};

/// Annotations of one object may take this many bytes in all.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Of what comes and goes all the time nothing can be a part.
const OWNS_NOTHING: &str = "/v1, Kind=Event";

/// What an update can not take from an object that is being deleted.
pub(crate) const KEPT_OF_DELETION: [&str; 2] = ["deletionTimestamp", "deletionGracePeriodSeconds"];

/// Checks the metadata of an object that is about to be created.
pub(crate) fn validate(kind: &Kind, object: &Object) -> FieldErrors {
    let mut errors = generate_name(kind, object);
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
        errors.extend(generate_name(kind, new));
        whole(kind, new, &mut errors);
        known_finalizers(kind, new, &mut errors);
    }
    errors
}

/// What is checked of every object.
fn whole(kind: &Kind, object: &Object, errors: &mut FieldErrors) {
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
    finalizers(object, errors);
}

fn finalizers(object: &Object, errors: &mut FieldErrors) {
    let finalizers = object.finalizers();
    for finalizer in &finalizers {
        errors.extend(Form::QualifiedName.check("metadata.finalizers", finalizer));
    }
    if ["orphan", "foregroundDeletion"].iter().all(|name| finalizers.contains(name)) {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid("metadata.finalizers", json!(finalizers), detail));
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
    for field in KEPT_OF_DELETION {
        let [now, before] = [new, old].map(|object| object.get(&["metadata", field]));
        if now != before {
            let value = now.cloned().unwrap_or_default();
            errors.push(FieldError::invalid(format!("metadata.{field}"), value, "field is immutable"));
        }
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
            if value.is_empty() || field == "apiVersion" && !has_version(value) {
                let path = format!("metadata.ownerReferences.{field}");
                errors.push(FieldError::invalid(path, value, detail));
            }
        }
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        if format!("/{}, Kind={}", text("apiVersion"), text("kind")) == OWNS_NOTHING {
            let detail = format!("{OWNS_NOTHING} is disallowed from being an owner");
            let error = FieldError::invalid("metadata.ownerReferences", Value::Null, detail);
            errors.push(error.showing(shown_owner(owner)));
        }
        if owner["controller"] != json!(true) {
            continue;
        }
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
    format!("[{}]", owners.iter().map(shown_owner).collect::<Vec<_>>().join(","))
}

fn shown_owner(owner: &Value) -> String {
    const FIELDS: [&str; 6] = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let field = |name: &&str| Some(format!("\"{name}\":{}", owner.get(name)?));
    format!("{{{}}}", FIELDS.iter().filter_map(field).collect::<Vec<_>>().join(","))
}

/// Whether an `apiVersion` names a version, with a group or without.
fn has_version(text: &str) -> bool {
    match text.split_once('/') {
        Some((_, version)) => !version.is_empty() && !version.contains('/'),
        None => true,
    }
}
