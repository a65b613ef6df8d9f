//! PersistentVolumeClaim: storage that somebody asks for.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{self, age, age_column, name_column, strings, text, wide};
use skiff_machinery::names::Form;
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Strategy, Subresource,
};
use skiff_schema::Schema;

use super::claim_spec::{self, Strict};
use super::volumes;
use crate::groups::CORE;
use crate::row::stored;
use crate::shared::check::immutable;
use crate::shared::defaults::{fill_text, object_mut};
use crate::shared::diff;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Status", "Whether it is bound."),
            text("Volume", "The volume that it is bound to."),
            text("Capacity", "How much that holds."),
            text("Access Modes", "How it may be mounted."),
            text("StorageClass", "The class that it asks for."),
            text("VolumeAttributesClass", "The class of the attributes that it asks for."),
            age_column(),
            wide("VolumeMode", "Whether it is a file system or a block device."),
        ],
        print: Printer::Fixed(print),
        ..stored(schema, CORE, "io.k8s.api.core.v1.PersistentVolumeClaim", Scope::Namespaced, ClaimStrategy)
            .short(&["pvc"])
            .below(&[Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let volume = object.str(&["spec", "volumeName"]);
    let (capacity, modes) = if volume.is_empty() {
        (String::new(), String::new())
    } else {
        let capacity = volumes::amount(object, &["status", "capacity", "storage"]);
        (capacity, volumes::modes(&strings(object, &["status", "accessModes"])))
    };
    cells::row([
        object.name().into(),
        volumes::phase(object).into(),
        volume.into(),
        capacity.into(),
        modes.into(),
        volumes::class(object).into(),
        volumes::or_unset(object, &["spec", "volumeAttributesClassName"]).into(),
        age(object, now),
        volumes::or_unset(object, &["spec", "volumeMode"]).into(),
    ])
}

/// What is special about claims.
struct ClaimStrategy;

impl Strategy for ClaimStrategy {
    fn answers_deleted(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Object) {
        fill_text(object_mut(object.as_map_mut(), "status"), "phase", "Pending");
        claim_spec::default(object_mut(object.as_map_mut(), "spec"));
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        object.set(&["status"], json!({"phase": "Pending"}));
        claim_spec::settle_sources(object_mut(object.as_map_mut(), "spec"), None);
    }

    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        claim_spec::settle_sources(object_mut(new.as_map_mut(), "spec"), old.get(&["spec"]));
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        claim_spec::check("spec", spec(object), Strict::default())
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = claim_spec::check("spec", spec(new), Strict::after(spec(old)));
        errors.extend(spec_change(new, old));
        errors.extend(shrinking(new, old));
        errors.extend(immutable("volumeMode", spec(new).get("volumeMode"), spec(old).get("volumeMode")));
        errors.extend(attributes_change(new, old));
        errors
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, _: &Object) -> FieldErrors {
        status(new)
    }

    fn warnings(&self, new: &Object, _: Option<&Object>) -> Vec<String> {
        let mut warnings = Vec::new();
        if new.annotations().contains_key(volumes::CLASS) {
            let text = "deprecated since v1.8; use \"storageClassName\" attribute instead";
            warnings.push(format!("metadata.annotations[{}]: {text}", volumes::CLASS));
        }
        warnings.extend(claim_spec::warnings("spec", spec(new)));
        warnings
    }
}

fn spec(object: &Object) -> &Value {
    object.get(&["spec"]).unwrap_or(&Value::Null)
}

