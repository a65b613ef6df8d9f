//! Checks of ephemeral containers, which are added to a running pod for debugging and then stay.

use serde_json::Value;

use super::go;
use super::validate_containers::image;
use crate::shared::check::one_of;
use crate::shared::diff;
use skiff_machinery::cells::{items, str_of};
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrorKind, FieldErrors, Object};

const PATH: &str = "spec.ephemeralContainers";
/// What makes no sense for a container that nothing waits for.
const NOT_ALLOWED: [&str; 6] =
    ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy"];
const NOT_HERE: &str = "cannot be set for an Ephemeral Container";

/// The pod as it is with the ephemeral containers of another.
pub(super) fn extended(old: &Object, wanted: &Object) -> Object {
    const FIELD: &[&str] = &["spec", "ephemeralContainers"];
    let mut new = old.clone();
    match wanted.get(FIELD) {
        Some(containers) => new.set(FIELD, containers.clone()),
        None => drop(new.remove(FIELD)),
    }
    new
}

/// Checks the containers that are new, and that the others are as they were.
pub(super) fn validate_update(new: &Object, old: &Object) -> FieldErrors {
    let before = items(old, &["spec", "ephemeralContainers"]);
    let after = items(new, &["spec", "ephemeralContainers"]);
    let mut errors = FieldErrors::new();
    for container in before {
        let name = str_of(container, "name");
        let what = match named(after, name) {
            None => "removed\n".to_owned(),
            Some(now) if now != container => {
                format!("changed\n{}", diff::of_json(&go::ephemeral(container), &go::ephemeral(now)))
            }
            Some(_) => continue,
        };
        let detail = format!("existing ephemeral containers {name:?} may not be {what}");
        errors.push(FieldError::forbidden(PATH, detail));
    }
    for (index, container) in after.iter().enumerate() {
        let name = str_of(container, "name");
        if named(before, name).is_none() {
            let lists = [items(new, &["spec", "containers"]), items(new, &["spec", "initContainers"])];
            let taken = lists.iter().any(|list| named(list, name).is_some());
            let duplicate = taken || named(&after[..index], name).is_some();
            errors.extend(validate(&format!("{PATH}[{index}]"), container, duplicate, new));
        }
    }
    errors
}

fn named<'a>(containers: &'a [Value], name: &str) -> Option<&'a Value> {
    containers.iter().find(|container| str_of(container, "name") == name)
}

fn validate(path: &str, container: &Value, duplicate: bool, pod: &Object) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = FieldErrors::new();
    match str_of(container, "name") {
        "" => errors.push(FieldError::required(at("name"), "")),
        name if duplicate => errors.push(FieldError::duplicate(at("name"), name)),
        name => errors.extend(Form::DnsLabel.check(&at("name"), name)),
    }
    errors.extend(image(&at("image"), str_of(container, "image")));
    let policies = ["Always", "IfNotPresent", "Never"];
    errors.extend(one_of(&at("imagePullPolicy"), Some(str_of(container, "imagePullPolicy")), &policies));
    let resources = container.get("resources").and_then(Value::as_object).is_some_and(|map| !map.is_empty());
    let given = NOT_ALLOWED.into_iter().filter(|field| container.get(*field).is_some_and(|v| !v.is_null()));
    for field in given.chain(resources.then_some("resources")) {
        errors.push(FieldError::forbidden(at(field), NOT_HERE));
    }
    let target = str_of(container, "targetContainerName");
    let known = ["containers", "initContainers"]
        .iter()
        .any(|list| named(items(pod, &["spec", list]), target).is_some());
    if !target.is_empty() && !known {
        let path = at("targetContainerName");
        errors.push(FieldError::new(FieldErrorKind::NotFound, path, target, ""));
    }
    errors
}
