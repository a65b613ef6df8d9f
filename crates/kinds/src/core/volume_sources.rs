//! Checks of what a persistent volume is made of. The many kinds are one field each of the same JSON object.

use serde_json::Value;
use skiff_machinery::cells::{int_of, str_of};
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors};

use super::volume_places::{self, required};
use crate::shared::check::driver_name;
use crate::shared::go;

/// The kinds in the order in which they are looked at.
const KINDS: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// The source in a spec, without the rest of it.
pub(super) fn of(spec: &Value) -> Vec<(&'static str, &Value)> {
    let given = |kind: &&'static str| Some((*kind, spec.get(*kind).filter(|source| source.is_object())?));
    KINDS.iter().filter_map(given).collect()
}

/// The kinds in the order of Kubernetes' own type, and what it calls them.
const SHOWN: &[(&str, &str)] = &[
    ("gcePersistentDisk", "GCEPersistentDisk"),
    ("awsElasticBlockStore", "AWSElasticBlockStore"),
    ("hostPath", "HostPath"),
    ("glusterfs", "Glusterfs"),
    ("nfs", "NFS"),
    ("rbd", "RBD"),
    ("quobyte", "Quobyte"),
    ("iscsi", "ISCSI"),
    ("flexVolume", "FlexVolume"),
    ("cinder", "Cinder"),
    ("cephfs", "CephFS"),
    ("fc", "FC"),
    ("flocker", "Flocker"),
    ("azureFile", "AzureFile"),
    ("vsphereVolume", "VsphereVolume"),
    ("azureDisk", "AzureDisk"),
    ("photonPersistentDisk", "PhotonPersistentDisk"),
    ("portworxVolume", "PortworxVolume"),
    ("scaleIO", "ScaleIO"),
    ("local", "Local"),
    ("storageos", "StorageOS"),
    ("csi", "CSI"),
];

/// The source in a spec as errors show it. Those of clouds and systems of old are shown as they are written.
pub(super) fn shown(spec: &Value) -> String {
    let fields: Vec<(&str, String)> = SHOWN
        .iter()
        .map(|(field, name)| (*name, go::optional(spec, field, |one| shown_source(field, one))))
        .collect();
    go::object(&fields)
}

fn shown_source(kind: &str, source: &Value) -> String {
    let secret = |field: &str| {
        let parts = |secret: &Value| {
            go::object(&[("Name", go::text(secret, "name")), ("Namespace", go::text(secret, "namespace"))])
        };
        go::optional(source, field, parts)
    };
    let read_only = || source["readOnly"].as_bool().unwrap_or_default().to_string();
    match kind {
        "hostPath" => go::object(&[("Path", go::text(source, "path")), ("Type", go::plain(source, "type"))]),
        "local" => go::object(&[("Path", go::text(source, "path")), ("FSType", go::plain(source, "fsType"))]),
        "nfs" => go::object(&[
            ("Server", go::text(source, "server")),
            ("Path", go::text(source, "path")),
            ("ReadOnly", read_only()),
        ]),
        "csi" => go::object(&[
            ("Driver", go::text(source, "driver")),
            ("VolumeHandle", go::text(source, "volumeHandle")),
            ("ReadOnly", read_only()),
            ("FSType", go::text(source, "fsType")),
            ("VolumeAttributes", go::plain(source, "volumeAttributes")),
            ("ControllerPublishSecretRef", secret("controllerPublishSecretRef")),
            ("NodeStageSecretRef", secret("nodeStageSecretRef")),
            ("NodePublishSecretRef", secret("nodePublishSecretRef")),
            ("ControllerExpandSecretRef", secret("controllerExpandSecretRef")),
            ("NodeExpandSecretRef", secret("nodeExpandSecretRef")),
        ]),
        _ => source.to_string(),
    }
}

/// Checks the source of a spec at `path`, of the volume of a name; whether the spec says on which nodes it is.
pub(super) fn check(path: &str, spec: &Value, name: &str, is_placed: bool) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut is_given = false;
    for (kind, source) in of(spec) {
        // Flexible volumes are looked at whatever there is besides.
        if is_given && kind != "flexVolume" {
            let told = if kind == "cephfs" { "cephFS" } else { kind };
            let detail = "may not specify more than 1 volume type";
            errors.push(FieldError::forbidden(format!("{path}.{told}"), detail));
            continue;
        }
        is_given = true;
        let told = if kind == "gcePersistentDisk" { "persistentDisk" } else { kind };
        errors.extend(self::source(&format!("{path}.{told}"), kind, source, name));
        if kind == "local" && !is_placed {
            let detail = "Local volume requires node affinity";
            errors.push(FieldError::required(format!("{path}.nodeAffinity"), detail));
        }
    }
    if !is_given {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
    let is_root = spec.pointer("/hostPath/path").and_then(Value::as_str).is_some_and(is_root);
    if is_root && str_of(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
        let detail = "may not be 'recycle' for a hostPath mount of '/'";
        errors.push(FieldError::forbidden(format!("{path}.persistentVolumeReclaimPolicy"), detail));
    }
    errors
}