/// What of a spec may change: the volume and the class once, and of a bound claim the amount and the class of attributes.
fn spec_change(new: &Object, old: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let (mut wanted, mut before) = (spec(new).clone(), spec(old).clone());
    let take = |to: &mut Value, field: &str, from: &Value| {
        if let Some(map) = to.as_object_mut() {
            match from.get(field) {
                Some(value) => drop(map.insert(field.to_owned(), value.clone())),
                None => drop(map.remove(field)),
            }
        }
    };
    if old.str(&["spec", "volumeName"]).is_empty() {
        take(&mut before, "volumeName", &wanted);
    }
    let annotation =
        |object: &Object| object.annotations().get(volumes::CLASS).map(|class| (*class).to_owned());
    let (annotated, now) = (annotation(old), annotation(new));
    let class = |object: &Object| spec(object)["storageClassName"].as_str().map(str::to_owned);
    let (class_before, class_now) = (class(old), class(new));
    let is_given_now = class_before.is_none() && class_now.is_some();
    let is_moved = is_given_now
        && annotated == class_now
        && now.as_ref().is_none_or(|now| Some(now) == annotated.as_ref());
    if !is_moved && annotated.clone().unwrap_or_default() != now.clone().unwrap_or_default() {
        let path = format!("metadata.annotations.{}", volumes::CLASS);
        errors.push(FieldError::invalid(path, now.unwrap_or_default(), "field is immutable"));
    }
    if is_moved || (is_given_now && annotated.is_none_or(|annotated| Some(annotated) == class_now)) {
        take(&mut wanted, "storageClassName", &before);
    }
    if new.str(&["status", "phase"]) == "Bound" {
        take(&mut wanted, "volumeAttributesClassName", &before);
        if let Some(requests) = wanted.pointer_mut("/resources/requests") {
            take(requests, "storage", &before["resources"]["requests"]);
        }
    }
    if wanted != before {
        let told = diff::of_json(&claim_spec::shown(&before), &claim_spec::shown(&wanted));
        let detail = format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{told}"
        );
        errors.push(FieldError::forbidden("spec", detail));
    }
    errors
}

/// A claim may be made smaller again, but not as small as what it has.
fn shrinking(new: &Object, old: &Object) -> FieldErrors {
    let amount = |object: &Object, path: &[&str]| {
        object.get(path).and_then(volumes::parsed).map_or(0, |amount| amount.nanos())
    };
    const WANTED: &[&str] = &["spec", "resources", "requests", "storage"];
    let (now, before) = (amount(new, WANTED), amount(old, WANTED));
    if now < before && now <= amount(old, &["status", "capacity", "storage"]) {
        let detail = "field can not be less than status.capacity";
        return [FieldError::forbidden("spec.resources.requests.storage", detail)].into();
    }
    FieldErrors::new()
}

/// A class of attributes that was applied is not taken away.
fn attributes_change(new: &Object, old: &Object) -> FieldErrors {
    let (now, before) = (&spec(new)["volumeAttributesClassName"], &spec(old)["volumeAttributesClassName"]);
    let current =
        old.get(&["status", "currentVolumeAttributesClassName"]).is_some_and(|class| !class.is_null());
    let what = match now.as_str() {
        _ if now == before || !current => return FieldErrors::new(),
        None => "nil",
        Some("") => "empty string",
        Some(_) => return FieldErrors::new(),
    };
    let detail =
        format!("update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil");
    [FieldError::forbidden("spec.volumeAttributesClassName", detail)].into()
}

