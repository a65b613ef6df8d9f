//! PersistentVolume: storage that lasts.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NodeSelector;
use serde_json::{Value, json};
use skiff_machinery::cells::{self, age, age_column, items, name_column, strings, text, wide};
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy,
    Subresource,
};
use skiff_schema::Schema;

use super::volume_spec::Place;
use super::{pod, volume_sources, volume_spec, volumes};
use crate::groups::CORE;
use crate::row::stored;
use crate::shared::check::immutable;
use crate::shared::defaults::{existing_mut, fill, fill_text, object_mut};
use crate::shared::{diff, go, node_labels};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Capacity", "How much it holds."),
            text("Access Modes", "How it may be mounted."),
            text("Reclaim Policy", "What becomes of it when its claim has left it."),
            text("Status", "Whether it is free, bound or left."),
            text("Claim", "The claim that it is bound to."),
            text("StorageClass", "The class that it is of."),
            text("VolumeAttributesClass", "The class of its attributes."),
            text("Reason", "Why it is in its state."),
            age_column(),
            wide("VolumeMode", "Whether it is a file system or a block device."),
        ],
        print: Printer::Fixed(print),
        ..stored(schema, CORE, "io.k8s.api.core.v1.PersistentVolume", Scope::Cluster, VolumeStrategy)
            .short(&["pv"])
            .below(&[Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let claim = |field: &str| object.str(&["spec", "claimRef", field]);
    let is_claimed = object.get(&["spec", "claimRef"]).is_some_and(Value::is_object);
    cells::row([
        object.name().into(),
        volumes::amount(object, &["spec", "capacity", "storage"]).into(),
        volumes::modes(&strings(object, &["spec", "accessModes"])).into(),
        object.str(&["spec", "persistentVolumeReclaimPolicy"]).into(),
        volumes::phase(object).into(),
        if is_claimed { format!("{}/{}", claim("namespace"), claim("name")).into() } else { "".into() },
        volumes::class(object).into(),
        volumes::or_unset(object, &["spec", "volumeAttributesClassName"]).into(),
        object.str(&["status", "reason"]).into(),
        age(object, now),
        volumes::or_unset(object, &["spec", "volumeMode"]).into(),
    ])
}

/// Annotations that were fields once, and what became of them.
const ANNOTATIONS: [(&str, &str); 2] = [
    (volumes::CLASS, "deprecated since v1.8; use \"storageClassName\" attribute instead"),
    (MOUNT_OPTIONS, "deprecated since v1.31; use \"mountOptions\" attribute instead"),
];
const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";

/// Sources that nothing provides any more, as they are told.
const GONE: [(&str, &str, &str); 6] = [
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Sources that are mounted with options.
const MOUNTED: [&str; 13] = [
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "nfs",
    "rbd",
    "quobyte",
    "iscsi",
    "cinder",
    "cephfs",
    "azureFile",
    "vsphereVolume",
    "azureDisk",
    "photonPersistentDisk",
];

/// What is special about persistent volumes.
struct VolumeStrategy;

impl Strategy for VolumeStrategy {
    fn answers_deleted(&self) -> bool {
        true
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::ObjectTwice
    }

    fn default(&self, object: &mut Object) {
        fill_text(object_mut(object.as_map_mut(), "status"), "phase", "Pending");
        let spec = object_mut(object.as_map_mut(), "spec");
        fill_text(spec, "persistentVolumeReclaimPolicy", "Retain");
        fill(spec, "volumeMode", "Filesystem");
        if let Some(host) = existing_mut(spec, "hostPath") {
            fill(host, "type", "");
        }
        if let Some(target) = existing_mut(spec, "iscsi") {
            fill_text(target, "iscsiInterface", "default");
        }
    }

    fn prepare_create(&self, cx: Context<'_>, object: &mut Object) {
        object.set(
            &["status"],
            json!({"phase": "Pending", "lastPhaseTransitionTime": format!("{:.0}", cx.now)}),
        );
    }

    /// When the phase changed is noted, unless its writer notes it.
    fn prepare_status(&self, cx: Context<'_>, new: &mut Object, old: &Object) {
        const TIME: &[&str] = &["status", "lastPhaseTransitionTime"];
        let phase = |object: &Object| object.str(&["status", "phase"]).to_owned();
        let (given, before) = (new.str(TIME).to_owned(), old.str(TIME).to_owned());
        let is_same = phase(new) == phase(old);
        if is_same && given.is_empty() && !before.is_empty() {
            new.set(TIME, before);
        } else if !is_same && (given.is_empty() || given == before) {
            new.set(TIME, format!("{:.0}", cx.now));
        }
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        check(object, pod::Values::Checked)
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        // Kubernetes checks the whole of it twice, and tells of what is wrong as often.
        let mut errors = check(new, values_after(old));
        errors.extend(check(new, values_after(old)));
        errors.extend(source_change(spec(new), spec(old)));
        errors.extend(immutable("volumeMode", spec(new).get("volumeMode"), spec(old).get("volumeMode")));
        errors.extend(affinity_change(&spec(new)["nodeAffinity"], &spec(old)["nodeAffinity"]));
        let class = |object| spec(object)["volumeAttributesClassName"].is_null();
        if class(new) && !class(old) {
            let detail = "update from non-nil value to nil is forbidden";
            errors.push(FieldError::forbidden("spec.volumeAttributesClassName", detail));
        }
        errors
    }

    fn warnings(&self, new: &Object, _: Option<&Object>) -> Vec<String> {
        let annotations = new.annotations();
        let used = ANNOTATIONS.iter().filter(|(key, _)| annotations.contains_key(key));
        let mut warnings: Vec<String> =
            used.map(|(key, text)| format!("metadata.annotations[{key}]: {text}")).collect();
        if new.str(&["spec", "persistentVolumeReclaimPolicy"]) == "Recycle" {
            warnings.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".to_owned());
        }
        for (index, term) in terms(new).iter().enumerate() {
            let at = format!("spec.nodeAffinity.required.nodeSelectorTerms[{index}]");
            warnings.extend(node_labels::in_expressions(&at, term));
        }
        let gone = GONE.iter().filter(|(field, ..)| spec(new)[*field].is_object());
        warnings.extend(gone.map(|(_, told, text)| format!("spec.{told}: {text}")));
        warnings
    }
}

fn spec(object: &Object) -> &Value {
    object.get(&["spec"]).unwrap_or(&Value::Null)
}

fn terms(object: &Object) -> &[Value] {
    items(object, &["spec", "nodeAffinity", "required", "nodeSelectorTerms"])
}

fn check(object: &Object, values: pod::Values) -> FieldErrors {
    let place = Place::Volume(object.name(), values);
    let mut errors = volume_spec::check("spec", spec(object), place);
    let has_options = object.annotations().contains_key(MOUNT_OPTIONS);
    if has_options && !MOUNTED.iter().any(|field| spec(object)[*field].is_object()) {
        let detail = "may not specify mount options for this volume type";
        errors.push(FieldError::forbidden(format!("metadata.annotations.{MOUNT_OPTIONS}"), detail));
    }
    errors
}

/// Values that were wrong before may stay wrong.
fn values_after(old: &Object) -> pod::Values {
    let required = old.get(&["spec", "nodeAffinity", "required"]).cloned().unwrap_or_default();
    let selector: NodeSelector = serde_json::from_value(required).unwrap_or_default();
    let wrong = |values| pod::node_selector("", &selector, values).len();
    if wrong(pod::Values::Checked) > wrong(pod::Values::Free) {
        pod::Values::Free
    } else {
        pod::Values::Checked
    }
}

/// What a volume is made of stays; the secret for expanding it may be added.
fn source_change(new: &Value, old: &Value) -> FieldErrors {
    const SECRET: &str = "controllerExpandSecretRef";
    let is_added = old["csi"].is_object() && old["csi"][SECRET].is_null() && !new["csi"][SECRET].is_null();
    let mut new = new.clone();
    if is_added && let Some(csi) = new["csi"].as_object_mut() {
        csi.remove(SECRET);
    }
    let (before, after) = (volume_sources::shown(old), volume_sources::shown(&new));
    if before == after {
        return FieldErrors::new();
    }
    let told = diff::of_json(&before, &after);
    let detail = format!("spec.persistentvolumesource is immutable after creation\n{told}");
    [FieldError::forbidden("spec.persistentvolumesource", detail)].into()
}

/// Where a volume is stays once it is said, but labels of old may become those of today.
fn affinity_change(new: &Value, old: &Value) -> FieldErrors {
    if old.is_null() || *new == *old || *new == renewed(old, new) {
        return FieldErrors::new();
    }
    let detail = "field is immutable, except for updating from beta label to GA";
    [FieldError::invalid("nodeAffinity", Value::Null, detail).showing(shown_affinity(new))].into()
}

/// The affinity with today's labels where another has them.
fn renewed(old: &Value, new: &Value) -> Value {
    const RENAMED: [(&str, &str); 5] = [
        ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
        ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
        ("beta.kubernetes.io/os", "kubernetes.io/os"),
        ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
        ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
    ];
    let mut out = old.clone();
    let mut terms = out.pointer_mut("/required/nodeSelectorTerms").and_then(Value::as_array_mut);
    for (index, term) in terms.iter_mut().flat_map(|terms| terms.iter_mut()).enumerate() {
        for field in ["matchExpressions", "matchFields"] {
            let list = term.get_mut(field).and_then(Value::as_array_mut);
            for (place, requirement) in list.into_iter().flatten().enumerate() {
                let key = &new["required"]["nodeSelectorTerms"][index][field][place]["key"];
                if RENAMED.iter().any(|(old, now)| requirement["key"] == *old && *key == *now) {
                    requirement["key"] = key.clone();
                }
            }
        }
    }
    out
}

/// An affinity as Kubernetes' own type has it.
fn shown_affinity(affinity: &Value) -> String {
    let requirement = |one: &Value| {
        go::object(&[
            ("Key", go::text(one, "key")),
            ("Operator", go::text(one, "operator")),
            ("Values", go::plain(one, "values")),
        ])
    };
    let term = |term: &Value| {
        go::object(&[
            ("MatchExpressions", go::list(term, "matchExpressions", requirement)),
            ("MatchFields", go::list(term, "matchFields", requirement)),
        ])
    };
    let selector =
        |one: &Value| go::object(&[("NodeSelectorTerms", go::list(one, "nodeSelectorTerms", term))]);
    if affinity.is_null() {
        return "null".to_owned();
    }
    go::object(&[("Required", go::optional(affinity, "required", selector))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    fn volume(spec: Value) -> Object {
        let mut object = object(json!({"metadata": {"name": "v"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
        }}));
        for (field, value) in spec.as_object().unwrap() {
            object.set(&["spec", field], value.clone());
        }
        VolumeStrategy.default(&mut object);
        object
    }

    fn changed(new: Value, old: Value) -> Vec<String> {
        texts(with_context(|cx| VolumeStrategy.validate_update(cx, &volume(new), &volume(old))))
    }

    #[test]
    fn what_a_volume_is_made_of_stays() {
        let path = |path: &str| json!({"hostPath": {"path": path}});
        assert_eq!(changed(path("/a"), path("/a")), [""; 0]);
        let errors = changed(path("/b"), path("/a"));
        assert!(errors[0].starts_with("spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n@@ "), "{errors:?}");
        assert!(errors[0].contains("-  \"Path\": \"/a\",\n+  \"Path\": \"/b\",\n"), "{errors:?}");
        let csi = |secret: Value| json!({"csi": {"driver": "d", "volumeHandle": "h", "controllerExpandSecretRef": secret}});
        assert_eq!(changed(csi(json!({"name": "n", "namespace": "s"})), csi(Value::Null)), [""; 0]);
    }

    #[test]
    fn where_a_volume_is_stays_but_for_the_names_of_labels() {
        let at = |key: &str| {
            let term = json!({"matchExpressions": [{"key": key, "operator": "In", "values": ["a"]}]});
            json!({"hostPath": {"path": "/a"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}})
        };
        let check =
            |new: &str, old: &str, count: usize| assert_eq!(changed(at(new), at(old)).len(), count, "{new}");
        check("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone", 0);
        check("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone", 1);
        check("a", "b", 1);
    }

    #[test]
    fn the_time_of_a_change_of_the_phase_is_noted() {
        let check = |phase: &str, time: &str, expected: &str| {
            let mut new = object(json!({"status": {"phase": phase, "lastPhaseTransitionTime": time}}));
            let old = object(
                json!({"status": {"phase": "Pending", "lastPhaseTransitionTime": "2020-01-01T00:00:00Z"}}),
            );
            with_context(|cx| VolumeStrategy.prepare_status(cx, &mut new, &old));
            assert_eq!(new.str(&["status", "lastPhaseTransitionTime"]), expected, "{phase} {time}");
        };
        check("Pending", "", "2020-01-01T00:00:00Z");
        check("Bound", "", "1970-01-01T00:00:00Z");
        check("Bound", "2020-01-01T00:00:00Z", "1970-01-01T00:00:00Z");
        check("Bound", "2021-01-01T00:00:00Z", "2021-01-01T00:00:00Z");
    }

    #[test]
    fn what_is_of_old_is_warned_of() {
        let mut old = volume(
            json!({"rbd": {"monitors": ["a"], "image": "i"}, "persistentVolumeReclaimPolicy": "Recycle"}),
        );
        old.set(&["metadata", "annotations"], json!({volumes::CLASS: "c"}));
        let warnings = VolumeStrategy.warnings(&old, None);
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert_eq!(warnings[2], "spec.rbd: deprecated in v1.28, non-functional in v1.31+");
    }
}