/// Whether a path is that of the root, in whatever way it is written.
fn is_root(path: &str) -> bool {
    let mut depth = 0_usize;
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        depth = if part == ".." { depth.saturating_sub(1) } else { depth + 1 };
    }
    path.starts_with('/') && depth == 0
}

/// Checks the source of a kind, of the volume of a name.
pub(super) fn source(path: &str, kind: &str, source: &Value, name: &str) -> FieldErrors {
    match kind {
        "hostPath" => volume_places::host_path(path, source),
        "nfs" => volume_places::nfs(path, source),
        "azureDisk" => volume_places::azure_disk(path, source),
        "local" => local(path, source),
        "gcePersistentDisk" => disk(path, source, "pdName"),
        "awsElasticBlockStore" => disk(path, source, "volumeID"),
        "glusterfs" => glusterfs(path, source),
        "flocker" => flocker(path, source),
        "rbd" => {
            let mut errors = required_lists(path, source, "monitors");
            errors.extend(required(path, source, &["image"]));
            errors
        }
        "cephfs" => required_lists(path, source, "monitors"),
        "quobyte" => quobyte(path, source),
        "iscsi" => iscsi(path, source, name),
        "cinder" => {
            let mut errors = required(path, source, &["volumeID"]);
            errors.extend(secret(path, source));
            errors
        }
        "fc" => fibre(path, source),
        "flexVolume" => flexible(path, source),
        "azureFile" => {
            let mut errors = required(path, source, &["secretName", "shareName"]);
            if source["secretNamespace"].as_str() == Some("") {
                errors.push(FieldError::required(format!("{path}.secretNamespace"), ""));
            }
            errors
        }
        "vsphereVolume" => required(path, source, &["volumePath"]),
        "photonPersistentDisk" => required(path, source, &["pdID"]),
        "portworxVolume" => required(path, source, &["volumeID"]),
        "scaleIO" => required(path, source, &["gateway", "system", "volumeName"]),
        "storageos" => storageos(path, source),
        _ => csi(path, source),
    }
}

fn is_empty_list(source: &Value, field: &str) -> bool {
    source[field].as_array().is_none_or(Vec::is_empty)
}

fn required_lists(path: &str, source: &Value, field: &str) -> FieldErrors {
    if is_empty_list(source, field) {
        return [FieldError::required(format!("{path}.{field}"), "")].into();
    }
    FieldErrors::new()
}

fn local(path: &str, source: &Value) -> FieldErrors {
    let location = str_of(source, "path");
    if location.split('/').any(|part| part == "..") {
        return [FieldError::invalid(format!("{path}.path"), location, "must not contain '..'")].into();
    }
    required(path, source, &["path"])
}

fn in_range(path: &str, number: i64) -> FieldErrors {
    if (0..=255).contains(&number) {
        return FieldErrors::new();
    }
    [FieldError::invalid(path, number, "must be between 0 and 255, inclusive")].into()
}

/// A disk of a cloud, with the field of its name. No partition is the whole disk.
fn disk(path: &str, source: &Value, name: &str) -> FieldErrors {
    let (at, partition) = (format!("{path}.partition"), int_of(source, "partition"));
    let mut errors = required(path, source, &[name]);
    if !(0..=255).contains(&partition) {
        errors.push(FieldError::invalid(at, partition, "must be between 1 and 255, inclusive"));
    }
    errors
}

fn glusterfs(path: &str, source: &Value) -> FieldErrors {
    let mut errors = required(path, source, &["endpoints", "path"]);
    let at = format!("{path}.endpointsNamespace");
    match source["endpointsNamespace"].as_str() {
        None => {}
        Some("") => {
            let detail = "if the endpointnamespace is set, it must be a valid namespace name";
            errors.push(FieldError::invalid(at, "", detail));
        }
        Some(namespace) => errors.extend(Form::DnsLabel.check(&at, namespace)),
    }
    errors
}

