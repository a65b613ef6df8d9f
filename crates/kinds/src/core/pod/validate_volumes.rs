//! Checks of volumes. The many volume types are one field each of the same JSON object, so that this
//! works on the tree.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ObjectFieldSelector, ResourceFieldSelector};
use serde_json::Value;

use super::subject::Subject;
use super::validate_env::{field_ref, resource_ref};
use crate::core::volume_places::{azure_disk, host_path, nfs, required};
use crate::core::{claim_spec, volume_sources};
use crate::shared::check::{self, inside, one_of};
use skiff_machinery::cells::{int_of, str_of};
use skiff_machinery::names::Form;
use skiff_machinery::quantity::Quantity;
use skiff_machinery::{FieldError, FieldErrors};

/// When images are pulled, also those of volumes.
pub(super) const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];

/// The names of a pod's volumes, and whether each is a claim.
pub(super) type Volumes = BTreeMap<String, bool>;

const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// The kinds of volumes in the order in which they are looked at.
const KINDS: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

/// Checks the volumes of a pod spec at `path`; also gives the names of those that are right, which alone can be mounted.
pub(super) fn validate(path: &str, spec: &Value, subject: Subject) -> (Volumes, FieldErrors) {
    let mut names = Volumes::new();
    let mut errors = FieldErrors::new();
    for (index, volume) in list(spec, "volumes").iter().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        let name = str_of(volume, "name");
        let mut wrong = sources(&path, volume, subject);
        if name.is_empty() {
            wrong.push(FieldError::required(format!("{path}.name"), ""));
        } else {
            wrong.extend(Form::DnsLabel.check(&format!("{path}.name"), name));
            if names.contains_key(name) {
                wrong.push(FieldError::duplicate(format!("{path}.name"), name));
            }
        }
        if wrong.is_empty() {
            let is_claim =
                ["persistentVolumeClaim", "ephemeral"].iter().any(|kind| volume[*kind].is_object());
            names.insert(name.to_owned(), is_claim);
        }
        errors.extend(wrong);
    }
    (names, errors)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn sources(path: &str, volume: &Value, subject: Subject) -> FieldErrors {
    let given = |kind: &&'static str| Some((*kind, volume.get(*kind).filter(|source| !source.is_null())?));
    let mut given = KINDS.iter().filter_map(given);
    let Some((kind, source)) = given.next() else {
        return [FieldError::required(path, "must specify a volume type")].into();
    };
    let told = if kind == "gcePersistentDisk" { "persistentDisk" } else { kind };
    let mut errors = self::source(&format!("{path}.{told}"), kind, source, (str_of(volume, "name"), subject));
    errors.extend(given.map(|(kind, _)| {
        // As Kubernetes writes them there.
        let told = match kind {
            "cephfs" => "cephFS",
            "downwardAPI" => "downwarAPI",
            kind => kind,
        };
        FieldError::forbidden(format!("{path}.{told}"), "may not specify more than 1 volume type")
    }));
    errors
}

/// Checks a source; whose it is, its volume's name.
fn source(path: &str, kind: &str, source: &Value, (name, subject): (&str, Subject)) -> FieldErrors {
    match kind {
        "emptyDir" => empty_dir(path, source),
        "hostPath" => host_path(path, source),
        "secret" => {
            let mut errors = required(path, source, &["secretName"]);
            errors.extend(mode(path, "defaultMode", source));
            errors.extend(items(path, source));
            errors
        }
        "configMap" => {
            let mut errors = required(path, source, &["name"]);
            errors.extend(mode(path, "defaultMode", source));
            errors.extend(items(path, source));
            errors
        }
        "downwardAPI" => {
            let mut errors = mode(path, "defaultMode", source);
            errors.extend(downward_items(path, source));
            errors
        }
        "projected" => projected(path, source),
        "persistentVolumeClaim" => required(path, source, &["claimName"]),
        "nfs" => nfs(path, source),
        "azureDisk" => azure_disk(path, source),
        "ephemeral" => ephemeral(path, source),
        "csi" => csi(path, source),
        "image" => image(path, source, subject),
        "gitRepo" => {
            let mut errors = required(path, source, &["repository"]);
            errors.extend(inside(&format!("{path}.directory"), str_of(source, "directory")));
            errors
        }
        // Their secrets are of the pod's namespace.
        "cinder" | "storageos" => {
            let mut source = source.clone();
            let secret = source.as_object_mut().and_then(|source| source.remove("secretRef"));
            let mut errors = volume_sources::source(path, kind, &source, name);
            errors.extend(secret.iter().flat_map(|it| required(&format!("{path}.secretRef"), it, &["name"])));
            errors
        }
        kind => volume_sources::source(path, kind, source, name),
    }
}

