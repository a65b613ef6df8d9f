//! Checks of a change to a pod: hardly anything may change once it exists.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Toleration;
use serde_json::{Map, Value};
use skiff_ordered::Ordered as _;

use super::validate::{active_deadline, toleration, validate_whole};
use super::validate_containers::image;
use crate::shared::defaults::list_mut;
use skiff_machinery::cells::{items, str_of};
use skiff_machinery::{FieldError, FieldErrors, Object};

const CHANGEABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,\
`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Checks the change of everything but the status.
pub(super) fn validate_update(new: &Object, old: &Object) -> FieldErrors {
    let mut errors = validate_whole(new);
    for list in ["containers", "initContainers"] {
        if items(new, &["spec", list]).len() != items(old, &["spec", list]).len() {
            let detail = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(format!("spec.{list}"), detail));
            return errors;
        }
        for (index, container) in items(new, &["spec", list]).iter().enumerate() {
            errors.extend(image(&format!("spec.{list}[{index}].image"), str_of(container, "image")));
        }
    }
    errors.extend(deadline_change(new, old));
    errors.extend(gate_change(new, old));
    let gated = !items(old, &["spec", "schedulingGates"]).is_empty();
    if gated {
        errors.extend(selector_change(new, old));
        errors.extend(affinity_change(new, old));
    }
    errors.extend(toleration_change(new, old));
    if fixed_part(new, old, gated) != fixed_part(old, old, gated) {
        let detail = format!("pod updates may not change fields other than {CHANGEABLE}\n");
        errors.push(FieldError::forbidden("spec", detail));
    }
    errors
}

fn deadline_change(new: &Object, old: &Object) -> FieldErrors {
    let path = "spec.activeDeadlineSeconds";
    let seconds = |pod: &Object| pod.get(&["spec", "activeDeadlineSeconds"]).and_then(Value::as_i64);
    match (seconds(old), seconds(new)) {
        (Some(_), None) => {
            let detail = "must not update from a positive integer to nil value";
            [FieldError::invalid(path, Value::Null, detail)].into()
        }
        (Some(before), Some(after)) if after > before => {
            [FieldError::invalid(path, after, "must be less than or equal to previous value")].into()
        }
        (_, Some(after)) => active_deadline(path, after),
        (None, None) => FieldErrors::new(),
    }
}

fn gate_change(new: &Object, old: &Object) -> FieldErrors {
    let names = |pod| items(pod, &["spec", "schedulingGates"]).iter().map(|gate| str_of(gate, "name"));
    let before: BTreeSet<&str> = names(old).to_set();
    let added = names(new).enumerate().filter(|(_, gate)| !before.contains(gate));
    let refuse = |(index, gate)| {
        let detail = format!("only deletion is allowed, but found new scheduling gate '{gate}'");
        FieldError::forbidden(format!("spec.schedulingGates[{index}].name"), detail)
    };
    added.map(refuse).collect()
}

const NODE_AFFINITY: &str = "spec.affinity.nodeAffinity";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// While a pod is gated, its node selector may be tightened (KEP-3838).
fn selector_change(new: &Object, old: &Object) -> FieldErrors {
    let path = &["spec", "nodeSelector"];
    let wanted = new.get(path);
    let before = old.get(path).and_then(Value::as_object).into_iter().flatten();
    let kept = before.into_iter().all(|(key, value)| wanted.and_then(|map| map.get(key)) == Some(value));
    let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
    let refuse = || FieldError::invalid("spec.nodeSelector", wanted.cloned().unwrap_or_default(), detail);
    (!kept).then(refuse).into_iter().collect()
}

/// The same of its required node affinity: terms stay, and expressions may be added to each.
fn affinity_change(new: &Object, old: &Object) -> FieldErrors {
    let path = &["spec", "affinity", "nodeAffinity", REQUIRED, "nodeSelectorTerms"];
    let (before, after) = (items(old, path), items(new, path));
    let at = format!("{NODE_AFFINITY}.{REQUIRED}.nodeSelectorTerms");
    if !before.is_empty() && before.len() != after.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return [FieldError::invalid(at, after.to_vec(), detail)].into();
    }
    let pairs = before.iter().zip(after).enumerate();
    let changed = pairs.filter(|(_, (before, after))| !only_adds(after, before));
    let detail = "only additions are allowed (no mutations or deletions)";
    changed
        .map(|(index, (_, term))| FieldError::invalid(format!("{at}[{index}]"), term.clone(), detail))
        .collect()
}

/// Whether a term holds all of another's expressions, in their order and before its own.
fn only_adds(new: &Value, old: &Value) -> bool {
    let list = |term: &Value, field: &str| term[field].as_array().cloned().unwrap_or_default();
    let fields = ["matchExpressions", "matchFields"];
    let empty = |term: &Value| fields.iter().all(|field| list(term, field).is_empty());
    if empty(old) {
        // A term without expressions matches nothing; with some it would match more.
        return empty(new);
    }
    fields.iter().all(|field| list(new, field).starts_with(&list(old, field)))
}

/// Tolerations may be added; of an existing one only the seconds may change.
fn toleration_change(new: &Object, old: &Object) -> FieldErrors {
    let list = |pod: &Object| -> Vec<Toleration> {
        let items = items(pod, &["spec", "tolerations"]).iter();
        items.filter_map(|value| serde_json::from_value(value.clone()).ok()).collect()
    };
    let timeless = |toleration: &Toleration| Toleration { toleration_seconds: None, ..toleration.clone() };
    let after = list(new);
    let kept = list(old).iter().all(|old| after.iter().any(|new| timeless(new) == timeless(old)));
    let mut errors = FieldErrors::new();
    if !kept {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden("spec.tolerations", detail));
    }
    for (index, one) in after.iter().enumerate() {
        errors.extend(toleration(&format!("spec.tolerations[{index}]"), one));
    }
    errors
}

/// The spec of `pod` with everything that may change taken from `old`; more may while it is gated.
fn fixed_part(pod: &Object, old: &Object, gated: bool) -> Map<String, Value> {
    let spec = |pod: &Object| pod.get(&["spec"]).and_then(Value::as_object).cloned().unwrap_or_default();
    let mut fixed = spec(pod);
    if gated {
        fixed.remove("nodeSelector");
        if let Some(affinity) = fixed.get_mut("affinity").and_then(Value::as_object_mut) {
            affinity.remove("nodeAffinity");
        }
    }
    fixed.retain(|_, value| !is_empty(value));
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        fixed.remove(field);
    }
    for list in ["containers", "initContainers"] {
        for container in list_mut(&mut fixed, list) {
            container.remove("image");
            container.retain(|_, value| !is_empty(value));
        }
    }
    let seconds = |pod: &Object| pod.get(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
    if seconds(old).is_some_and(|before| before < 0) && seconds(pod) == Some(1) {
        fixed.insert("terminationGracePeriodSeconds".to_owned(), seconds(old).into());
    }
    fixed
}

/// Whether a value means the same as the field's absence.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) => false,
    }
}
