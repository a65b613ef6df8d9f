//! Checks of the spec of a persistent volume, which attachments may have, too.

use k8s_openapi::api::core::v1::NodeSelector;
use serde_json::Value;
use skiff_machinery::cells::str_of;
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors};

use super::{pod, volume_sources, volumes};
use crate::shared::check::one_of_optional;

/// Where a spec is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'n> {
    /// In the volume of this name. Whether values in its node affinity are checked.
    Volume(&'n str, pod::Values),
    /// In an attachment, of a volume that is in a pod.
    Attachment,
}

/// Checks a spec at `path`.
pub(crate) fn check(path: &str, spec: &Value, place: Place<'_>) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let name = if let Place::Volume(name, _) = place { name } else { "" };
    let mut errors = if place == Place::Attachment { not_inline(path, spec) } else { FieldErrors::new() };
    let modes = spec.get("accessModes").and_then(Value::as_array).into_iter().flatten();
    let modes: Vec<&str> = modes.filter_map(Value::as_str).collect();
    if modes.is_empty() {
        errors.push(FieldError::required(at("accessModes"), ""));
    }
    errors.extend(volumes::check_modes(&at("accessModes"), &modes));
    let mut is_placed = false;
    if let Place::Volume(_, values) = place {
        errors.extend(capacity(&at("capacity"), &spec["capacity"]));
        let policy = Some(str_of(spec, "persistentVolumeReclaimPolicy")).filter(|policy| !policy.is_empty());
        let policies = ["Delete", "Recycle", "Retain"];
        errors.extend(one_of_optional(&at("persistentVolumeReclaimPolicy"), policy, &policies));
        if spec["nodeAffinity"].is_object() {
            is_placed = true;
            errors.extend(node_affinity(&at("nodeAffinity"), &spec["nodeAffinity"], values));
        }
    } else {
        errors.extend(inline_rest(path, spec));
    }
    errors.extend(volume_sources::check(path, spec, name, is_placed));
    if let Place::Volume(..) = place {
        let class = str_of(spec, "storageClassName");
        if !class.is_empty() {
            errors.extend(Form::Subdomain.check(&at("storageClassName"), class));
        }
        errors.extend(volumes::check_kind(&at("volumeMode"), &spec["volumeMode"]));
    } else {
        errors.extend(inline_kind(path, spec));
    }
    if place != Place::Attachment {
        errors.extend(attributes(path, spec));
    }
    errors
}

/// How much it holds: of storage, and nothing else.
fn capacity(path: &str, capacity: &Value) -> FieldErrors {
    let map = capacity.as_object().filter(|map| !map.is_empty());
    let mut errors = FieldErrors::new();
    if map.is_none() {
        errors.push(FieldError::required(path, ""));
    }
    if map.is_none_or(|map| map.len() > 1 || !map.contains_key("storage")) {
        errors.push(FieldError::not_supported(path, capacity.clone(), &["storage"]));
    }
    for (name, amount) in map.into_iter().flatten() {
        let (at, Some(amount)) = (format!("{path}[{name}]"), volumes::parsed(amount)) else { continue };
        if amount.nanos() < 0 {
            errors.push(FieldError::invalid(
                at.as_str(),
                amount.units(),
                "must be a valid resource quantity",
            ));
        }
        errors.extend(volumes::positive(&at, amount));
    }
    errors
}

fn node_affinity(path: &str, affinity: &Value, values: pod::Values) -> FieldErrors {
    let at = format!("{path}.required");
    match affinity.get("required").filter(|required| required.is_object()) {
        None => [FieldError::required(at, "must specify required node constraints")].into(),
        Some(required) => {
            let selector: NodeSelector = serde_json::from_value(required.clone()).unwrap_or_default();
            pod::node_selector(&at, &selector, values)
        }
    }
}