/// How far the resizing of a claim can be.
const RESIZING: [&str; 5] = [
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

fn status(object: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let map = |field: &str| object.get(&["status", field]).and_then(Value::as_object).into_iter().flatten();
    for (name, amount) in map("capacity") {
        errors.extend(basic(&format!("status.capacity[{name}]"), amount));
    }
    const STATUSES: &str = "status.allocatedResourceStatuses";
    for (name, state) in map("allocatedResourceStatuses") {
        errors.extend(resource(STATUSES, name));
        if !state.as_str().is_some_and(|state| RESIZING.contains(&state)) {
            let mut known = RESIZING;
            known.sort_unstable();
            errors.push(FieldError::not_supported(STATUSES, name.as_str(), &known));
        }
    }
    for (name, amount) in map("allocatedResources") {
        let at = format!("status.allocatedResources[{name}]");
        let mut wrong = resource("status.allocatedResources", name);
        if wrong.is_empty() {
            wrong = basic(&at, amount);
        }
        errors.extend(wrong);
    }
    errors
}

fn basic(path: &str, amount: &Value) -> FieldErrors {
    match volumes::parsed(amount).map(|amount| amount.units()) {
        Some(units) if units < 0 => {
            [FieldError::invalid(path, units, "must be a valid resource quantity")].into()
        }
        _ => FieldErrors::new(),
    }
}

/// The name of what is resized: of Kubernetes' own resources that is storage alone.
fn resource(path: &str, name: &str) -> FieldErrors {
    let errors = Form::QualifiedName.check(path, name);
    let is_native = !name.contains('/') || name.contains("kubernetes.io/");
    if errors.is_empty() && is_native && name != "storage" {
        return [FieldError::not_supported(path, name, &["storage"])].into();
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    fn claim(change: impl FnOnce(&mut Object)) -> Object {
        let mut claim = object(json!({"metadata": {"name": "c"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}},
        }}));
        change(&mut claim);
        ClaimStrategy.default(&mut claim);
        claim
    }

    fn changed(new: &Object, old: &Object) -> Vec<String> {
        texts(with_context(|cx| ClaimStrategy.validate_update(cx, new, old)))
    }

    #[test]
    fn the_volume_is_given_once_and_the_amount_of_a_bound_claim_grows() {
        const AMOUNT: &[&str] = &["spec", "resources", "requests", "storage"];
        let volume = |name: &'static str| claim(move |claim| claim.set(&["spec", "volumeName"], name));
        assert_eq!(changed(&volume("v"), &claim(|_| ())), [""; 0]);
        assert_eq!(changed(&volume("w"), &volume("v")).len(), 1);
        let bound = |amount: &'static str| {
            claim(move |claim| {
                claim.set(AMOUNT, amount);
                claim.set(&["status"], json!({"phase": "Bound", "capacity": {"storage": "1Gi"}}));
            })
        };
        assert_eq!(changed(&bound("3Gi"), &bound("2Gi")), [""; 0]);
        assert_eq!(changed(&bound("1536Mi"), &bound("2Gi")), [""; 0]);
        assert_eq!(
            changed(&bound("1Gi"), &bound("2Gi")),
            ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
        );
        let pending = claim(|claim| claim.set(AMOUNT, "3Gi"));
        assert_eq!(
            changed(&pending, &claim(|_| ())),
            [concat!(
                "spec: Forbidden: spec is immutable after creation except resources.requests and ",
                "volumeAttributesClassName for bound claims\n@@ -6,7 +6,7 @@\n  \"Resources\": {\n   \"Limits\": null,\n",
                "   \"Requests\": {\n-   \"storage\": \"2Gi\"\n+   \"storage\": \"3Gi\"\n   }\n  },\n  \"VolumeName\": \"\",\n",
            )]
        );
    }

    #[test]
    fn the_class_is_given_once() {
        let of = |annotation: Option<&'static str>, class: Option<&'static str>| {
            claim(move |claim| {
                annotation.into_iter().for_each(|class| {
                    claim.set(&["metadata", "annotations"], json!({volumes::CLASS: class}))
                });
                class.into_iter().for_each(|class| claim.set(&["spec", "storageClassName"], class));
            })
        };
        let check = |new: (Option<&'static str>, Option<&'static str>),
                     old: (Option<&'static str>, Option<&'static str>),
                     count: usize| {
            assert_eq!(changed(&of(new.0, new.1), &of(old.0, old.1)).len(), count, "{old:?} {new:?}");
        };
        check((None, Some("a")), (None, None), 0);
        check((None, Some("a")), (Some("a"), None), 0);
        check((Some("a"), Some("a")), (Some("a"), None), 0);
        check((None, Some("b")), (Some("a"), None), 2);
        check((None, Some("b")), (None, Some("a")), 1);
        check((None, None), (None, Some("a")), 1);
    }

    #[test]
    fn a_status_tells_of_storage() {
        let check = |value: Value, expected: &[&str]| {
            assert_eq!(texts(status(&object(json!({ "status": value })))), expected);
        };
        check(
            json!({"capacity": {"storage": "1Gi"}, "allocatedResourceStatuses": {"storage": "NodeResizePending"}}),
            &[],
        );
        check(
            json!({"allocatedResources": {"cpu": "1"}}),
            &[r#"status.allocatedResources: Unsupported value: "cpu": supported values: "storage""#],
        );
    }
}