/// A volume of a driver of its own.
fn csi(path: &str, source: &Value) -> FieldErrors {
    let mut errors = check::driver_name(&format!("{path}.driver"), str_of(source, "driver"));
    if let Some(secret) = source.get("nodePublishSecretRef").filter(|secret| secret.is_object()) {
        errors.extend(required(&format!("{path}.nodePublishSecretRef"), secret, &["name"]));
    }
    errors
}

/// An image; its templates leave open which, as they may for containers.
fn image(path: &str, source: &Value, subject: Subject) -> FieldErrors {
    let mut errors = match subject {
        Subject::Pod => required(path, source, &["reference"]),
        Subject::Template => FieldErrors::new(),
    };
    let policy = source.get("pullPolicy").and_then(Value::as_str);
    errors.extend(one_of(&format!("{path}.pullPolicy"), policy, PULL_POLICIES));
    errors
}

/// A volume whose claim lives as long as the pod.
fn ephemeral(path: &str, source: &Value) -> FieldErrors {
    let path = format!("{path}.volumeClaimTemplate");
    let Some(template) = source.get("volumeClaimTemplate").filter(|template| !template.is_null()) else {
        return [FieldError::required(path, "")].into();
    };
    let metadata = template["metadata"].as_object().into_iter().flatten();
    let given = |name: &str| {
        let map = template["metadata"][name].as_object().into_iter().flatten();
        map.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
    };
    let mut errors = check::annotations(&format!("{path}.metadata.annotations"), given("annotations"));
    errors.extend(check::labels(&format!("{path}.metadata.labels"), given("labels")));
    let is_other = |(name, value): &(&String, &Value)| {
        !matches!(name.as_str(), "annotations" | "labels") && !value.is_null() && value.as_str() != Some("")
    };
    errors.extend(
        metadata
            .filter(is_other)
            .map(|(name, _)| FieldError::forbidden(format!("{path}.metadata.{name}"), "cannot be set")),
    );
    errors.extend(claim_spec::check(
        &format!("{path}.spec"),
        &template["spec"],
        claim_spec::Strict::default(),
    ));
    errors
}

fn empty_dir(path: &str, source: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let limit = str_of(source, "sizeLimit");
    let negative = limit.parse::<Quantity>().map_or(true, |amount| amount.nanos() < 0);
    if !limit.is_empty() && negative {
        let detail = "SizeLimit field must be a valid resource quantity";
        errors.push(FieldError::forbidden(format!("{path}.sizeLimit"), detail));
    }
    errors
}

/// Permission bits.
fn mode(path: &str, field: &str, source: &Value) -> FieldErrors {
    let mode = int_of(source, field);
    if (0..=0o777).contains(&mode) {
        return FieldErrors::new();
    }
    let detail = "must be a number between 0 and 0777 (octal), both inclusive";
    [FieldError::invalid(format!("{path}.{field}"), mode, detail)].into()
}

/// Keys of a Secret or ConfigMap and the files that they become.
fn items(path: &str, source: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (index, item) in list(source, "items").iter().enumerate() {
        let path = format!("{path}.items[{index}]");
        errors.extend(key_to_path(&path, item));
    }
    errors
}

fn key_to_path(path: &str, item: &Value) -> FieldErrors {
    let mut errors = required(path, item, &["key"]);
    errors.extend(file(path, item));
    errors.extend(mode(path, "mode", item));
    errors
}