/// A class of attributes is for volumes of drivers.
fn attributes(path: &str, spec: &Value) -> FieldErrors {
    let at = format!("{path}.volumeAttributesClassName");
    let mut errors = match spec["volumeAttributesClassName"].as_str() {
        None => return FieldErrors::new(),
        Some("") => [FieldError::required(at, "an empty string is disallowed")].into(),
        Some(class) => Form::Subdomain.check(&at, class),
    };
    if !spec["csi"].is_object() {
        let detail = "has to be specified when using volumeAttributesClassName";
        errors.push(FieldError::required(format!("{path}.csi"), detail));
    }
    errors
}

const INLINE: &str = "in the context of inline volumes";

/// What an inline volume has not: it is a driver's, and nobody else's.
fn not_inline(path: &str, spec: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let detail = format!("may not be specified {INLINE}");
    let is_given =
        |field: &str| spec[field].as_object().is_some_and(|map| field == "claimRef" || !map.is_empty());
    for field in ["claimRef", "capacity"].into_iter().filter(|field| is_given(field)) {
        errors.push(FieldError::forbidden(format!("{path}.{field}"), detail.as_str()));
    }
    if !spec["csi"].is_object() {
        errors.push(FieldError::required(format!("{path}.csi"), format!("has to be specified {INLINE}")));
    }
    errors
}

fn inline_rest(path: &str, spec: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if !matches!(str_of(spec, "persistentVolumeReclaimPolicy"), "" | "Retain") {
        let at = format!("{path}.persistentVolumeReclaimPolicy");
        errors.push(FieldError::forbidden(at, format!("may only be Retain {INLINE}")));
    }
    if spec["nodeAffinity"].is_object() {
        let at = format!("{path}.nodeAffinity");
        errors.push(FieldError::forbidden(at, format!("may not be specified {INLINE}")));
    }
    errors
}

fn inline_kind(path: &str, spec: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if !str_of(spec, "storageClassName").is_empty() {
        let at = format!("{path}.storageClassName");
        errors.push(FieldError::forbidden(at, format!("may not be specified {INLINE}")));
    }
    if !matches!(str_of(spec, "volumeMode"), "" | "Filesystem") {
        let detail = format!("may not specify volumeMode other than Filesystem {INLINE}");
        errors.push(FieldError::forbidden(format!("{path}.volumeMode"), detail));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::texts;

    #[test]
    fn volumes_hold_storage_somewhere() {
        let check = |change: &str, value: Value, expected: &[&str]| {
            let mut spec = json!({
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/d"},
            });
            spec[change] = value;
            assert_eq!(texts(super::check("s", &spec, Place::Volume("v", pod::Values::Checked))), expected);
        };
        check("volumeMode", json!("Block"), &[]);
        check("accessModes", json!([]), &["s.accessModes: Required value"]);
        check(
            "capacity",
            json!({"cpu": "1"}),
            &[r#"s.capacity: Unsupported value: {"cpu":"1"}: supported values: "storage""#],
        );
        check(
            "capacity",
            json!({"storage": "0"}),
            &[r#"s.capacity[storage]: Invalid value: "0": must be greater than zero"#],
        );
        check("hostPath", json!(null), &["s: Required value: must specify a volume type"]);
        check(
            "nodeAffinity",
            json!({}),
            &["s.nodeAffinity.required: Required value: must specify required node constraints"],
        );
        check(
            "volumeAttributesClassName",
            json!("a"),
            &["s.csi: Required value: has to be specified when using volumeAttributesClassName"],
        );
        check(
            "local",
            json!({"path": "/l"}),
            &["s.local: Forbidden: may not specify more than 1 volume type"],
        );
    }

    #[test]
    fn inline_volumes_are_drivers() {
        let spec = json!({
            "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/d"}, "claimRef": {}, "volumeMode": "Block",
            "nodeAffinity": {}, "storageClassName": "c", "persistentVolumeReclaimPolicy": "Delete",
        });
        let fields: Vec<String> =
            check("s", &spec, Place::Attachment).into_iter().map(|error| error.field).collect();
        assert_eq!(
            fields,
            [
                "s.claimRef",
                "s.csi",
                "s.persistentVolumeReclaimPolicy",
                "s.nodeAffinity",
                "s.storageClassName",
                "s.volumeMode",
            ]
        );
    }
}