fn flocker(path: &str, source: &Value) -> FieldErrors {
    let (name, uuid) = (str_of(source, "datasetName"), str_of(source, "datasetUUID"));
    let mut errors = FieldErrors::new();
    match (name.is_empty(), uuid.is_empty()) {
        (true, true) => {
            errors.push(FieldError::required(path, "one of datasetName and datasetUUID is required"));
        }
        (false, false) => {
            let detail = "datasetName and datasetUUID can not be specified simultaneously";
            errors.push(FieldError::invalid(path, "resource", detail));
        }
        _ => {}
    }
    if name.contains('/') {
        errors.push(FieldError::invalid(format!("{path}.datasetName"), name, "must not contain '/'"));
    }
    errors
}

fn quobyte(path: &str, source: &Value) -> FieldErrors {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let (registry, at) = (str_of(source, "registry"), format!("{path}.registry"));
    let mut errors = FieldErrors::new();
    if registry.is_empty() {
        errors.push(FieldError::required(at, PAIRS));
    } else if str_of(source, "tenant").len() >= 65 {
        let detail = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(FieldError::required(format!("{path}.tenant"), detail));
    } else {
        let is_pair = |pair: &str| {
            pair.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'))
        };
        let wrong = registry.split(',').filter(|pair| !is_pair(pair));
        errors.extend(wrong.map(|_| FieldError::invalid(at.as_str(), registry, PAIRS)));
    }
    errors.extend(required(path, source, &["volume"]));
    errors
}

fn iscsi(path: &str, source: &Value, name: &str) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let (portal, iqn) = (str_of(source, "targetPortal"), str_of(source, "iqn"));
    let initiator = source["initiatorName"].as_str();
    let mut errors = required(path, source, &["targetPortal"]);
    if initiator.is_some() && name.len() + 1 + portal.len() > 64 {
        let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
        errors.push(FieldError::invalid(at("targetportal"), portal, detail));
    }
    if iqn.is_empty() {
        errors.push(FieldError::required(at("iqn"), ""));
    } else if !is_initiator(iqn) {
        errors.push(FieldError::invalid(at("iqn"), iqn, "must be valid format"));
    }
    errors.extend(in_range(&at("lun"), int_of(source, "lun")));
    let asks = |field: &str| source[field].as_bool().unwrap_or_default();
    let secret = source.get("secretRef").filter(|secret| secret.is_object());
    if (asks("chapAuthDiscovery") || asks("chapAuthSession")) && secret.is_none() {
        errors.push(FieldError::required(at("secretRef"), ""));
    }
    errors.extend(secret.map(|secret| required(&at("secretRef"), secret, &["name"])).into_iter().flatten());
    if let Some(initiator) = initiator.filter(|initiator| !is_initiator(initiator)) {
        errors.push(FieldError::invalid(at("initiatorname"), initiator, "must be valid format"));
    }
    errors
}

/// Whether a name has one of the three forms that iSCSI knows: `iqn.YYYY-MM.domain:name`, `eui.` with 16 letters and digits,
/// or `naa.` with 32.
fn is_initiator(name: &str) -> bool {
    let is_word = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if let Some(rest) = name.strip_prefix("eui.") {
        return is_word(rest, 16);
    }
    if let Some(rest) = name.strip_prefix("naa.") {
        return is_word(rest, 32);
    }
    let dated = name.strip_prefix("iqn.").and_then(|rest| rest.split_at_checked(8));
    let Some((date, Some((domain, unique)))) = dated.map(|(date, rest)| (date, rest.split_once(':'))) else {
        return false;
    };
    let is_date = date.bytes().enumerate().all(|(index, byte)| match index {
        4 => byte == b'-',
        7 => byte == b'.',
        _ => byte.is_ascii_digit(),
    });
    let is_domain = domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    let is_unique = |c: char| !c.is_ascii_whitespace() && !",;*&$|".contains(c);
    is_date && !domain.is_empty() && is_domain && !unique.is_empty() && unique.chars().all(is_unique)
}

fn fibre(path: &str, source: &Value) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = FieldErrors::new();
    let (names, ids) = (!is_empty_list(source, "targetWWNs"), !is_empty_list(source, "wwids"));
    match (names, ids) {
        (false, false) => {
            let detail = "must specify either targetWWNs or wwids, but not both";
            errors.push(FieldError::required(at("targetWWNs"), detail));
        }
        (true, true) => {
            let detail = "targetWWNs and wwids can not be specified simultaneously";
            errors.push(FieldError::invalid(at("targetWWNs"), source["targetWWNs"].clone(), detail));
        }
        _ => {}
    }
    if names {
        match source["lun"].as_i64() {
            None => {
                errors.push(FieldError::required(at("lun"), "lun is required if targetWWNs is specified"))
            }
            Some(lun) => errors.extend(in_range(&at("lun"), lun)),
        }
    }
    errors
}