fn file(path: &str, item: &Value) -> FieldErrors {
    let mut errors = required(path, item, &["path"]);
    let file = str_of(item, "path");
    let field = format!("{path}.path");
    errors.extend(inside(&field, file));
    if file.starts_with("..") && file.split('/').all(|part| part != "..") {
        errors.push(FieldError::invalid(field, file, "must not start with '..'"));
    }
    errors
}

fn downward_items(path: &str, source: &Value) -> FieldErrors {
    list(source, "items").iter().flat_map(|item| downward_item(path, item)).collect()
}

/// Kubernetes does not say of which item it speaks.
fn downward_item(path: &str, item: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    errors.extend(file(path, item));
    match (item.get("fieldRef"), item.get("resourceFieldRef")) {
        (Some(_), Some(_)) => {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.push(FieldError::invalid(path, "resource", detail));
        }
        (Some(field), None) => {
            let field = ObjectFieldSelector {
                api_version: Some(str_of(field, "apiVersion").to_owned()),
                field_path: str_of(field, "fieldPath").to_owned(),
            };
            errors.extend(field_ref(&format!("{path}.fieldRef"), &field, VOLUME_FIELDS));
        }
        (None, Some(resource)) => {
            let path = format!("{path}.resourceFieldRef");
            errors.extend(required(&path, resource, &["containerName"]));
            let divisor = resource.get("divisor").and_then(Value::as_str);
            let divisor = divisor
                .map(|divisor| k8s_openapi::apimachinery::pkg::api::resource::Quantity(divisor.to_owned()));
            let resource = str_of(resource, "resource").to_owned();
            let selector = ResourceFieldSelector { resource, divisor, ..Default::default() };
            errors.extend(resource_ref(&path, &selector));
        }
        (None, None) => {
            errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required"));
        }
    }
    errors.extend(mode(path, "mode", item));
    errors
}

fn projected(path: &str, source: &Value) -> FieldErrors {
    let mut errors = mode(path, "defaultMode", source);
    let mut files = BTreeSet::new();
    for (index, part) in list(source, "sources").iter().enumerate() {
        let at = format!("{path}.sources[{index}]");
        let given = |kind: &str| part.get(kind).filter(|inner| !inner.is_null());
        let mut once = |file: &str, told: &str| {
            let is_new = file.is_empty() || files.insert(file.to_owned());
            (!is_new).then(|| FieldError::invalid(path, told, "conflicting duplicate paths"))
        };
        for kind in ["secret", "configMap"] {
            let Some(inner) = given(kind) else { continue };
            let at = format!("{at}.{kind}");
            errors.extend(required(&at, inner, &["name"]));
            for (index, item) in list(inner, "items").iter().enumerate() {
                errors.extend(key_to_path(&format!("{at}.items[{index}]"), item));
                errors.extend(once(str_of(item, "path"), str_of(inner, "name")));
            }
        }
        if let Some(inner) = given("downwardAPI") {
            for item in list(inner, "items") {
                errors.extend(downward_item(&format!("{at}.downwardAPI"), item));
                errors.extend(once(str_of(item, "path"), str_of(item, "path")));
            }
        }
        if let Some(inner) = given("serviceAccountToken") {
            errors.extend(token(&format!("{at}.serviceAccountToken"), path, inner));
        }
        if part.as_object().is_some_and(|kinds| kinds.values().filter(|kind| !kind.is_null()).count() > 1) {
            errors.push(FieldError::forbidden(at, "may not specify more than 1 volume type per source"));
        }
    }
    errors
}

/// A projected token: valid for ten minutes at least. Kubernetes says of its path that it is the volume's.
fn token(at: &str, volume: &str, token: &Value) -> FieldErrors {
    const LONGEST: i64 = 1 << 32;
    let mut errors = FieldErrors::new();
    let seconds = token.get("expirationSeconds").and_then(Value::as_i64).unwrap_or(3600);
    let problem = match seconds {
        ..600 => Some("may not specify a duration less than 10 minutes"),
        600..=LONGEST => None,
        _ => Some("may not specify a duration larger than 2^32 seconds"),
    };
    let invalid = |why| FieldError::invalid(format!("{at}.expirationSeconds"), seconds, why);
    errors.extend(problem.map(invalid));
    errors.extend(file(volume, token));
    errors
}
