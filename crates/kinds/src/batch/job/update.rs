//! What may change in a job: hardly anything, but while it is suspended where its pods may run and what they get.

use serde_json::{Map, Value};
use skiff_machinery::selector::{self, Values};
use skiff_machinery::{FieldError, FieldErrors, Object, cells};

use super::labels;
use super::validate::{self, Labels};
use crate::core::pod;
use crate::shared::check::immutable;
use crate::shared::template::TEMPLATE;
use crate::shared::workload;

/// Checks a change.
pub(super) fn validate_update(new: &Object, old: &Object) -> FieldErrors {
    let values = if has_bad_selector(old) { Values::Tolerated } else { Values::Checked };
    let mut errors = validate::check(new, labels_of(old), values);
    // Kubernetes looks at the spec twice, and says so.
    errors.extend(validate::spec_with_selector(new, values));
    errors.extend(completions(new, old));
    errors.extend(workload::same_selector(new, old));
    errors.extend(template(new, old));
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
    {
        let [new, old] = [new, old].map(|job| job.get(&["spec", field]).filter(|value| !value.is_null()));
        errors.extend(immutable(&format!("spec.{field}"), new, old));
    }
    errors
}

fn has_bad_selector(job: &Object) -> bool {
    let check = |selector| !selector::validate("", selector, Values::Checked).is_empty();
    workload::selector_of(job).is_some_and(check)
}

/// Jobs from before the new names need not have them.
fn labels_of(old: &Object) -> Labels {
    let labels = &TEMPLATE.get(old)["metadata"]["labels"];
    let [_, name] = labels::NAMES;
    let [_, uid] = labels::UIDS;
    let has_new = [name, uid].iter().all(|key| labels.get(key).is_some());
    if has_new { Labels::All } else { Labels::Old }
}

/// Those of an indexed job may change together with its parallelism.
fn completions(new: &Object, old: &Object) -> FieldErrors {
    const PATH: &str = "spec.completions";
    let number = |job: &Object, field: &str| job.int(&["spec", field]);
    let [before, after] = [old, new].map(|job| number(job, "completions"));
    if new.str(&["spec", "completionMode"]) != "Indexed" {
        let [new, old] = [new, old].map(|job| job.get(&["spec", "completions"]));
        return immutable(PATH, new, old);
    }
    match after {
        Some(completions) if before != after && number(new, "parallelism") != after => {
            let detail = "can only be modified in tandem with spec.parallelism";
            [FieldError::invalid(PATH, completions, detail)].into()
        }
        _ => FieldErrors::new(),
    }
}

/// Whether a job runs no pods for now, so that its template may change.
fn is_at_rest(job: &Object) -> bool {
    let conditions = cells::items(job, &["status", "conditions"]);
    let is_suspended = conditions.iter().any(|one| one["type"] == "Suspended" && one["status"] == "True");
    let never_began = job.str(&["status", "startTime"]).is_empty();
    let none_runs = job.int(&["status", "active"]).unwrap_or(0) == 0;
    suspends(job) && (never_began || is_suspended) && none_runs
}

fn suspends(job: &Object) -> bool {
    job.get(&["spec", "suspend"]) == Some(&Value::Bool(true))
}

fn template(new: &Object, old: &Object) -> FieldErrors {
    let after = TEMPLATE.get(new);
    let mut before = TEMPLATE.get(old).clone();
    let at_rest = is_at_rest(old);
    if at_rest {
        take_placement(&mut before, after);
        take_resources(&mut before, after);
    }
    let detail = "field is immutable";
    if at_rest {
        let (after, before) = (&after["spec"], &before["spec"]);
        let error =
            || FieldError::invalid("spec.template.spec", Value::Null, detail).showing(pod::go::spec(after));
        return (after != before).then(error).into_iter().collect();
    }
    let error =
        || FieldError::invalid("spec.template", Value::Null, detail).showing(pod::go::template(after));
    (after != &before).then(error).into_iter().collect()
}

/// Makes a template the same as another in what says where pods may run.
fn take_placement(template: &mut Value, from: &Value) {
    for path in [
        "/metadata/labels",
        "/metadata/annotations",
        "/spec/nodeSelector",
        "/spec/tolerations",
        "/spec/schedulingGates",
    ] {
        take(template, from, path);
    }
    let affinity = from.pointer("/spec/affinity/nodeAffinity").is_some()
        || template.pointer("/spec/affinity/nodeAffinity").is_some();
    if affinity {
        take(template, from, "/spec/affinity/nodeAffinity");
    }
    // One of which nothing is left counts as none.
    if template.pointer("/spec/affinity").is_some_and(|left| left.as_object().is_some_and(Map::is_empty))
        && from.pointer("/spec/affinity").is_none()
    {
        take(template, from, "/spec/affinity");
    }
}

/// Makes the member at a pointer the same as in another tree.
fn take(tree: &mut Value, from: &Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    let given = from.pointer(pointer).cloned();
    if given.is_some() && tree.pointer(parent).is_none() {
        let Some((above, name)) = parent.rsplit_once('/') else { return };
        if let Some(above) = tree.pointer_mut(above).and_then(Value::as_object_mut) {
            above.insert(name.to_owned(), Value::Object(Map::new()));
        }
    }
    let Some(map) = tree.pointer_mut(parent).and_then(Value::as_object_mut) else { return };
    match given {
        Some(value) => drop(map.insert(key.to_owned(), value)),
        None => drop(map.remove(key)),
    }
}

/// Makes the containers of a template, if they are the same, get what those of another get.
fn take_resources(template: &mut Value, from: &Value) {
    for list in ["containers", "initContainers"] {
        let pointer = format!("/spec/{list}");
        let from = from.pointer(&pointer).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let Some(containers) = template.pointer_mut(&pointer).and_then(Value::as_array_mut) else { continue };
        if containers.len() != from.len() {
            continue;
        }
        for (container, from) in containers.iter_mut().zip(from) {
            if container["name"] == from["name"] {
                take(container, from, "/resources");
            }
        }
    }
}