fn flexible(path: &str, source: &Value) -> FieldErrors {
    let mut errors = required(path, source, &["driver"]);
    for (key, _) in source["options"].as_object().into_iter().flatten() {
        let domain = key.split_once('/').map_or(key.as_str(), |(domain, _)| domain);
        let domain = format!(".{}", domain.to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            let detail = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(FieldError::invalid(format!("{path}.options[{key}]"), key.as_str(), detail));
        }
    }
    errors
}

/// A secret, with its namespace, if there is one.
fn secret(path: &str, source: &Value) -> FieldErrors {
    let secret = source.get("secretRef").filter(|secret| secret.is_object());
    secret
        .map(|secret| required(&format!("{path}.secretRef"), secret, &["name", "namespace"]))
        .unwrap_or_default()
}

fn storageos(path: &str, source: &Value) -> FieldErrors {
    let mut errors = required(path, source, &["volumeName"]);
    for field in ["volumeName", "volumeNamespace"] {
        let name = str_of(source, field);
        if !name.is_empty() {
            errors.extend(Form::DnsLabel.check(&format!("{path}.{field}"), name));
        }
    }
    errors.extend(secret(path, source));
    errors
}

fn csi(path: &str, source: &Value) -> FieldErrors {
    const SECRETS: [&str; 4] = [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ];
    let mut errors = driver_name(&format!("{path}.driver"), str_of(source, "driver"));
    errors.extend(required(path, source, &["volumeHandle"]));
    for field in SECRETS {
        let Some(secret) = source.get(field).filter(|secret| secret.is_object()) else { continue };
        for (part, form) in [("name", Form::Subdomain), ("namespace", Form::DnsLabel)] {
            let at = format!("{path}.{field}.{part}");
            match str_of(secret, part) {
                "" => errors.push(FieldError::required(at, "")),
                text => errors.extend(form.check(&at, text)),
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::texts;

    #[test]
    fn each_kind_says_what_it_needs() {
        let check = |kind: &str, source: Value, expected: &[&str]| {
            assert_eq!(texts(super::source("v", kind, &source, "name")), expected, "{kind}");
        };
        check(
            "local",
            json!({"path": "/a/../b"}),
            &[r#"v.path: Invalid value: "/a/../b": must not contain '..'"#],
        );
        check(
            "cinder",
            json!({"volumeID": "a", "secretRef": {}}),
            &["v.secretRef.name: Required value", "v.secretRef.namespace: Required value"],
        );
        check(
            "gcePersistentDisk",
            json!({"pdName": "a", "partition": 256}),
            &["v.partition: Invalid value: 256: must be between 1 and 255, inclusive"],
        );
        check(
            "quobyte",
            json!({"registry": "a:1,b", "volume": "c"}),
            &[
                r#"v.registry: Invalid value: "a:1,b": must be a host:port pair or multiple pairs separated by commas"#,
            ],
        );
        check(
            "fc",
            json!({"targetWWNs": ["a"]}),
            &["v.lun: Required value: lun is required if targetWWNs is specified"],
        );
        check(
            "flexVolume",
            json!({"driver": "d", "options": {"a.k8s.io/b": "c"}}),
            &[
                r#"v.options[a.k8s.io/b]: Invalid value: "a.k8s.io/b": kubernetes.io and k8s.io namespaces are reserved"#,
            ],
        );
        check(
            "csi",
            json!({"driver": "d", "volumeHandle": "h", "nodePublishSecretRef": {"name": "s"}}),
            &["v.nodePublishSecretRef.namespace: Required value"],
        );
        check("iscsi", json!({"targetPortal": "a", "iqn": "iqn.2001-04.com.example:disk"}), &[]);
    }

    #[test]
    fn names_of_iscsi_have_one_of_three_forms() {
        let check = |name: &str, is_one: bool| assert_eq!(is_initiator(name), is_one, "{name}");
        check("iqn.2015-02.example.com:test", true);
        check("eui.0123456789abcdef", true);
        check("naa.62004567BA64678D0123456789ABCDEF", true);
        check("iqn.2015-02.example.com", false);
        check("eui.0123", false);
        check("iqn.2015-02", false);
        check("iqn.2015-2.example.com", false);
        check("other", false);
    }

    #[test]
    fn the_root_is_the_root_however_it_is_written() {
        for path in ["/", "//", "/a/..", "/.", "/../"] {
            assert!(is_root(path), "{path}");
        }
        for path in ["", ".", "/a", "a/.."] {
            assert!(!is_root(path), "{path}");
        }
    }
}
