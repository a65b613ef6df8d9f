//! Checks of environment variables and of the fields that they may refer to.

use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, ObjectFieldSelector, PodSpec, ResourceFieldSelector,
};

use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrorKind, FieldErrors};

use crate::shared::check::inside;

const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCE_FIELDS: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const ONE_AT_A_TIME: &str = "may not have more than one field specified at a time";

/// Checks `env` and `envFrom` of a container at `path`.
pub(super) fn validate(path: &str, container: &Container) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (index, variable) in container.env.iter().flatten().enumerate() {
        errors.extend(env(&format!("{path}.env[{index}]"), variable));
    }
    for (index, source) in container.env_from.iter().flatten().enumerate() {
        // Kubernetes does not say of which element the choice is wrong.
        let (whole, path) = (format!("{path}.envFrom"), format!("{path}.envFrom[{index}]"));
        if let Some(prefix) = source.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            errors.extend(Form::EnvName.check(&format!("{path}.prefix"), prefix));
        }
        match (&source.config_map_ref, &source.secret_ref) {
            (None, None) => {
                let detail = "must specify one of: `configMapRef` or `secretRef`";
                errors.push(FieldError::invalid(whole, "", detail));
            }
            (Some(_), Some(_)) => errors.push(FieldError::invalid(whole, "", ONE_AT_A_TIME)),
            (Some(map), None) => errors.extend(reference(&format!("{path}.configMapRef.name"), &map.name)),
            (None, Some(secret)) => errors.extend(reference(&format!("{path}.secretRef.name"), &secret.name)),
        }
    }
    errors
}

fn env(path: &str, variable: &EnvVar) -> FieldErrors {
    let mut errors = if variable.name.is_empty() {
        [FieldError::required(format!("{path}.name"), "")].into()
    } else {
        Form::EnvName.check(&format!("{path}.name"), &variable.name)
    };
    if let Some(source) = &variable.value_from {
        let path = format!("{path}.valueFrom");
        let sources = [
            source.field_ref.is_some(),
            source.resource_field_ref.is_some(),
            source.config_map_key_ref.is_some(),
            source.secret_key_ref.is_some(),
            source.file_key_ref.is_some(),
        ];
        let count = sources.into_iter().filter(|given| *given).count();
        errors.extend(value_from(&path, source));
        if count == 0 {
            let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, \
                          `secretKeyRef` or `fileKeyRef`";
            errors.push(FieldError::invalid(path, "", detail));
        } else if variable.value.as_ref().is_some_and(|value| !value.is_empty()) {
            errors.push(FieldError::invalid(path, "", "may not be specified when `value` is not empty"));
        } else if count > 1 {
            errors.push(FieldError::invalid(path, "", ONE_AT_A_TIME));
        }
    }
    errors
}

/// Variables that come from files: those are in volumes of the pod that its containers fill.
pub(super) fn files(path: &str, spec: &PodSpec) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    let volume = |name: &str| spec.volumes.iter().flatten().rfind(|volume| volume.name == name);
    for (list, containers) in [("initContainers", inits), ("containers", &spec.containers)] {
        let variables = containers.iter().enumerate().flat_map(|(at, container)| {
            container.env.iter().flatten().enumerate().map(move |(index, variable)| (at, index, variable))
        });
        for (at, index, variable) in variables {
            let file = variable.value_from.as_ref().and_then(|source| source.file_key_ref.as_ref());
            let Some(name) = file.map(|file| file.volume_name.as_str()) else { continue };
            let field = format!("{path}.{list}[{at}].env[{index}].valueFrom.fileKeyRef.volumeName");
            match volume(name) {
                None => errors.push(FieldError::new(FieldErrorKind::NotFound, field, name, "")),
                Some(volume) if volume.empty_dir.is_none() => {
                    let detail = "referenced volume must be of type emptyDir";
                    errors.push(FieldError::invalid(field, name, detail));
                }
                Some(_) => {}
            }
        }
    }
    errors
}

fn value_from(path: &str, source: &EnvVarSource) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if let Some(field) = &source.field_ref {
        errors.extend(field_ref(&format!("{path}.fieldRef"), field, ENV_FIELDS));
    }
    if let Some(resource) = &source.resource_field_ref {
        errors.extend(resource_ref(&format!("{path}.resourceFieldRef"), resource));
    }
    if let Some(key) = &source.config_map_key_ref {
        errors.extend(reference(&format!("{path}.configMapKeyRef.name"), &key.name));
        errors.extend(self::key(&format!("{path}.configMapKeyRef.key"), &key.key));
    }
    if let Some(key) = &source.secret_key_ref {
        errors.extend(reference(&format!("{path}.secretKeyRef.name"), &key.name));
        errors.extend(self::key(&format!("{path}.secretKeyRef.key"), &key.key));
    }
    if let Some(file) = &source.file_key_ref {
        let at = |field: &str| format!("{path}.fileKeyRef.{field}");
        for (field, value) in [("key", &file.key), ("volumeName", &file.volume_name), ("path", &file.path)] {
            errors.extend(value.is_empty().then(|| FieldError::required(at(field), "")));
        }
        errors.extend(inside(&at("path"), &file.path));
    }
    errors
}

/// The fields that a reference may name at all, in environment variables or in volumes.
const FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];

/// A reference to a field of the pod; single labels and annotations are always allowed.
pub(super) fn field_ref(path: &str, field: &ObjectFieldSelector, supported: &[&str]) -> FieldErrors {
    let at = format!("{path}.fieldPath");
    let given = field.field_path.as_str();
    if given.is_empty() {
        return [FieldError::required(at, "")].into();
    }
    let refuse = |why: String| {
        let detail = format!("error converting fieldPath: {why}");
        FieldErrors::from([FieldError::invalid(at.as_str(), given, detail)])
    };
    if let Some(version) = field.api_version.as_deref().filter(|version| !matches!(*version, "" | "v1")) {
        return refuse(format!("unsupported pod version: {version}"));
    }
    let subscripted =
        given.split_once("['").and_then(|(whole, rest)| Some((whole, rest.strip_suffix("']")?)));
    match subscripted {
        Some(("metadata.labels", key)) => Form::QualifiedName.check(path, key),
        Some(("metadata.annotations", key)) => {
            let errors = Form::QualifiedName.check(path, &key.to_lowercase());
            errors.into_iter().map(|error| FieldError { value: key.into(), ..error }).collect()
        }
        Some(_) => refuse(format!("field label does not support subscript: {given}")),
        None if supported.contains(&given) => FieldErrors::new(),
        None if FIELDS.contains(&given) => [FieldError::not_supported(at, given, supported)].into(),
        None => refuse(format!("field label not supported: {given}")),
    }
}

/// A reference to a request or limit of a container.
pub(super) fn resource_ref(path: &str, resource: &ResourceFieldSelector) -> FieldErrors {
    let field = format!("{path}.resource");
    let mut errors = match resource.resource.as_str() {
        "" => return [FieldError::required(field, "")].into(),
        name if RESOURCE_FIELDS.contains(&name) || name.contains(".hugepages-") => FieldErrors::new(),
        name => return [FieldError::not_supported(field, name, RESOURCE_FIELDS)].into(),
    };
    if let Some(divisor) = &resource.divisor {
        errors.extend(self::divisor(&format!("{path}.divisor"), &resource.resource, &divisor.0));
    }
    errors
}

/// What an amount is divided by: a unit, which depends on what it is an amount of.
fn divisor(path: &str, resource: &str, divisor: &str) -> FieldErrors {
    const SIZES: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the";
    let (_, name) = resource.split_once('.').unwrap_or(("", resource));
    let detail = match name {
        "cpu" => "only divisor's values 1m and 1 are supported with the cpu resource".to_owned(),
        "memory" => format!("only divisor's values {SIZES} memory resource"),
        "ephemeral-storage" => format!("only divisor's values {SIZES} local ephemeral storage resource"),
        _ => format!("only divisor's values {SIZES} hugepages resource"),
    };
    let units: &[&str] = match name {
        "cpu" => &["1m", "1"],
        _ => &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"],
    };
    // As good as none.
    if matches!(divisor, "" | "0") || units.contains(&divisor) {
        return FieldErrors::new();
    }
    [FieldError::invalid(path, resource, detail)].into()
}

fn reference(path: &str, name: &str) -> FieldErrors {
    if name.is_empty() { [FieldError::required(path, "")].into() } else { FieldErrors::new() }
}

fn key(path: &str, key: &str) -> FieldErrors {
    if key.is_empty() { [FieldError::required(path, "")].into() } else { Form::ConfigKey.check(path, key) }
}
